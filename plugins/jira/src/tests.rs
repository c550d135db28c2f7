use bellwether_sdk::formatter::Answer;
use bellwether_sdk::formatter::Signing;
use bellwether_sdk::testing::{answer, extremes, notification, rehearse, rehearse_with, sent, sent_json};

use super::*;

fn settings() -> Json {
    json!({"url": "https://example.atlassian.net", "email": "bot@example.com", "api_token": "set", "project": "OPS", "labels": ["alert"]})
}

fn found(keys: &[&str]) -> Answer {
    let issues: Vec<Json> = keys.iter().map(|key| json!({"id": "10001", "key": key})).collect();
    answer(200, &json!({"issues": issues, "isLast": true}).to_string())
}

fn made() -> Answer {
    answer(
        201,
        r#"{"id": "10000", "key": "OPS-7", "self": "https://example.atlassian.net/rest/api/3/issue/10000"}"#,
    )
}

fn looked(category: &str) -> Answer {
    let transition = |id: &str, name: &str, to: &str| json!({"id": id, "name": name, "to": {"statusCategory": {"key": to}}});
    let body = json!({
        "key": "OPS-7",
        "fields": {"status": {"statusCategory": {"key": category}}},
        "transitions": [
            transition("11", "To Do", "new"),
            transition("31", "Done", "done"),
            transition("41", "Won't do", "done"),
        ],
    });
    answer(200, &body.to_string())
}

fn told(
    exchange: &mut Exchange,
    settings: &Json,
    event: Event,
    answers: &[Answer],
) -> (Vec<String>, Vec<Step>) {
    exchange.notification = notification(event);
    let steps = rehearse_with(next, settings, exchange, answers).expect("steps");
    let requests = steps.iter().filter(|step| matches!(step, Step::Send { .. })).map(|step| {
        let request = sent(step);
        let [Signing::Basic(_)] = request.signing() else { panic!("it is signed once") };
        let url = request.url().to_string();
        let path = url.strip_prefix("https://example.atlassian.net/rest/api/3/").expect("the site's API");
        format!("{} {path}", request.method())
    });
    (requests.collect(), steps)
}

const LOOK: &str = "GET issue/OPS-7?fields=status&expand=transitions";

#[test]
fn an_issue_is_looked_up_made_edited_and_moved_to_done() {
    let mut exchange = Exchange::new(notification(Event::Opened), Vec::new());
    let (requests, steps) = told(&mut exchange, &settings(), Event::Opened, &[found(&[]), made()]);
    assert_eq!(requests, ["POST search/jql", "POST issue"]);
    assert_eq!(
        sent_json(&steps[0])["jql"],
        "project = \"OPS\" AND labels = \"bellwether-incident-1.channel-1\" ORDER BY created DESC"
    );
    let fields = &sent_json(&steps[1])["fields"];
    assert_eq!(fields["labels"], json!(["bellwether-incident-1.channel-1", "alert"]));
    assert_eq!((&fields["project"]["key"], &fields["issuetype"]["name"]), (&json!("OPS"), &json!("Task")));
    assert_eq!(fields["summary"], "[High] Checkout fails more often than usual");
    assert!(matches!(steps[2], Step::Done { .. }));

    let (requests, _) = told(&mut exchange, &settings(), Event::Updated, &[answer(204, ""), looked("new")]);
    assert_eq!(requests, ["PUT issue/OPS-7", LOOK], "what is open stays where its people put it");

    let answers = [answer(204, ""), looked("indeterminate"), answer(204, "")];
    let (requests, steps) = told(&mut exchange, &settings(), Event::Closed, &answers);
    assert_eq!(requests, ["PUT issue/OPS-7", LOOK, "POST issue/OPS-7/transitions"]);
    assert_eq!(sent_json(&steps[2]), json!({"transition": {"id": "31"}}));

    // It goes on: the issue is reopened.
    let answers = [answer(204, ""), looked("done"), answer(204, "")];
    let (_, steps) = told(&mut exchange, &settings(), Event::Updated, &answers);
    assert_eq!(sent_json(&steps[2]), json!({"transition": {"id": "11"}}));
}

#[test]
fn what_was_made_before_a_crash_is_found_and_not_made_twice() {
    let mut exchange = Exchange::new(notification(Event::Opened), Vec::new());
    let answers = [found(&["OPS-7"]), answer(204, ""), looked("new")];
    let (requests, _) = told(&mut exchange, &settings(), Event::Opened, &answers);
    assert_eq!(requests, ["POST search/jql", "PUT issue/OPS-7", LOOK]);
}

#[test]
fn an_issue_that_may_have_been_made_is_looked_for_long_enough_before_it_is_made_again_or_not_closed() {
    let lost = || {
        let mut exchange = Exchange::new(notification(Event::Opened), Vec::new());
        told(&mut exchange, &settings(), Event::Opened, &[found(&[]), answer(504, "")]);
        exchange
    };
    let waits = |step: &Step| matches!(step, Step::Retry { after: Some(after), .. } if after.as_secs() >= 60);
    for event in [Event::Opened, Event::Closed] {
        // It is found as soon as Jira's index has it.
        let mut exchange = lost();
        let (requests, steps) = told(&mut exchange, &settings(), event, &[found(&[])]);
        assert_eq!(requests, ["POST search/jql"]);
        assert!(waits(&steps[1]), "{steps:?}");
        let (requests, _) =
            told(&mut exchange, &settings(), event, &[found(&["OPS-7"]), answer(204, ""), looked("new")]);
        assert_eq!(requests[..2], ["POST search/jql", "PUT issue/OPS-7"]);
        // One that was never made is believed to be none after a while, though an answer is lost on the way.
        let mut exchange = lost();
        assert!(waits(&told(&mut exchange, &settings(), event, &[found(&[])]).1[1]));
        told(&mut exchange, &settings(), event, &[]);
        let (_, steps) = told(&mut exchange, &settings(), event, &[found(&[])]);
        assert!(!waits(&steps[1]), "{steps:?}");
        assert_eq!(steps[1] == Step::done(), event == Event::Closed, "{steps:?}");
    }
}

