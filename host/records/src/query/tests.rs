//! What a search means, case by case.

use bellwether_kernel::{RecordId, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::{Content, RecordError};

fn log() -> Record {
    Record {
        id: RecordId(7),
        content: Content {
            time: Timestamp::parse("2026-03-01").unwrap(),
            message: "GET /api/users: connection-timeout after 30s (\"upstream\" failed)\nretried".to_owned(),
            status: "Error".to_owned(),
            service: "web-app".to_owned(),
            source: "nginx".to_owned(),
            host: "web-1".to_owned(),
            tags: ["env:prod", "version:1.2.3", "canary", "team:a b"].map(str::to_owned).to_vec(),
            attributes: r#"{"http":{"status_code":404,"url":"/api/users","slow":true},"user.id":"42",
                "sizes":[1,20],"trace":9007199254740993,"calls":[{"name":"db"}],"nothing":null,"ratio":0.5}"#
                .to_owned(),
            ..Content::default()
        },
    }
}

#[test]
fn a_search_means_what_datadogs_does() {
    let record = log();
    for (search, matches) in [
        ("", true),
        ("*", true),
        ("  *:*  ", true),
        // Words of the message, whole and whatever their case.
        ("timeout", true),
        ("Connection-Timeout", true),
        ("time", false),
        ("time*", true),
        ("*user?", true),
        ("conn*out", true),
        ("\"after 30s\"", true),
        ("\"after 30\"", false),
        ("\"failed retried\"", false),
        ("\"a a\"", false),
        ("\"\\\"upstream\\\"\"", true),
        ("message:timeout", true),
        ("message:\"GET /api\"", true),
        ("nginx", false),
        // Fields, and tags of that name.
        ("service:web-app", true),
        ("service:Web-App", false),
        ("service:web", false),
        ("service:web-*", true),
        ("service:\"web-*\"", false),
        ("status:error", true),
        ("status:ERROR", true),
        ("source:nginx host:web-?", true),
        ("env:prod", true),
        ("env:p*", true),
        ("env:*", true),
        ("none:*", false),
        ("canary:*", true),
        ("tags:canary", true),
        ("tags:\"team:a b\"", true),
        ("team:a\\ b", true),
        ("version:>1", false),
        ("id:7", true),
        ("title:x", false),
        // Attributes.
        ("@http.status_code:404", true),
        ("@http.status_code:404.0", true),
        ("@http.status_code:4*", true),
        ("@http.status_code:[400 TO 499]", true),
        ("@http.status_code:{404 TO 499]", false),
        ("@http.status_code:[* TO 404}", false),
        ("@http.status_code:>=404", true),
        ("@http.status_code:>404", false),
        ("@http.status_code:<1e3", true),
        ("@http.slow:true", true),
        ("@http.url:\"/api/users\"", true),
        ("@http.url:\\/api*", true),
        ("@http:*", true),
        ("@user.id:42", true),
        ("@user.id:[40 TO 50]", true),
        ("@sizes:20", true),
        // Ids have more digits than a float can tell apart.
        ("@trace:9007199254740993", true),
        ("@trace:9007199254740992", false),
        ("@trace:>9007199254740992", true),
        ("@trace:>9007199254740993", false),
        ("@trace:9.007199254740992e15", true),
        ("@sizes:>20", false),
        ("@calls.name:db", true),
        ("@nothing:*", false),
        ("-@nothing:*", true),
        ("@ratio:0.5", true),
        // Everything.
        ("*:nginx", true),
        ("*:42", true),
        ("*:absent", false),
        // Together.
        ("service:web-app status:info", false),
        ("service:web-app AND status:error", true),
        ("status:info OR env:prod", true),
        ("status:info OR env:dev status:error", false),
        ("(status:info OR status:error) env:prod", true),
        ("-env:dev", true),
        ("NOT env:prod", false),
        ("NOT (env:dev OR env:test)", true),
        ("--env:prod", true),
        ("service:(web-app OR api)", true),
        ("service:(api OR db)", false),
        ("service:(-api)", true),
        ("@http.status_code:(404 OR [500 TO 599])", true),
        ("(timeout OR absent) AND -(absent)", true),
        ("ANDROID", false),
        ("\"OR\"", false),
    ] {
        let query = parse(search).unwrap_or_else(|error| panic!("{search}: {error}"));
        assert_eq!(query.matches(&record), matches, "{search}: {query:?}");
    }
}

