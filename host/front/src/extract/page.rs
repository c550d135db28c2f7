//! `limit` and `cursor`, the same for every list.

use bellwether_kernel::{Cursor, FieldError, PageRequest};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use utoipa::IntoParams;

use crate::problem::Problem;

/// Items of a page where the caller does not say.
const DEFAULT: usize = 100;

/// The most items of a page.
const MOST: usize = 1000;

/// How many bytes of a cursor say which list it is of.
const MARK: usize = 4;

/// Which page.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// At most this many, 1 to 1000; by default 100.
    #[param(minimum = 1, maximum = 1000)]
    pub(crate) limit: Option<usize>,
    /// `next` of the page before.
    pub(crate) cursor: Option<String>,
}

/// A list that is handed out in pages, by its name.
///
/// Its cursors carry a mark that follows from the name and what they hold: most lists would read the cursor of another,
/// or a few bytes somebody made up, as a place among their own.
pub(crate) struct List(pub(crate) &'static str);

impl List {
    /// The page that a query's `limit` and `cursor` ask for.
    pub(crate) fn page(&self, limit: Option<usize>, cursor: Option<&str>) -> Result<PageRequest, Problem> {
        let limit = items(limit)?;
        let cursor =
            cursor.map(|text| self.read(text).ok_or_else(|| FieldError::wrong_cursor(text))).transpose()?;
        Ok(PageRequest { limit, cursor })
    }

    /// What a page's `next` says.
    pub(crate) fn next(&self, next: Option<Cursor>) -> Option<String> {
        next.map(|Cursor(place)| Cursor([&self.mark(&place), place.as_slice()].concat()).to_string())
    }

    fn read(&self, text: &str) -> Option<Cursor> {
        let Cursor(bytes) = text.parse().ok()?;
        let (mark, place) = bytes.split_first_chunk::<MARK>()?;
        (*mark == self.mark(place)).then(|| Cursor(place.to_vec()))
    }

    fn mark(&self, place: &[u8]) -> [u8; MARK] {
        let digest = Sha256::new().chain_update(self.0).chain_update([0_u8]).chain_update(place).finalize();
        std::array::from_fn(|at| digest[at])
    }
}

/// How many items a query's `limit` asks for.
pub(crate) fn items(limit: Option<usize>) -> Result<usize, Problem> {
    let limit = limit.unwrap_or(DEFAULT);
    if !(1..=MOST).contains(&limit) {
        return Err(FieldError::new("limit", limit, format!("a number from 1 to {MOST}")).into());
    }
    Ok(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: List = List("keys");

    #[test]
    fn a_limit_is_from_1_to_1000_and_100_by_default() {
        for (limit, read) in [
            (None, Some(100)),
            (Some(1), Some(1)),
            (Some(1000), Some(1000)),
            (Some(0), None),
            (Some(1001), None),
        ] {
            assert_eq!(KEYS.page(limit, None).ok().map(|page| page.limit), read, "{limit:?}");
        }
    }

    #[test]
    fn a_list_takes_its_own_cursors_and_no_others() {
        let place = Cursor(b"web-1".to_vec());
        let next = KEYS.next(Some(place.clone())).unwrap();
        assert_eq!(KEYS.page(None, Some(&next)).unwrap().cursor, Some(place.clone()));
        let empty = KEYS.next(Some(Cursor(Vec::new()))).unwrap();
        assert_eq!(KEYS.page(None, Some(&empty)).unwrap().cursor, Some(Cursor(Vec::new())));
        let others = List("secrets").next(Some(place.clone())).unwrap();
        for foreign in ["", "AAAA", "AAAAAAAA", "no cursor!", &others, &place.to_string(), &next[1..]] {
            let refused = KEYS.page(None, Some(foreign)).unwrap_err();
            assert!(refused.detail().starts_with("cursor"), "{foreign:?}: {}", refused.detail());
        }
    }
}
