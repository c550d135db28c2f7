//! The playbooks of `examples/playbooks/`, run as they are, with payloads of the shape GitHub sends.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::*;

const ANSWER_INCIDENTS: &str = include_str!("../../../../examples/playbooks/answer-incidents.toml");
const COUNT_PUSHES: &str = include_str!("../../../../examples/playbooks/count-pushes.toml");
const RECORD_DEPLOYMENT: &str = include_str!("../../../../examples/playbooks/record-deployment.toml");
const PUSH: &str = include_str!("../../../../tests/data/github-push.json");

/// What was added to which metric and key.
type Sums = Arc<Mutex<BTreeMap<(String, String), f64>>>;

/// An app with the inputs and outputs of the bundled `metric`, which sums.
fn add_metric_app(apps: &FakeApps) -> Sums {
    let choices = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let inputs = vec![
        Input { required: true, ..Input::new("metric", ValueType::Text) },
        Input::new("value", ValueType::Number),
        Input::new("key", ValueType::Text),
        Input::new("date", ValueType::Text),
        Input::new("weight", ValueType::Number),
        Input { default: Some(json!(false)), ..Input::new("read", ValueType::Boolean) },
        Input { default: Some(json!(true)), ..Input::new("create", ValueType::Boolean) },
        Input {
            choices: choices(&["sum", "count", "min", "max", "first", "last", "average"]),
            ..Input::new("data_type", ValueType::Text)
        },
        Input {
            choices: choices(&["hourly", "daily", "weekly", "monthly", "yearly"]),
            ..Input::new("interval", ValueType::Text)
        },
        Input::new("keyed", ValueType::Boolean),
        Input::new("description", ValueType::Text),
    ];
    let outputs = [
        ("id", ValueType::Integer),
        ("metric", ValueType::Text),
        ("key", ValueType::Text),
        ("value", ValueType::Number),
        ("interval_start", ValueType::Text),
        ("created", ValueType::Boolean),
        ("data_type", ValueType::Text),
        ("interval", ValueType::Text),
    ];
    let sums = Sums::default();
    let kept = Arc::clone(&sums);
    apps.put_quick("metric", describe(inputs, &outputs), move |call| {
        let (Value::Text(metric), Value::Text(key)) = (given(&call, "metric"), given(&call, "key")) else {
            panic!()
        };
        let value = match given(&call, "value") {
            Value::Number(value) => *value,
            _ => 1.0,
        };
        let mut sums = kept.lock();
        let sum = sums.entry((metric.clone(), key.clone())).or_default();
        *sum += value;
        let start = match given(&call, "date") {
            Value::Text(date) => date[..10].to_owned() + "T00:00:00Z",
            _ => "2024-04-09T00:00:00Z".to_owned(),
        };
        let text = |text: &str| Value::Text(text.to_owned());
        gives(&[
            ("metric", text(metric)),
            ("key", text(key)),
            ("value", Value::Number(*sum)),
            ("interval_start", text(&start)),
        ])
    });
    sums
}

fn event(name: &str, content_type: &str, body: String) -> WebhookRequest {
    let mut request = post(content_type, body);
    request.headers.push(("X-GitHub-Event".into(), name.into()));
    request.headers.push(("X-Hub-Signature-256".into(), "sha256=0000".into()));
    request
}

/// A push to `repository` of so many commits, in the shape GitHub sends.
fn push(repository: &str, commits: usize) -> Json {
    let mut push: Json = serde_json::from_str(PUSH).unwrap();
    let (owner, name) = repository.split_once('/').unwrap();
    push["repository"]["full_name"] = repository.into();
    push["repository"]["name"] = name.into();
    push["repository"]["owner"]["login"] = owner.into();
    let commit = push["commits"][0].clone();
    push["commits"] = vec![commit; commits].into();
    push
}