#[test]
fn a_phrase_is_found_behind_one_that_begins_within_a_word() {
    let mut record = log();
    record.content.message = "xa a a".to_owned();
    assert!(parse("\"a a\"").unwrap().matches(&record));
}

#[test]
fn what_does_not_read_is_told_with_its_place() {
    for (search, line, column, said) in [
        ("service:", 1, 9, "a value, found the end"),
        ("service:web (a OR", 1, 18, "a word"),
        ("(a OR b", 1, 8, "`)`"),
        ("a )", 1, 3, "AND, OR or the end"),
        ("\"open", 1, 1, "a second `\"`"),
        ("@a:[1 2]", 1, 7, "TO"),
        ("@a:[x TO 2]", 1, 5, "a number, found \"x\""),
        ("@a:[1 TO 2", 1, 11, "`]` or `}`"),
        ("@a:>soon", 1, 5, "a number"),
        ("a\n  @b", 2, 3, "@http.status_code:500"),
        ("a*b:c", 1, 1, "without wildcards"),
        (":x", 1, 1, "a field without"),
        // What joins has something on both of its sides.
        ("OR a", 1, 1, "a term"),
        ("a OR OR b", 1, 6, "a term"),
        ("a AND", 1, 6, "a word"),
        ("(AND a)", 1, 2, "in quotes they are words"),
        ("service:(a OR AND)", 1, 15, "a term"),
    ] {
        match parse(search) {
            Err(RecordError::Syntax { line: l, column: c, message }) => {
                assert!((l, c) == (line, column) && message.contains(said), "{search}: {l}:{c} {message}");
            }
            other => panic!("{search}: {other:?}"),
        }
    }
    for deep in ["(".repeat(100), "-".repeat(1000) + "a", "a:".to_owned() + &"(".repeat(100)] {
        assert!(
            matches!(parse(&deep), Err(RecordError::Syntax { message, .. }) if message.contains("at most 64"))
        );
    }
    assert!(parse(&"a ".repeat(10_000)).is_err());
}

#[test]
fn a_long_word_is_looked_through_once_whatever_the_pattern() {
    let mut record = log();
    let begun = std::time::Instant::now();
    let (a, question) = ("a".repeat(8000), format!("{}?{}b", "a".repeat(30), "a".repeat(30)));
    for (message, search) in [
        ("a".repeat(1 << 20), format!("*{a}b*")),
        ("a".repeat(1 << 20), format!("*{}*", ["a*"; 4000].concat() + "b")),
        ("a".repeat(1 << 20), format!("\"{a}\"")),
        ("a".repeat(1 << 20), format!("*{question}*")),
    ] {
        record.content.message = message;
        assert!(!parse(&search).unwrap().matches(&record), "{search}");
    }
    // Going through the pattern at each character takes ten thousand million steps each.
    assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
    let refused = parse(&format!("*{}?*", "a".repeat(64))).unwrap_err().to_string();
    assert!(refused.contains("at most 64 characters between two `*`"), "{refused}");
    assert!(parse(&format!("*{a}*?")).is_ok() && parse(&format!("{a}?")).is_ok());
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,60}", tricky in "[-()\\[\\]{}\":@*?a \\\\>]{0,30}") {
        for search in [&text, &tricky] {
            if let Ok(query) = parse(search) {
                let _ = query.matches(&log());
            }
        }
    }

    #[test]
    fn a_wildcard_is_what_a_regular_way_of_looking_finds(pattern in "[ab*?]{0,8}", text in "[ab]{0,10}") {
        fn naive(pattern: &[u8], text: &[u8]) -> bool {
            match (pattern.split_first(), text.split_first()) {
                (None, None) => true,
                (Some((b'*', rest)), _) => {
                    naive(rest, text) || !text.is_empty() && naive(pattern, &text[1..])
                }
                (Some((b'?', rest)), Some((_, others))) => naive(rest, others),
                (Some((wanted, rest)), Some((found, others))) => wanted == found && naive(rest, others),
                _ => false,
            }
        }
        let pieces = pattern.chars().map(|next| match next {
            '*' => glob::Piece::Many,
            '?' => glob::Piece::One,
            other => glob::Piece::Character(other),
        });
        prop_assert_eq!(Glob::of(&pieces.collect::<Vec<_>>()).matches(&text), naive(pattern.as_bytes(), text.as_bytes()));
    }
}
