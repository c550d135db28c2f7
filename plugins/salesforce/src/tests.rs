use bellwether_sdk::testing::{answer, extremes, notification, rehearse, rehearse_with, sent, sent_json};

use super::*;

fn settings() -> Json {
    json!({"url": "https://example.my.salesforce.com", "client_id": "id", "client_secret": "set"})
}

#[test]
fn a_case_is_upserted_under_one_id_from_opening_to_closing() {
    let id = stable_key("incident-1.channel-1", EXTERNAL_ID);
    let mut exchange = Exchange::new(notification(Event::Opened), Vec::new());
    for (event, status) in
        [(Event::Opened, json!("New")), (Event::Updated, Json::Null), (Event::Closed, json!("Closed"))]
    {
        let made = answer(201, r#"{"id": "500x", "success": true, "errors": [], "created": true}"#);
        exchange.notification = notification(event);
        let steps = rehearse_with(next, &settings(), &mut exchange, &[made]).expect("steps");
        let request = sent(&steps[0]);
        let url = format!(
            "https://example.my.salesforce.com/services/data/v62.0/sobjects/Case/BellwetherIncident__c/{id}"
        );
        assert_eq!((request.method(), request.url().to_string()), ("PATCH", url));
        let [Signing::Oauth(oauth)] = request.signing() else { panic!("it is signed once") };
        assert!(matches!(oauth.grant, Grant::ClientCredentials));
        let fields = sent_json(&steps[0]);
        assert_eq!((&fields["Status"], &fields["Priority"]), (&status, &json!("High")));
    }
    let none = answer(204, "");
    let steps = rehearse(next, &settings(), notification(Event::Test), &[none.clone(), none]).expect("steps");
    assert_eq!(sent_json(&steps[1])["Status"], "Closed", "a test ends what it made");
}

#[test]
fn two_channels_make_two_cases_each_of_one_id_whatever_is_remembered() {
    let id = |channel: &str, event, memory: &[u8]| {
        let mut exchange = Exchange::new(notification(event), memory.to_vec());
        exchange.notification.idempotency_key = format!("incident-1.{channel}.7");
        let steps = rehearse_with(next, &settings(), &mut exchange, &[]).expect("steps");
        let url = sent(&steps[0]).url().to_string();
        url.rsplit('/').next().map(str::to_owned)
    };
    assert_ne!(id("day", Event::Opened, b""), id("night", Event::Opened, b""));
    for event in [Event::Updated, Event::Closed] {
        for memory in [&b""[..], b"line"] {
            // As where the channel was put again, or where no opening is told.
            assert_eq!(id("day", event, memory), id("day", Event::Opened, b""));
        }
    }
}

#[test]
fn a_case_stays_within_salesforces_limits_whatever_is_told() {
    for (name, mut told) in extremes() {
        told.incident.id = "../é?".repeat(100);
        let steps = rehearse(next, &settings(), told, &[]).expect(name);
        let url = sent(&steps[0]).url().to_string();
        assert!(url.rsplit('/').next().is_some_and(|id| id.len() == 32), "{name}: {url}");
        let fields = sent_json(&steps[0]);
        let length = |field: &str| fields[field].as_str().expect("a text").encode_utf16().count();
        assert!((1..=255).contains(&length("Subject")) && length("Description") <= 32_000, "{name}");
    }
}

#[test]
fn what_salesforce_answers_means_what_its_code_says() {
    let end = |status, code: &str| {
        let body = json!([{"message": "No.", "errorCode": code}]).to_string();
        rehearse(next, &settings(), notification(Event::Opened), &[answer(status, &body)])
            .expect("steps")
            .pop()
            .expect("an end")
    };
    assert!(matches!(end(403, "REQUEST_LIMIT_EXCEEDED"), Step::Retry { .. }));
    assert!(matches!(end(401, "INVALID_SESSION_ID"), Step::Retry { .. }));
    assert!(matches!(end(400, "UNABLE_TO_LOCK_ROW"), Step::Retry { .. }));
    assert!(matches!(end(503, "SERVER_UNAVAILABLE"), Step::Retry { .. }));
    assert!(matches!(end(403, "INSUFFICIENT_ACCESS"), Step::Fail(_)));
    assert!(matches!(end(400, "REQUIRED_FIELD_MISSING"), Step::Fail(_)));
    assert!(matches!(end(404, "NOT_FOUND"), Step::Fail(_)));
    assert!(matches!(end(300, ""), Step::Fail(_)), "two cases have the id");
    let page = answer(200, "<html>\n Sign in");
    let steps = rehearse(next, &settings(), notification(Event::Opened), &[page]).expect("steps");
    assert_eq!(steps[1], Step::retry("the channel answered 200: <html> Sign in, where JSON was expected"));
}

#[test]
fn a_refresh_token_is_used_where_there_is_one_and_a_wrong_setting_is_named() {
    let mut given = settings();
    given["refresh_token"] = "set".into();
    given["token_url"] = "https://login.salesforce.com/services/oauth2/token".into();
    let steps = rehearse(next, &given, notification(Event::Opened), &[]).expect("steps");
    let [Signing::Oauth(oauth)] = sent(&steps[0]).signing() else { panic!("it is signed once") };
    assert!(matches!(&oauth.grant, Grant::RefreshToken(name) if name == "refresh_token"));
    for (name, value) in [
        ("url", "example.my.salesforce.com"),
        ("token_url", "x"),
        ("client_id", ""),
        ("api_version", "latest"),
        ("external_id_field", "Id/../x"),
        ("open_status", ""),
    ] {
        let mut given = settings();
        given[name] = value.into();
        let error = rehearse(next, &given, notification(Event::Opened), &[]).expect_err(name);
        assert!(error.to_string().starts_with(name), "{error}");
    }
}
