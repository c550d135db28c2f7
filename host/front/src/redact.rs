//! What of a request's path may be logged: never a query, never the token of a webhook or a link.

use std::borrow::Cow;

/// What stands before a token.
const TOKENS: [&str; 2] = ["/hooks/", "/a/"];

/// The path as it may be logged.
pub(crate) fn path(path: &str) -> Cow<'_, str> {
    let token = TOKENS.iter().filter_map(|before| Some(path.find(before)? + before.len())).min();
    if token.is_none() && path.len() <= MOST {
        return Cow::Borrowed(path);
    }
    let end = token.unwrap_or(MOST).min(MOST);
    let end = (0..=end).rev().find(|&end| path.is_char_boundary(end)).unwrap_or(0);
    Cow::Owned(format!("{}…", &path[..end]))
}

/// The longest path that is logged, in bytes.
const MOST: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_logged() {
        for (asked, logged) in [
            ("/v1/metrics", "/v1/metrics"),
            ("/hooks/secret", "/hooks/…"),
            ("/hooks/secret/more", "/hooks/…"),
            ("/proxied/hooks/secret", "/proxied/hooks/…"),
            ("/a/secret", "/a/…"),
            ("/alerts", "/alerts"),
        ] {
            assert_eq!(path(asked), logged);
        }
        assert!(path(&"/x".repeat(300)).len() < 210);
    }
}
