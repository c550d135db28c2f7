//! `limit` and `cursor`, the same for every list.

use bellwether_kernel::{FieldError, PageRequest};

use crate::problem::Problem;

/// Items of a page where the caller does not say.
const DEFAULT: usize = 100;

/// The most items of a page.
const MOST: usize = 1000;

/// The page that a query's `limit` and `cursor` ask for.
pub(crate) fn page(limit: Option<usize>, cursor: Option<&str>) -> Result<PageRequest, Problem> {
    let limit = limit.unwrap_or(DEFAULT);
    if !(1..=MOST).contains(&limit) {
        return Err(FieldError::new("limit", limit, format!("a number from 1 to {MOST}")).into());
    }
    let cursor = match cursor {
        None => None,
        Some(text) => Some(
            text.parse()
                .map_err(|_| FieldError::new("cursor", text, "`next` of the page before, unchanged"))?,
        ),
    };
    Ok(PageRequest { limit, cursor })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_from_1_to_1000_and_100_by_default() {
        for (limit, read) in [
            (None, Some(100)),
            (Some(1), Some(1)),
            (Some(1000), Some(1000)),
            (Some(0), None),
            (Some(1001), None),
        ] {
            assert_eq!(page(limit, None).ok().map(|page| page.limit), read, "{limit:?}");
        }
    }

    #[test]
    fn a_foreign_cursor_is_refused_by_name() {
        assert!(page(None, Some("no cursor!")).unwrap_err().detail().starts_with("cursor"));
    }
}