#[tokio::test]
async fn pushes_and_their_commits_are_counted_by_repository() {
    let world = World::new().await;
    let sums = add_metric_app(&world.apps);
    let playbook = world.playbooks.store(&world.admin, COUNT_PUSHES, Format::Toml, false).await.unwrap();
    let token = playbook.webhook_token.clone().unwrap();
    let json = "application/json";
    let form = |body: &Json| {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("payload", &body.to_string()).finish()
    };
    let branch_deleted = {
        let mut push = push("wooltrack/flock", 0);
        push["deleted"] = true.into();
        push["head_commit"] = Json::Null;
        push["after"] = "0".repeat(40).into();
        push
    };
    let zen = json!({"zen": "Speak like a human.", "hook_id": 7, "hook": {"type": "Organization", "events": ["push"]}});
    let with_repository =
        json!({"zen": "Speak like a human.", "hook_id": 7, "repository": {"full_name": "wooltrack/flock"}});
    let events = [
        event("push", json, PUSH.to_owned()),
        event("push", json, push("wooltrack/flock", 20).to_string()),
        event("push", "application/x-www-form-urlencoded", form(&push("wooltrack/fence", 1))),
        event("push", json, branch_deleted.to_string()),
        event("ping", json, with_repository.to_string()),
        event("ping", json, zen.to_string()),
        event("ping", "application/x-www-form-urlencoded", form(&zen)),
    ];
    for event in events {
        let run = world.playbooks.start_by_webhook(&token, event).await.unwrap().ended.await.unwrap();
        assert_eq!(run.summary.error, None);
        assert_eq!(run.steps.len(), 2);
        assert!(run.trigger["headers"].get("x-hub-signature-256").is_none());
    }
    let expected = [
        ("github.commits", "none", 0.0),
        ("github.commits", "wooltrack/fence", 1.0),
        ("github.commits", "wooltrack/flock", 22.0),
        ("github.pushes", "none", 0.0),
        ("github.pushes", "wooltrack/fence", 1.0),
        ("github.pushes", "wooltrack/flock", 3.0),
    ];
    let expected = expected.map(|(metric, key, sum)| ((metric.to_owned(), key.to_owned()), sum));
    assert_eq!(*sums.lock(), BTreeMap::from(expected));
}

#[tokio::test]
async fn a_deployment_is_recorded_when_it_was() {
    let world = World::new().await;
    let sums = add_metric_app(&world.apps);
    world.playbooks.store(&world.admin, RECORD_DEPLOYMENT, Format::Toml, false).await.unwrap();
    let run = world.run("record-deployment", json!({"service": "checkout", "minutes": 7.5})).await;
    assert_eq!(run.summary.error, None);
    assert!(!run.steps[0].inputs.contains_key("date"), "an input of nothing is left out");
    let run = world
        .run(
            "record-deployment",
            json!({"service": "checkout", "minutes": "4", "date": "2024-04-01T09:00:00Z"}),
        )
        .await;
    assert_eq!(run.summary.error, None);
    assert_eq!(run.steps[1].inputs["date"], "2024-04-01T00:00:00Z");
    let expected = [
        (("deployment.minutes".into(), "checkout".into()), 11.5),
        (("deployments".into(), "checkout".into()), 2.0),
    ];
    assert_eq!(*sums.lock(), BTreeMap::from(expected));
    let error = world.run("record-deployment", json!({"minutes": 1})).await.summary.error.unwrap();
    assert!(error.contains("`trigger.inputs.service` is undefined"), "{error}");
}

#[tokio::test]
async fn an_incident_that_opens_is_counted_and_a_severe_one_told_of() {
    use bellwether_alerts::{Event, Moved, Notification, Severity, StoredIncident, Tellings};
    let world = World::new().await;
    let sums = add_metric_app(&world.apps);
    let sent = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&sent);
    let inputs = [
        ("url", ValueType::Text),
        ("method", ValueType::Text),
        ("headers", ValueType::Json),
        ("body", ValueType::Json),
        ("expected", ValueType::Integers),
    ];
    let inputs = inputs.map(|(name, value_type)| Input::new(name, value_type)).to_vec();
    world.apps.put_quick("http", describe(inputs, &[]), move |call| {
        kept.lock().push(given(&call, "body").clone());
        gives(&[])
    });
    world.playbooks.store(&world.admin, ANSWER_INCIDENTS, Format::Toml, false).await.unwrap();
    for (number, severity) in [(1, Severity::Medium), (2, Severity::Critical)] {
        let Notification { time, incident: mut told, .. } = Notification::sample(Event::Opened);
        told.severity = severity;
        let mut incident = StoredIncident::sample(&told);
        incident.id = bellwether_alerts::IncidentId(uuid::Uuid::from_u128(number));
        let (organisation, event) = (world.organisation, Event::Opened);
        let moved = Moved { organisation, event, sequence: 0, time, told: true, incident, as_told: told };
        let mut batch = bellwether_store::Batch::new();
        world.playbooks.moved(&mut batch, &moved).unwrap();
        world.store.commit(batch).await.unwrap();
        world.playbooks.committed();
    }
    let runs = loop {
        let runs = world.all_runs().await;
        if runs.len() == 2 {
            break runs;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    };
    for run in &runs {
        let run = world.ended(run.summary.id).await;
        assert_eq!(run.summary.error, None);
    }
    assert_eq!(*sums.lock(), BTreeMap::from([(("incidents".into(), "checkout-errors".into()), 2.0)]));
    let sent = sent.lock();
    let [Value::Json(body)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(body["where"], json!({"country": "de", "host": "web-1"}), "{body}");
    assert_eq!((&body["severity"], &body["value"]), (&json!("critical"), &json!(64.0)));
}