#[test]
fn an_issue_that_was_deleted_is_made_anew_but_not_to_be_closed() {
    let mut exchange = Exchange::new(notification(Event::Opened), Vec::new());
    told(&mut exchange, &settings(), Event::Opened, &[found(&[]), made()]);
    let (requests, _) = told(&mut exchange, &settings(), Event::Updated, &[answer(404, "{}"), made()]);
    assert_eq!(requests, ["PUT issue/OPS-7", "POST issue"]);
    let (_, steps) = told(&mut exchange, &settings(), Event::Closed, &[answer(404, "{}")]);
    assert_eq!(steps[1], Step::done().remember(Vec::new()));
    let (_, steps) = told(&mut exchange, &settings(), Event::Closed, &[found(&[])]);
    assert_eq!(steps[1], Step::done(), "there is nothing to close");
}

#[test]
fn a_transition_is_taken_by_name_and_a_missing_one_is_told() {
    let mut named = settings();
    named["close_transition"] = "won't do".into();
    let mut exchange = Exchange::new(notification(Event::Test), Vec::new());
    let answers = [found(&[]), made(), looked("new"), answer(204, "")];
    let (requests, steps) = told(&mut exchange, &named, Event::Test, &answers);
    assert_eq!(requests.len(), 4, "a test ends what it made");
    assert_eq!(sent_json(&steps[3]), json!({"transition": {"id": "41"}}));
    named["close_transition"] = "Ship".into();
    let (_, steps) = told(&mut exchange, &named, Event::Closed, &[answer(204, ""), looked("new")]);
    let reason = "the issue has no transition named \"Ship\"; it has To Do, Done, Won't do";
    assert_eq!(steps[2], Step::fail(reason));
}

#[test]
fn an_issue_stays_within_jiras_limits_and_its_texts_are_never_empty_whatever_is_told() {
    for (name, mut told) in extremes() {
        told.event = Event::Opened;
        let steps = rehearse(next, &settings(), told, &[found(&[])]).expect(name);
        let fields = &sent_json(&steps[1])["fields"];
        let summary = fields["summary"].as_str().expect("a text");
        assert!((1..=255).contains(&summary.encode_utf16().count()) && !summary.contains('\n'), "{name}");
        let description = fields["description"].to_string();
        assert!(description.encode_utf16().count() <= 32_767, "{name}");
        assert!(!description.contains("\"text\":\"\""), "{name}: {description}");
    }
}

#[test]
fn a_page_in_place_of_an_issue_s_change_is_no_change() {
    let page = || answer(200, "<html>\n Sign in");
    let mut exchange = Exchange::new(notification(Event::Opened), Vec::new());
    told(&mut exchange, &settings(), Event::Opened, &[found(&[]), made()]);
    for answers in [vec![page()], vec![answer(204, ""), page()], vec![answer(204, ""), looked("new"), page()]]
    {
        let (_, steps) = told(&mut exchange.clone(), &settings(), Event::Closed, &answers);
        assert_eq!(
            steps.last(),
            Some(&Step::retry("the channel answered 200: <html> Sign in, where JSON was expected"))
        );
    }
}

#[test]
fn what_jira_answers_is_tried_again_or_told() {
    let end = |given: Answer| {
        rehearse(next, &settings(), notification(Event::Opened), &[given])
            .expect("steps")
            .pop()
            .expect("an end")
    };
    assert_eq!(end(answer(429, "")), Step::retry("the channel answered 429"));
    assert_eq!(end(answer(503, "")), Step::retry("the channel answered 503"));
    let errors = r#"{"errorMessages":["The value 'OPS' does not exist for the field 'project'."]}"#;
    assert_eq!(end(answer(400, errors)), Step::fail(format!("the channel answered 400: {errors}")));
    assert!(matches!(end(answer(401, "")), Step::Fail(_)));
    assert_eq!(
        end(answer(200, "<html>\n Sign in")),
        Step::retry("the channel answered 200: <html> Sign in, where JSON was expected")
    );
    let odd = found(&["../../x"]);
    assert!(matches!(end(odd), Step::Send { .. }), "a key that is none is not put into a path");
}

#[test]
fn a_wrong_setting_is_named() {
    for (name, value) in [
        ("url", json!("example.atlassian.net")),
        ("project", json!("OPS\" OR project != \"")),
        ("labels", json!(["two words"])),
        ("issue_type", json!("")),
        ("close_transition", json!("a\nb")),
    ] {
        let mut given = settings();
        given[name] = value;
        let error = rehearse(next, &given, notification(Event::Opened), &[]).expect_err(name);
        assert!(error.to_string().starts_with(name), "{error}");
    }
}
