//! What the language promises: every form means what it says, and an error points at its place.

use proptest::prelude::*;

use super::*;
use crate::TagPattern;
use crate::query::Rank;

fn tag_of(key: &str, value: &str) -> Filter {
    Filter::Tag(key.to_owned(), TagPattern::wildcard(value))
}

fn exact(key: &str, value: &str) -> Filter {
    Filter::Tag(key.to_owned(), TagPattern::Exact(value.to_owned()))
}

fn not(filter: Filter) -> Filter {
    Filter::Not(Box::new(filter))
}

#[test]
fn a_selection_reads_as_it_is_built() {
    let selection = Selection::new("system.cpu.user")
        .matching(tag_of("env", "prod"))
        .matching(not(tag_of("host", "a*")))
        .grouped(Aggregate::Average, ["host"])
        .rolled_up(Aggregate::Maximum, Some(60_000));
    let selection = Selection {
        filter: Filter::And(vec![tag_of("env", "prod"), not(tag_of("host", "a*"))]),
        ..selection
    };
    let read = parse("avg:system.cpu.user{env:prod,!host:a*} by {host}.rollup(max, 60)").unwrap();
    assert_eq!(read, Expression::Select(selection));
    assert_eq!(parse("a.b{*}").unwrap(), Expression::Select(Selection::new("a.b")));
}

