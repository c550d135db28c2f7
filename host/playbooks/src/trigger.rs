//! What started a run, as templates and the run's record see it.

pub(crate) mod alert;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bellwether_kernel::value::{check_nesting, check_text_nesting};
use bellwether_kernel::{FieldError, Timestamp};
use serde_json::{Map, Value as Json, json};

use crate::{Trigger, TriggerKind, WebhookRequest, Write};

/// Words in the name of a header that holds a credential or a proof of one, its `-` and `_` left out.
const CREDENTIAL_WORDS: [&str; 9] =
    ["apikey", "auth", "cookie", "credential", "hmac", "password", "secret", "signature", "token"];
/// What such a name may end in, and ends of those that hold none: the key of a delivery, and the event as Bitbucket names it.
const KEY: &str = "key";
const OTHER_KEYS: [&str; 2] = ["idempotencykey", "eventkey"];

/// What `trigger` holds for templates.
pub(crate) fn fields(trigger: &Trigger) -> &'static [&'static str] {
    match trigger.kind() {
        TriggerKind::Webhook => &["base64", "body", "form", "headers", "method", "query", "text"],
        TriggerKind::Manual | TriggerKind::Playbook => &["inputs"],
        TriggerKind::Cron | TriggerKind::Every => &["missed", "scheduled"],
        TriggerKind::Metric => &["before", "interval_start", "key", "metric", "value"],
        TriggerKind::Alert => &alert::FIELDS,
    }
}

/// `trigger` of a run started by time: when it was due, and whether that was missed and made up for.
pub(crate) fn scheduled(at: Timestamp, missed: bool) -> Json {
    json!({ "scheduled": at.to_string(), "missed": missed })
}

/// `trigger` of a run started by a write to a metric.
pub(crate) fn metric(write: &Write) -> Json {
    json!({
        "metric": write.metric,
        "key": write.key,
        "interval_start": write.interval_start.to_string(),
        "before": write.before,
        "value": write.value,
    })
}

/// `trigger` of a run started by hand.
pub(crate) fn manual(inputs: &Json) -> Json {
    json!({ "inputs": inputs })
}

/// `trigger` of a run started by a request:
///
/// - `method`, `query` and `headers`: a name that came more than once has its values joined by `, `; header names are
///   in lower case; headers that hold credentials are left out, by their names, and those that hold the hook's `token`, as a
///   proxy sends that repeats what it was asked for: whoever may read runs would know where to start it.
/// - `body`: the JSON in it, `null` if there is none. Of a form it is an object of its fields, or, for a form with the
///   one field `payload` that holds JSON (as GitHub and Slack send it), that JSON.
/// - `form`: the fields of a form, otherwise absent.
/// - `text`: the body as it came, if it is UTF-8, and not JSON or wanted all the same (`with_text`).
/// - `base64`: the body, if it is not UTF-8.
///
/// # Errors
/// The content type says JSON, and it is none; or the JSON is nested too deep.
pub(crate) fn webhook(request: WebhookRequest, token: &str, with_text: bool) -> Result<Json, FieldError> {
    let content_type = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let content_type =
        content_type.map_or("", |(_, value)| value.split(';').next().unwrap_or_default().trim());
    let content_type = content_type.to_ascii_lowercase();
    let says_json = content_type == "application/json" || content_type.ends_with("+json");

    let mut trigger = Map::new();
    trigger.insert("method".into(), request.method.into());
    trigger.insert("query".into(), object(request.query.into_iter()));
    let mut headers = request.headers;
    headers.iter_mut().for_each(|(name, _)| name.make_ascii_lowercase());
    headers.retain(|(name, value)| !is_credential(name) && !value.contains(token));
    trigger.insert("headers".into(), object(headers.into_iter()));
    let Ok(text) = std::str::from_utf8(&request.body) else {
        if says_json {
            return Err(FieldError::new(
                "body",
                "bytes that are not UTF-8",
                "JSON, as its content type says",
            ));
        }
        trigger.insert("body".into(), Json::Null);
        trigger.insert("base64".into(), STANDARD.encode(&request.body).into());
        return Ok(trigger.into());
    };
    let mut is_json = false;
    // Some senders put a byte order mark before it.
    let body = match serde_json::from_str::<Json>(text.strip_prefix('\u{feff}').unwrap_or(text)) {
        // A bare word or number of another content type is text that happens to read as JSON.
        Ok(json) if says_json || json.is_object() || json.is_array() => {
            check_nesting("body", &json)?;
            is_json = true;
            json
        }
        Err(error) if says_json && !text.trim().is_empty() => {
            check_text_nesting("body", text)?;
            return Err(FieldError::new("body", text, format!("JSON, as its content type says: {error}")));
        }
        _ if content_type == "application/x-www-form-urlencoded" => {
            let form = object(form_urlencoded::parse(text.as_bytes()).into_owned());
            trigger.insert("form".into(), form.clone());
            let body = payload(&form);
            body.iter().try_for_each(|json| check_nesting("payload", json))?;
            body.unwrap_or(form)
        }
        _ => Json::Null,
    };
    trigger.insert("body".into(), body);
    if with_text || !is_json {
        trigger.insert("text".into(), text.into());
    }
    Ok(trigger.into())
}

