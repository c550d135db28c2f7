//! The app on a host in memory.

use bellwether_sdk::app::Retry;
use bellwether_sdk::http::{Header, HttpError};
use bellwether_sdk::serde_json::json;
use bellwether_sdk::testing::{MemoryHost, response};
use bellwether_sdk::{Timestamp, ValueType};

use super::*;

const URL: &str = "https://api.example.com/health";

fn to(url: &str) -> Exchange {
    Exchange {
        url: url.into(),
        method: "GET".into(),
        headers: None,
        authorization: None,
        body: None,
        expected: None,
        timeout: None,
    }
}

fn call() -> Call {
    Call { idempotency_key: "key-1".into(), attempt: 1 }
}

fn answer_of(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let header = |(name, value): &(&str, &str)| Header { name: (*name).into(), value: (*value).into() };
    Response { headers: headers.iter().map(header).collect(), ..response(status, body) }
}

fn sent_headers(host: &MemoryHost) -> Vec<(String, String)> {
    let headers = host.sent().pop().expect("a request was sent").headers;
    headers.into_iter().map(|header| (header.name, header.value)).collect()
}

/// A host whose answers take their time.
struct Slow(MemoryHost, Duration);

impl HttpClient for Slow {
    fn send(&self, request: Request) -> Result<Response, HttpError> {
        self.0.advance(self.1);
        self.0.send(request)
    }
}

