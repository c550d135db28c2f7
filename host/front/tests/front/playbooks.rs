//! Versions of playbooks, their runs and the secrets they name, over HTTP.

use std::time::Duration;

use axum::body::Body;
use bellwether_front::FrontSettings;
use http::Request;
use serde_json::{Value, json};

use crate::pages::Browser;
use crate::support::{Host, SLOWLY, playbook};

/// What the playbook says when it is run.
async fn said(host: &Host) -> Value {
    let run = host.ask("POST", "/v1/playbooks/talk/runs?wait=30", &host.write, Value::Null).await.json();
    run["steps"][0]["outputs"]["text"].clone()
}

#[tokio::test]
async fn who_waits_for_a_run_is_answered_though_it_takes_longer_than_a_request_may() {
    let host = Host::with(FrontSettings { request_seconds: 1, ..FrontSettings::default() }).await;
    let store = async |name, trigger| {
        host.ask("POST", "/v1/playbooks", &host.admin, playbook(name, trigger, SLOWLY)).await.json()
    };
    store("by-hand", "manual").await;
    let hook = store("hooked", "webhook").await["webhook_url"].as_str().unwrap().to_owned();
    let run = async |path: &str, key: &str| {
        let run = host.ask("POST", &format!("{path}?wait=20"), key, Value::Null).await.json();
        assert_eq!(run["state"], "succeeded", "{path}: {run}");
        run
    };
    let started = run("/v1/playbooks/by-hand/runs", &host.write).await;
    run(&format!("/v1/runs/{}/replay", started["id"].as_str().unwrap()), &host.write).await;
    run(&hook, "").await;
}