fn payload(form: &Json) -> Option<Json> {
    let form = form.as_object().filter(|form| form.len() == 1)?;
    serde_json::from_str(form.get("payload")?.as_str()?).ok()
}

fn object(pairs: impl Iterator<Item = (String, String)>) -> Json {
    let mut object = Map::new();
    for (name, value) in pairs {
        match object.get_mut(&name) {
            Some(Json::String(values)) => {
                values.push_str(", ");
                values.push_str(&value);
            }
            _ => {
                object.insert(name, value.into());
            }
        }
    }
    object.into()
}

fn is_credential(header: &str) -> bool {
    let name = header.replace(['-', '_'], "");
    let is_key = name.ends_with(KEY) && !OTHER_KEYS.iter().any(|other| name.ends_with(other));
    is_key || CREDENTIAL_WORDS.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "the-hooks-own";

    fn request(content_type: &str, body: &[u8]) -> WebhookRequest {
        let headers = [
            ("Content-Type", content_type),
            ("X-GitHub-Event", "push"),
            ("Accept", "a"),
            ("Accept", "b"),
            ("Authorization", "Bearer hidden"),
            ("Cookie", "hidden"),
            ("X-Hub-Signature-256", "hidden"),
            ("X-Gitlab-Token", "hidden"),
        ];
        WebhookRequest {
            method: "POST".into(),
            query: vec![("a".into(), "1".into()), ("b".into(), "2".into()), ("a".into(), "3".into())],
            headers: headers.map(|(name, value)| (name.into(), value.into())).to_vec(),
            body: body.to_vec().into(),
        }
    }

    #[test]
    fn a_request_becomes_a_trigger_without_its_credentials() {
        let trigger = webhook(request("text/plain", b"hello"), TOKEN, false).unwrap();
        let expected = json!({
            "method": "POST", "query": {"a": "1, 3", "b": "2"},
            "headers": {"content-type": "text/plain", "x-github-event": "push", "accept": "a, b"},
            "body": null, "text": "hello",
        });
        assert_eq!(trigger, expected);
    }

    #[test]
    fn a_header_that_holds_a_credential_is_known_by_its_name_however_that_is_written() {
        for header in [
            "apikey",
            "x-apikey",
            "x-api-key",
            "x_api_key",
            "x-auth-key",
            "x-functions-key",
            "ocp-apim-subscription-key",
            "x-shopify-hmac-sha256",
            "proxy-authorization",
            "set-cookie",
            "x-amz-credential",
            "x-gitlab-token",
        ] {
            assert!(is_credential(header), "{header}");
        }
        for header in
            ["idempotency-key", "x-idempotency-key", "x-event-key", "x-github-event", "user-agent", "keyword"]
        {
            assert!(!is_credential(header), "{header}");
        }
    }

    #[test]
    fn a_body_is_read_as_what_it_is() {
        let form = "application/x-www-form-urlencoded";
        let cases: [(&str, &[u8], Json); 15] = [
            ("application/json", b"{\"a\": 1}", json!({"body": {"a": 1}})),
            ("application/json; charset=utf-8", b"7", json!({"body": 7})),
            ("application/vnd.x+json", b"[1]", json!({"body": [1]})),
            ("application/json", b"", json!({"body": null, "text": ""})),
            ("", b"{\"a\": 1}", json!({"body": {"a": 1}})),
            // A byte order mark is no part of what is behind it.
            ("application/json", b"\xef\xbb\xbf{\"a\": 1}", json!({"body": {"a": 1}})),
            ("", b"\xef\xbb\xbf[1]", json!({"body": [1]})),
            ("text/plain", b"7", json!({"body": null, "text": "7"})),
            ("text/plain", b"{\"a\"", json!({"body": null, "text": "{\"a\""})),
            // curl says "form" where nobody told it better.
            (form, b"{\"a\": 1}", json!({"body": {"a": 1}})),
            (
                form,
                b"a=1&b=x+y%21",
                json!({"body": {"a": "1", "b": "x y!"}, "form": {"a": "1", "b": "x y!"}, "text": "a=1&b=x+y%21"}),
            ),
            (
                form,
                b"payload=%7B%22a%22%3A1%7D",
                json!({"body": {"a": 1}, "form": {"payload": "{\"a\":1}"}, "text": "payload=%7B%22a%22%3A1%7D"}),
            ),
            (
                form,
                b"payload=x",
                json!({"body": {"payload": "x"}, "form": {"payload": "x"}, "text": "payload=x"}),
            ),
            (form, b"", json!({"body": {}, "form": {}, "text": ""})),
            ("image/png", b"\xff\x00", json!({"body": null, "base64": "/wA="})),
        ];
        for (content_type, body, expected) in cases {
            let mut trigger = webhook(request(content_type, body), TOKEN, false).unwrap();
            for field in ["method", "query", "headers"] {
                trigger.as_object_mut().unwrap().remove(field);
            }
            assert_eq!(trigger, expected, "{content_type}: {}", body.escape_ascii());
        }
    }

    #[test]
    fn json_that_is_none_is_refused() {
        for body in [&b"{\"a\""[..], b"\xff"] {
            assert_eq!(webhook(request("application/json", body), TOKEN, false).unwrap_err().field, "body");
        }
    }

    #[test]
    fn json_that_is_nested_too_deep_is_refused_before_it_is_recorded() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let form = "application/x-www-form-urlencoded";
        let cases = [
            ("application/json", nested(65), "body", "nested 65 levels deep"),
            // Deeper than can be read at all.
            ("application/json", nested(129), "body", "nested 129 levels deep"),
            ("", nested(65), "body", "nested 65 levels deep"),
            (form, format!("payload={}", nested(65)), "payload", "nested 65 levels deep"),
        ];
        for (content_type, body, field, value) in cases {
            let error = webhook(request(content_type, body.as_bytes()), TOKEN, false).unwrap_err();
            assert_eq!((error.field.as_str(), error.value.as_str()), (field, value), "{content_type}");
        }
        assert!(webhook(request("application/json", nested(64).as_bytes()), TOKEN, false).is_ok());
        // Text that nobody said is JSON.
        let text = "[".repeat(1_000);
        assert_eq!(webhook(request("text/plain", text.as_bytes()), TOKEN, false).unwrap()["text"], text);
    }

    #[test]
    fn the_text_of_a_json_body_is_kept_where_it_is_wanted() {
        let trigger = webhook(request("application/json", b"{ }"), TOKEN, true).unwrap();
        assert_eq!(trigger["text"], "{ }");
    }
}