impl Clock for Slow {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

#[test]
fn an_answer_is_given_back_with_its_latency() {
    let host = Slow(MemoryHost::new(), Duration::from_millis(42));
    let headers = [("content-type", "application/health+json; charset=utf-8"), ("x-a", "1")];
    host.0.answer(Ok(answer_of(200, &headers, br#"{"up": true}"#)));
    let answer = exchange(&host, &call(), to(URL)).expect("answered");
    let expected = Answer {
        status: 200,
        latency: 42,
        body: Some(r#"{"up": true}"#.into()),
        binary: None,
        json: Some(Json(json!({"up": true}))),
        headers: vec![KeyValue::new("content-type", headers[0].1), KeyValue::new("x-a", "1")],
    };
    assert_eq!(answer, expected);
    assert_eq!(host.0.sent(), [Request::get(URL)]);
}

#[test]
fn an_answer_is_read_as_what_it_says_it_is() {
    for (headers, body, text, json) in [
        (&[][..], &b"{}"[..], Some("{}"), None),
        (&[("Content-Type", "text/plain")], b"7", Some("7"), None),
        (&[("Content-Type", "APPLICATION/JSON")], b"7", Some("7"), Some(json!(7))),
        (&[("Content-Type", "application/json")], b"", Some(""), None),
        (&[("Content-Type", "image/png")], b"\xff\x00", None, None),
    ] {
        let host = MemoryHost::new();
        host.answer(Ok(answer_of(200, headers, body)));
        let answer = exchange(&host, &call(), to(URL)).expect("answered");
        assert_eq!(answer.body.as_deref(), text, "{headers:?}");
        assert_eq!(answer.json.map(|Json(json)| json), json, "{headers:?}");
        assert_eq!(answer.binary.is_some(), text.is_none(), "{headers:?}");
    }
    let host = MemoryHost::new();
    host.answer(Ok(answer_of(200, &[("content-type", "application/json")], b"{")));
    let error = exchange(&host, &call(), to(URL)).expect_err("it is no JSON");
    assert!(error.message().contains("says it is JSON"), "{error}");
}

#[test]
fn what_is_sent_is_what_the_inputs_say() {
    let header = |key: &str, value: Tree| KeyValue::new(key, value);
    let host = MemoryHost::new();
    host.answer_to("POST", URL, Ok(response(201, "")));
    let post = Exchange { method: "POST".into(), ..to(URL) };
    let cases = [
        (
            Exchange {
                headers: Some(vec![header("x-count", json!(3))]),
                authorization: Some("Bearer s".into()),
                body: Some(Json(json!({"a": 1}))),
                timeout: Some(1500),
                ..post.clone()
            },
            vec![
                ("x-count", "3"),
                ("authorization", "Bearer s"),
                ("idempotency-key", "key-1"),
                ("content-type", "application/json"),
            ],
            r#"{"a":1}"#,
        ),
        (
            Exchange {
                headers: Some(vec![
                    header("Content-Type", json!("application/vnd.x+json")),
                    header("Idempotency-Key", json!("mine")),
                ]),
                body: Some(Json(json!([1]))),
                ..post.clone()
            },
            vec![("Content-Type", "application/vnd.x+json"), ("Idempotency-Key", "mine")],
            "[1]",
        ),
        (
            Exchange { body: Some(Json(json!("plain"))), ..post.clone() },
            vec![("idempotency-key", "key-1")],
            "plain",
        ),
        (post, vec![("idempotency-key", "key-1")], ""),
    ];
    for (inputs, headers, body) in cases {
        let timeout = inputs.timeout.map(Duration::from_millis);
        exchange(&host, &call(), inputs).expect("answered");
        let expected: Vec<(String, String)> =
            headers.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        assert_eq!(sent_headers(&host), expected);
        let sent = host.sent().pop().expect("sent");
        assert_eq!((sent.body, sent.timeout), (body.as_bytes().to_vec(), timeout));
    }
}

#[test]
fn a_request_that_only_reads_needs_no_key_and_takes_no_body() {
    let host = MemoryHost::new();
    host.answer_to("HEAD", URL, Ok(response(200, "")));
    let head = Exchange { method: "HEAD".into(), ..to(URL) };
    exchange(&host, &call(), head.clone()).expect("answered");
    assert_eq!(sent_headers(&host), []);
    let error = exchange(&host, &call(), Exchange { body: Some(Json(json!("b"))), ..head });
    assert!(error.expect_err("it has a body").message().contains("has no body"));
    let twice = Exchange {
        headers: Some(vec![KeyValue::new("AUTHORIZATION", "a")]),
        authorization: Some("b".into()),
        ..to(URL)
    };
    let error = exchange(&host, &call(), twice).expect_err("two of them").message().to_owned();
    assert!(error.contains("leave one of them out"), "{error}");
    assert_eq!(host.sent().len(), 1, "what is wrong is not sent");
}

#[test]
fn only_the_expected_statuses_succeed_and_only_a_passing_failure_is_retried() {
    for (status, expected, outcome) in [
        (204, None, Ok(())),
        (404, Some(vec![200, 404]), Ok(())),
        (200, Some(vec![201]), Err(Retry::No)),
        (301, None, Err(Retry::No)),
        (404, None, Err(Retry::No)),
        (429, None, Err(Retry::After(Duration::from_secs(7)))),
        (503, None, Err(Retry::After(Duration::from_secs(7)))),
        (501, None, Err(Retry::No)),
    ] {
        let host = MemoryHost::new();
        host.answer(Ok(answer_of(status, &[("Retry-After", "7")], b"because")));
        let inputs = Exchange { expected: expected.clone(), ..to(URL) };
        let found = exchange(&host, &call(), inputs);
        let retries = found.as_ref().map(drop).map_err(AppError::retries);
        assert_eq!(retries, outcome, "{status} {expected:?}");
        if let Err(error) = found {
            let message = error.message();
            assert!(message.contains(&format!("GET {URL} answered {status}, expected ")), "{message}");
            assert!(message.ends_with(": because"), "{message}");
        }
    }
    let host = MemoryHost::new();
    let tomorrow = [("Retry-After", "Fri, 31 Dec 2027 23:59:59 GMT")];
    host.answer(Ok(answer_of(503, &tomorrow, "ü".repeat(900).as_bytes())));
    let error = exchange(&host, &call(), to(URL)).expect_err("it is unavailable");
    assert_eq!(error.retries(), Retry::Yes);
    assert_eq!(error.message().matches('ü').count(), QUOTED);
}

#[test]
fn a_request_without_an_answer_says_why_and_whether_to_try_again() {
    for (failure, retries) in [
        (HttpError::Timeout, Retry::Yes),
        (HttpError::Connection("reset".into()), Retry::Yes),
        (HttpError::Forbidden("the grant does not cover it".into()), Retry::No),
        (HttpError::Invalid("no URL".into()), Retry::No),
    ] {
        let host = MemoryHost::new();
        host.answer(Err(failure.clone()));
        let error = exchange(&host, &call(), to(URL)).expect_err("no answer");
        assert_eq!((error.message(), error.retries()), (&*format!("GET {URL}: {failure}"), retries));
    }
}

#[test]
fn an_error_names_the_method_and_the_address_and_no_query_or_credentials() {
    for (url, shown) in [
        ("https://user:secret@api.example.com/a/b?token=secret#secret", "https://api.example.com/a/b"),
        ("http://secret@api.example.com:8080", "http://api.example.com:8080"),
        ("https://us@er:secret@api.example.com/@me", "https://api.example.com/@me"),
        ("https:/user:secret@api.example.com/a", "https://api.example.com/a"),
        ("https:user:secret@api.example.com/a", "api.example.com/a"),
        ("https:\\\\user:secret@api.example.com\\a", "https://api.example.com\\a"),
        ("api.example.com?token=secret", "api.example.com"),
        ("", ""),
    ] {
        let delete = Exchange { method: "DELETE".into(), ..to(url) };
        let error = exchange(&MemoryHost::new(), &call(), delete).expect_err("no host sends it");
        let why = error.message().strip_prefix(&format!("DELETE {shown}: "));
        assert!(why.is_some_and(|why| !why.contains("secret")), "{url}: {error}");
    }
    let host = MemoryHost::new();
    host.answer(Ok(answer_of(500, &[], b"")));
    let error = exchange(&host, &call(), to("https://a.example/b?key=secret")).expect_err("it failed");
    assert_eq!(error.message(), "GET https://a.example/b answered 500, expected 200 to 299");
}

#[test]
fn it_declares_itself_as_its_users_meet_it() {
    let inputs = Exchange::describe();
    let input = |name: &str| inputs.iter().find(|input| input.name == name).expect("declared");
    assert!(input("url").required && !input("method").required);
    assert!(input("authorization").secret && !input("headers").secret);
    assert_eq!(input("headers").value_type, ValueType::KeyValues);
    assert_eq!(input("method").default.as_deref(), Some("\"GET\""));
    assert!(inputs.iter().all(|input| !input.help.is_empty()));
    assert!(Answer::describe().iter().all(|output| !output.help.is_empty()));
}