#[tokio::test]
async fn a_body_that_may_be_left_out_may_be_empty_whatever_is_said_of_it() {
    let host = Host::new().await;
    assert_eq!(
        host.ask("POST", "/v1/playbooks", &host.admin, playbook("talk", "manual", "one")).await.status,
        201
    );
    let empty = || Body::from_stream(futures::stream::empty::<Result<bytes::Bytes, std::io::Error>>());
    for (content_type, body, status) in [
        (Some("application/json"), Body::empty(), 202),
        (Some("application/json"), empty(), 202),
        (Some("text/plain"), Body::empty(), 202),
        (None, empty(), 202),
        (Some("application/json"), Body::from(" "), 400),
        (None, Body::from("{}"), 415),
    ] {
        let mut request = Request::post("/v1/playbooks/talk/runs")
            .header("authorization", format!("Bearer {}", host.write));
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let answer = host.send(request.body(body).unwrap()).await;
        assert_eq!(answer.status, status, "{content_type:?}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_draft_changes_nothing_until_it_is_published_and_a_roll_back_undoes_it() {
    let host = Host::new().await;
    let stored = host.ask("POST", "/v1/playbooks", &host.admin, playbook("talk", "manual", "one")).await;
    assert_eq!((stored.status.as_u16(), &stored.json()["status"]), (201, &json!({"state": "active"})));
    let draft = host
        .ask("PUT", "/v1/playbooks/talk?publish=false", &host.admin, playbook("talk", "manual", "two"))
        .await;
    assert_eq!(draft.status, 200);
    assert_eq!((&draft.json()["published"], &draft.json()["latest"]), (&json!(1), &json!(2)));
    assert_eq!(said(&host).await, "one");

    let published = host.ask("POST", "/v1/playbooks/talk/publish", &host.admin, json!({"version": 2})).await;
    assert_eq!(published.json()["published"], 2);
    assert_eq!(said(&host).await, "two");
    host.ask("POST", "/v1/playbooks/talk/roll-back", &host.admin, Value::Null).await;
    assert_eq!(said(&host).await, "one");

    let versions =
        host.ask("GET", "/v1/playbooks/talk/versions?limit=1", &host.read, Value::Null).await.json();
    assert_eq!(
        (&versions["items"][0]["version"], &versions["items"][0]["current"]),
        (&json!(2), &json!(false))
    );
    let next = format!("/v1/playbooks/talk/versions?cursor={}", versions["next"].as_str().unwrap());
    let rest = host.ask("GET", &next, &host.read, Value::Null).await.json();
    assert_eq!((&rest["items"][0]["version"], &rest["items"][0]["current"]), (&json!(1), &json!(true)));
    let second = host.ask("GET", "/v1/playbooks/talk/versions/2", &host.read, Value::Null).await.json();
    assert_eq!(second["steps"][0]["inputs"]["text"], "two");
    let missing = host.ask("POST", "/v1/playbooks/talk/publish", &host.admin, json!({"version": 7})).await;
    assert_eq!(missing.status, 404);
}

#[tokio::test]
async fn a_dry_run_says_what_each_step_would_be_given_and_leaves_nothing_behind() {
    let host = Host::new().await;
    let source = playbook("talk", "manual", "{{ trigger.inputs.word }}").to_string();
    let trial = json!({"source": source, "format": "json", "trigger": {"inputs": {"word": "hello"}}});
    let tried = host.ask("POST", "/v1/playbooks/dry-run", &host.write, trial).await;
    assert_eq!(tried.status, 200);
    assert_eq!(tried.json()["steps"][0]["inputs"], json!({"text": "hello"}));
    assert_eq!(host.ask("GET", "/v1/playbooks", &host.read, Value::Null).await.json()["items"], json!([]));
    assert_eq!(host.ask("GET", "/v1/runs", &host.read, Value::Null).await.json()["items"], json!([]));
}

#[tokio::test]
async fn inputs_that_are_no_object_are_refused_and_start_nothing() {
    let host = Host::new().await;
    host.ask("POST", "/v1/playbooks", &host.admin, playbook("talk", "manual", "one")).await;
    for inputs in [json!(5), json!([]), json!("abc"), json!(true)] {
        let body = json!({ "inputs": inputs });
        let refused = host.ask("POST", "/v1/playbooks/talk/runs", &host.write, body).await;
        assert_eq!(refused.problem(400, "invalid")["errors"][0]["field"], "inputs", "{inputs}");
    }
    for body in [json!({ "inputs": null }), json!({})] {
        assert_eq!(host.ask("POST", "/v1/playbooks/talk/runs", &host.write, body).await.status, 202);
    }
    let runs = host.ask("GET", "/v1/runs", &host.read, Value::Null).await.json();
    assert_eq!(runs["items"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_run_that_has_ended_is_replayed_and_not_cancelled() {
    let host = Host::new().await;
    host.ask("POST", "/v1/playbooks", &host.admin, playbook("talk", "manual", "one")).await;
    let run = host.ask("POST", "/v1/playbooks/talk/runs?wait=30", &host.write, Value::Null).await.json();
    let path = format!("/v1/runs/{}", run["id"].as_str().unwrap());
    let cancelled = host.ask("POST", &format!("{path}/cancel"), &host.write, Value::Null).await;
    assert_eq!(cancelled.status, 409);
    let replayed =
        host.ask("POST", &format!("{path}/replay?wait=30"), &host.write, json!({"step": "say"})).await.json();
    assert_eq!((&replayed["replay_of"], &replayed["state"]), (&run["id"], &json!("succeeded")));
    let wrong = host.ask("POST", &format!("{path}/replay"), &host.write, json!({"item": 1})).await;
    assert_eq!((wrong.status.as_u16(), &wrong.json()["errors"][0]["field"]), (400, &json!("step")));
    for (filter, runs) in
        [("trigger=manual", 2), ("trigger=cron", 0), ("since=2999-01-01", 0), ("state=succeeded", 2)]
    {
        let found = host.ask("GET", &format!("/v1/runs?{filter}"), &host.read, Value::Null).await.json();
        assert_eq!(found["items"].as_array().map(Vec::len), Some(runs), "{filter}");
    }
}

#[tokio::test]
async fn runs_of_a_playbook_that_was_deleted_are_listed_by_its_id() {
    let host = Host::new().await;
    let stored =
        host.ask("POST", "/v1/playbooks", &host.admin, playbook("talk", "manual", "one")).await.json();
    assert_eq!(said(&host).await, "one");
    let listed = async |playbook: &str| {
        let runs = host.get(&format!("/v1/runs?playbook={playbook}"), &host.read).await;
        (runs.status.as_u16(), runs.json()["items"].as_array().map(Vec::len))
    };
    let id = stored["id"].to_string();
    assert_eq!((listed("talk").await, listed(&id).await), ((200, Some(1)), (200, Some(1))));
    assert_eq!(host.ask("DELETE", "/v1/playbooks/talk", &host.admin, Value::Null).await.status, 200);
    assert_eq!((listed("talk").await, listed(&id).await), ((404, None), (200, Some(1))));
}

#[tokio::test]
async fn a_secret_is_put_and_listed_and_its_value_never_comes_out() {
    let host = Host::new().await;
    let body = json!({"value": "correct horse"});
    let bound = json!({"value": "correct horse", "hosts": ["https://a.example"]});
    for (status, body) in [(201, &bound), (200, &body)] {
        let put = host.ask("PUT", "/v1/secrets/ticket-token", &host.admin, body.clone()).await;
        assert_eq!(put.status, status);
        assert!(!put.json().to_string().contains("horse"));
    }
    let listed = host.ask("GET", "/v1/secrets", &host.admin, Value::Null).await.json();
    let secret = &listed["items"][0];
    assert_eq!((&secret["name"], &secret["hosts"]), (&json!("ticket-token"), &json!(["https://a.example"])));
    let audit = host.ask("GET", "/v1/audit", &host.admin, Value::Null).await.json();
    assert!(![listed, audit].iter().any(|shown| shown.to_string().contains("horse")));
    let elsewhere = host.ask("GET", "/v1/secrets", &host.stranger, Value::Null).await.json();
    assert_eq!(elsewhere["items"], json!([]));
    let refused = host.ask("PUT", "/v1/secrets/Ticket", &host.admin, body).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["errors"][0]["field"]), (400, &json!("name")));
    assert_eq!(host.ask("DELETE", "/v1/secrets/ticket-token", &host.admin, Value::Null).await.status, 204);
    assert_eq!(host.ask("DELETE", "/v1/secrets/ticket-token", &host.admin, Value::Null).await.status, 404);
}

#[tokio::test]
async fn a_secret_that_a_playbook_names_is_not_deleted_unless_it_is_forced() {
    let host = Host::new().await;
    let value = json!({"value": "correct horse battery staple"});
    assert_eq!(host.ask("PUT", "/v1/secrets/signing", &host.admin, value).await.status, 201);
    let mut signed = playbook("signed", "webhook", "a");
    signed["trigger"]["signature"] = json!({"scheme": "github", "secret": "signing"});
    let put = host.ask("POST", "/v1/playbooks", &host.admin, signed).await;
    assert_eq!(put.status, 201, "{}", put.text());
    let refused = host.ask("DELETE", "/v1/secrets/signing", &host.admin, Value::Null).await;
    let detail = refused.problem(409, "conflict")["detail"].to_string();
    assert!(detail.contains("named by the playbook signed"), "{detail}");
    let forced = host.ask("DELETE", "/v1/secrets/signing?force=true", &host.admin, Value::Null).await;
    assert_eq!(forced.status, 204);

    // The playbook says what is wrong with it from here on.
    for (path, place) in [("/v1/playbooks/signed", "/problem"), ("/v1/playbooks", "/items/0/problem")] {
        let shown = host.ask("GET", path, &host.read, Value::Null).await.json();
        let problem = shown.pointer(place).and_then(Value::as_str).unwrap();
        let expected = "trigger.signature.secret is \"signing\", expected the name of a secret that is there";
        assert!(problem.starts_with("line 1, column ") && problem.ends_with(expected), "{problem}");
    }
    let listed = Browser::new(&host, &host.read).await.open("/start").await;
    assert!(listed.contains("<td data-column=\"Problem\">line 1, column "), "{listed}");
}

#[tokio::test]
async fn the_page_asks_for_what_a_playbook_is_started_with_and_shows_the_run() {
    let host = Host::new().await;
    let mut greet = playbook("greet", "manual", "{{ trigger.inputs.who }}, {{ trigger.inputs.times }}");
    greet["trigger"]["inputs"] = json!({
        "who": {"type": "text", "required": true, "choices": ["Ada", "<Bo>"], "help": "Who is <greeted>."},
        "times": {"type": "integer", "default": 2},
        "names": {"type": "texts", "default": ["<Cy>"]},
        "token": {"type": "text", "secret": true},
    });
    assert_eq!(host.ask("POST", "/v1/playbooks", &host.admin, greet).await.status, 201);
    let browser = Browser::new(&host, &host.write).await;
    assert!(browser.answered("/start?playbook=%3Cgreet", 404).await.contains("&lt;greet"));

    let asked = browser.open("/start?playbook=greet").await;
    for part in [
        "<option>Ada</option><option>&lt;Bo&gt;</option>",
        "Who is &lt;greeted&gt;.",
        "name=\"input.times\" value=\"2\"",
        "<span>integer · left empty, it is 2</span>",
        "<span>texts, a JSON list as [&quot;a&quot;, &quot;b&quot;] · left empty, it is [&quot;&lt;Cy&gt;&quot;]</span>",
        "type=\"password\" name=\"input.token\"",
    ] {
        assert!(asked.contains(part), "{part} is not in {asked}");
    }
    let fields =
        |who, times| [("playbook", "greet"), ("input.who", who), ("input.times", times), ("input.token", "")];
    for (who, times, expected) in
        [("Ada", "3", "text = &quot;Ada, 3&quot;"), ("<Bo>", "", "text = &quot;&lt;Bo&gt;, 2&quot;")]
    {
        // The later is the latest.
        host.clock.advance(1);
        let mut run = browser.fill_in("/start", &fields(who, times)).await;
        while run.contains("http-equiv=\"refresh\"") {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let latest = host.get("/v1/runs?limit=1", &host.read).await.json();
            run = browser.open(&format!("/runs/{}", latest["items"][0]["id"].as_str().unwrap())).await;
        }
        assert!(run.contains(expected), "{expected} is not in {run}");
    }
    for (who, times, expected) in [
        ("", "3", "it is required"),
        ("Ada", "three", "expected a whole number"),
        ("Eve", "3", "one of Ada, &lt;Bo&gt;"),
    ] {
        let page = browser.refused("/start", &fields(who, times), 400).await;
        assert!(
            page.contains(expected) && page.contains("<button>Start</button>"),
            "{expected} is not in {page}"
        );
    }
    let runs = host.ask("GET", "/v1/runs", &host.read, Value::Null).await.json();
    assert_eq!(runs["items"].as_array().map(Vec::len), Some(2), "only what was right started a run");
}

#[tokio::test]
async fn a_form_that_a_browser_sends_again_starts_nothing_twice() {
    let host = Host::new().await;
    let mut greet = playbook("greet", "manual", "{{ trigger.inputs.who }}");
    greet["trigger"]["inputs"] = json!({"who": {"type": "text", "required": true}});
    assert_eq!(host.ask("POST", "/v1/playbooks", &host.admin, greet).await.status, 201);
    let browser = Browser::new(&host, &host.write).await;
    let once = async || {
        let asked = browser.open("/start?playbook=greet").await;
        let (_, rest) = asked.split_once("name=\"once\" value=\"").unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    };
    let (first, second) = (once().await, once().await);
    assert_ne!(first, second);
    let start = async |once: &str, who: &str| {
        browser.fill_in("/start", &[("playbook", "greet"), ("once", once), ("input.who", who)]).await
    };
    let runs = async || {
        let runs = host.ask("GET", "/v1/runs", &host.read, Value::Null).await.json();
        runs["items"].as_array().map(Vec::len)
    };
    start(&first, "Ada").await;
    start(&first, "Ada").await;
    assert_eq!(runs().await, Some(1));
    start(&first, "Bo").await;
    start(&second, "Ada").await;
    assert_eq!(runs().await, Some(3), "what was changed or asked for anew is another run");
}

#[tokio::test]
async fn a_playbook_says_what_a_start_by_hand_may_give() {
    let host = Host::new().await;
    host.ask("POST", "/v1/playbooks", &host.admin, playbook("talk", "manual", "{{ trigger.inputs.word }}"))
        .await;
    let shown = host.ask("GET", "/v1/playbooks/talk", &host.read, Value::Null).await.json();
    let input = &shown["inputs"][0];
    assert_eq!((&input["name"], &input["value_type"]), (&json!("word"), &json!("text")), "{shown}");
    assert_eq!(input["required"], true);
}