#[test]
fn every_filter_reads() {
    let or = |filters: &[Filter]| Filter::Or(filters.to_vec());
    let and = |filters: &[Filter]| Filter::And(filters.to_vec());
    for (text, expected) in [
        ("*", Filter::All),
        ("*,env:prod", tag_of("env", "prod")),
        ("canary", Filter::Tag("canary".to_owned(), TagPattern::Exact(String::new()))),
        ("url:http://x/y", tag_of("url", "http://x/y")),
        ("env:prod AND NOT host:a", and(&[tag_of("env", "prod"), not(tag_of("host", "a"))])),
        (
            "env:a OR env:b AND host:c",
            or(&[tag_of("env", "a"), and(&[tag_of("env", "b"), tag_of("host", "c")])]),
        ),
        (
            "(env:a OR env:b), host:c",
            and(&[or(&[tag_of("env", "a"), tag_of("env", "b")]), tag_of("host", "c")]),
        ),
        ("host IN (a, b*)", or(&[tag_of("host", "a"), tag_of("host", "b*")])),
        ("host NOT IN (a)", not(or(&[tag_of("host", "a")]))),
        ("host:*", Filter::Tag("host".to_owned(), TagPattern::Present)),
        (r#"host:~"web-\d+\"?""#, Filter::Tag("host".to_owned(), TagPattern::regex(r#"web-\d+"?"#).unwrap())),
        (r#"path:"/a b,{c}*""#, exact("path", "/a b,{c}*")),
        (r#""a key":b*"#, tag_of("a key", "b*")),
        (r#""a: key":~"b+""#, Filter::Tag("a: key".to_owned(), TagPattern::regex("b+").unwrap())),
        (r#""a word""#, exact("a word", "")),
        (r#""*", a:"\"\\""#, and(&[exact("*", ""), exact("a", r#""\"#)])),
        (r#"host NOT IN ("a b", c*)"#, not(or(&[exact("host", "a b"), tag_of("host", "c*")]))),
        ("env:", exact("env", "")),
        ("a~b:~c", tag_of("a~b", "~c")),
    ] {
        let Expression::Select(selection) = parse(&format!("avg:m{{{text}}}")).unwrap() else {
            panic!("{text}")
        };
        assert_eq!(selection.filter, expected, "{text}");
    }
}

#[test]
fn a_metric_may_stand_in_quotes_and_a_recording_rules_has_its_colons() {
    let average = |metric| Selection::new(metric).grouped(Aggregate::Average, [] as [&str; 0]);
    for (text, expected) in [
        (r#"avg:"job: {a} b"{*}"#, average("job: {a} b")),
        (r#" "9 lives" {*}"#, Selection::new("9 lives")),
        ("avg:job:requests:rate5m{*}", average("job:requests:rate5m")),
        (r#"avg:m{*} by {"a key", b}"#, average("m").grouped(Aggregate::Average, ["a key", "b"])),
        ("avg:m{*} by {b, a, b, b}", average("m").grouped(Aggregate::Average, ["b", "a"])),
    ] {
        assert_eq!(parse(text).unwrap(), Expression::Select(expected), "{text}");
    }
}

#[test]
fn operators_bind_as_in_school() {
    let m = || Expression::Select(Selection::new("m"));
    let number = Expression::Number;
    for (text, expected) in [
        ("1 + 2 * 3", number(1.0).with(Operator::Add, number(2.0).with(Operator::Multiply, number(3.0)))),
        (
            "1 - 2 - 3",
            number(1.0).with(Operator::Subtract, number(2.0)).with(Operator::Subtract, number(3.0)),
        ),
        ("(1 + 2) * 3", number(1.0).with(Operator::Add, number(2.0)).with(Operator::Multiply, number(3.0))),
        ("-m{*}", number(-1.0).with(Operator::Multiply, m())),
        ("m{*}*-1.5e2", m().with(Operator::Multiply, number(-150.0))),
        ("abs(m{*}) / 2", m().apply(Function::Absolute).with(Operator::Divide, number(2.0))),
        (
            "top(m{*}, 3, 'max', 'asc')",
            m().apply(Function::Top { lines: 3, by: Rank::Maximum, lowest: true }),
        ),
        ("m{*}.fill(last, 120)", m().apply(Function::Fill(Fill::Last, Some(120_000)))),
        ("m{*}.fill(linear)", m().apply(Function::Fill(Fill::Linear, Some(300_000)))),
        ("m{*}.fill(zero)", m().apply(Function::Fill(Fill::Zero, None))),
        ("(m{*}).fill(null)", m()),
        ("timeshift(m{*}, -60)", m().apply(Function::TimeShift(-60_000))),
        ("moving_rollup(m{*}, 60, 'max')", m().apply(Function::Moving(60_000, Aggregate::Maximum))),
    ] {
        assert_eq!(parse(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn an_error_points_at_its_column() {
    for (text, line, column, part) in [
        ("", 1, 1, "a query such as"),
        ("avg:m{env:prod", 1, 15, "`}`, found the end"),
        ("mean:m{*}", 1, 1, "one of avg, sum"),
        ("avg:m{*} by {}", 1, 14, "a tag's key"),
        ("avg:m{*}.rollup(mean)", 1, 17, "one of avg"),
        ("avg:m{*}.rollup(avg, 0)", 1, 22, "seconds from 1 to 10000000000"),
        ("avg:m{*}.rollup(avg, 20000000000)", 1, 22, "seconds from 1 to 10000000000"),
        ("timeshift(avg:m{*}, -20000000000)", 1, 21, "seconds from -10000000000 to 10000000000"),
        ("top(avg:m{*}, 0)", 1, 15, "a whole number from 1 to 1000000000"),
        ("top(avg:m{*}, 1, 'p50')", 1, 18, "'sum' or 'area'"),
        ("abs(avg:m{*})\n + smooth(avg:m{*})", 2, 4, "one of abs"),
        ("avg:m{*} avg:n{*}", 1, 10, "an operator or the end"),
        ("top(avg:m{*}, 2.5)", 1, 15, "a whole number"),
        ("avg:m{host:~\"(\"}", 1, 12, "a regular expression"),
        ("avg:ü{*} avg:n{*}", 1, 10, "an operator or the end"),
        ("1 + ", 1, 5, "a query such as"),
        ("avg:m{,}", 1, 7, "a tag such as"),
        ("avg:m{\"\":b}", 1, 9, "a tag such as"),
        ("avg:m{a:\"b}", 1, 9, "`\"` at the end"),
        ("avg:m:{*}", 1, 6, "`{`"),
    ] {
        match parse(text) {
            Err(SeriesError::Syntax { line: l, column: c, message }) => {
                assert_eq!((l, c), (line, column), "{text}: {message}");
                assert!(message.contains(part), "{text}: {message}");
            }
            other => panic!("{text} was read as {other:?}"),
        }
    }
}

#[test]
fn a_filter_has_few_patterns_and_as_many_values_as_there_is_room_for() {
    let query = |values: usize, end: &str| {
        let values: Vec<String> = (0..values).map(|number| format!("v{number}{end}")).collect();
        format!("avg:m{{a:b OR (host IN ({}))}}", values.join(","))
    };
    assert!(parse(&query(1000, "")).is_ok());
    assert!(parse(&query(64, "*")).is_ok());
    let refused = parse(&query(65, "*")).unwrap_err().to_string();
    assert!(refused.contains("at most 64 wildcards and regular expressions"), "{refused}");
}

#[test]
fn a_query_groups_by_as_many_keys_as_a_series_has_tags() {
    let query = |count: usize| {
        let keys: Vec<String> = (0..count).map(|number| format!("k{number}")).collect();
        format!("avg:m{{*}} by {{{}}}", keys.join(","))
    };
    assert!(parse(&query(64)).is_ok());
    let refused = parse(&query(65)).unwrap_err().to_string();
    assert!(refused.contains("at most 64 keys"), "{refused}");
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,40}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_text_of_its_words_makes_the_parser_panic(words in prop::collection::vec(prop::sample::select(vec![
        "avg:", "m", "{", "}", "(", ")", ",", "by ", ".rollup(", "max", "60", "!", "NOT ", "IN ", "*", "~\"", "\"", "-",
        "+", "/", "top(", "'", "é", "e9", ".", " ",
    ]), 0..25)) {
        let _ = parse(&words.concat());
    }

    #[test]
    fn deep_nesting_is_refused_not_followed(depth in 60_usize..5000) {
        let text = format!("{}1{}", "(".repeat(depth), ")".repeat(depth));
        prop_assert_eq!(parse(&text).is_ok(), depth <= DEPTH);
    }
}
