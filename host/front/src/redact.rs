//! What of a request's path may be logged: never a query, never a webhook's token.

use std::borrow::Cow;

/// The path as it may be logged.
pub(crate) fn path(path: &str) -> Cow<'_, str> {
    match path.strip_prefix("/hooks/") {
        Some(_) => Cow::Borrowed("/hooks/…"),
        None if path.contains("/hooks/") || path.len() > MOST => {
            let end = path.find("/hooks/").map_or(MOST, |at| at + "/hooks/".len());
            let end = (0..=end.min(MOST)).rev().find(|&end| path.is_char_boundary(end)).unwrap_or(0);
            Cow::Owned(format!("{}…", &path[..end]))
        }
        None => Cow::Borrowed(path),
    }
}

/// The longest path that is logged, in bytes.
const MOST: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_token_is_never_logged() {
        for (asked, logged) in [
            ("/v1/metrics", "/v1/metrics"),
            ("/hooks/secret", "/hooks/…"),
            ("/hooks/secret/more", "/hooks/…"),
            ("/proxied/hooks/secret", "/proxied/hooks/…"),
        ] {
            assert_eq!(path(asked), logged);
        }
        assert!(path(&"/x".repeat(300)).len() < 210);
    }
}
