//! What incidents do starts the playbooks that follow them, once, whatever dies in between.

use std::time::Duration;

use bellwether_alerts::{
    Act, Action, Actions, Event, Moved, Notification, Severity, StoredIncident, Tellings,
};
use bellwether_store::{Batch, Crash, StoreError};
use serde_json::json;

use super::*;

/// Something the incident of this number did: it is of the monitor `checkout-errors`, of the team `payments`.
pub(super) fn moved(world: &World, incident: u128, event: Event, severity: Severity) -> Moved {
    let Notification { sequence, time, incident: mut told, .. } = Notification::sample(event);
    told.severity = severity;
    let mut incident_row = StoredIncident::sample(&told);
    incident_row.id = bellwether_alerts::IncidentId(uuid::Uuid::from_u128(incident));
    let (organisation, sequence) = (world.organisation, u64::from(sequence));
    Moved { organisation, event, sequence, time, told: true, incident: incident_row, as_told: told }
}

/// Commits what incidents did, as alerts do.
pub(super) async fn commit(world: &World, moves: &[Moved]) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    for moved in moves.iter().filter(|moved| world.playbooks.follows(moved.organisation)) {
        world.playbooks.moved(&mut batch, moved).unwrap();
    }
    world.store.commit(batch).await?;
    world.playbooks.committed();
    Ok(())
}

pub(super) fn following(name: &str, mut trigger: serde_json::Value, value: &str) -> serde_json::Value {
    trigger["type"] = "alert".into();
    json!({"name": name, "trigger": trigger, "steps": [{"id": "a", "app": "echo", "inputs": {"value": value}}]})
}

#[tokio::test(start_paused = true)]
async fn an_incident_starts_the_playbooks_whose_every_condition_holds() {
    let world = World::new().await;
    let cases = [
        ("any", json!({}), 1),
        ("closings", json!({"moves": ["close"]}), 1),
        ("all-moves", json!({"moves": ["open", "update", "close"]}), 3),
        ("monitor", json!({"monitor": "checkout-*"}), 1),
        ("other-monitor", json!({"monitor": "login-*"}), 0),
        ("label", json!({"labels": {"team": "pay*"}}), 1),
        ("other-label", json!({"labels": {"team": "web"}}), 0),
        ("no-such-label", json!({"labels": {"tier": "*"}}), 0),
        ("tag", json!({"tags": {"country": "de", "host": "web-*"}}), 1),
        ("other-tag", json!({"tags": {"country": "de", "host": "db-*"}}), 0),
        ("severe", json!({"severity": "high"}), 1),
        ("severest", json!({"severity": "critical"}), 0),
        ("when", json!({"when": "value > 3 and told"}), 1),
        ("not-when", json!({"when": "value > 3 and level != 'alert'"}), 0),
    ];
    for (name, trigger, _) in &cases {
        world.store_json(following(name, trigger.clone(), "{{ trigger.move }}")).await;
    }
    let moves = [Event::Opened, Event::Updated, Event::Closed];
    commit(&world, &moves.map(|event| moved(&world, 1, event, Severity::High))).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let runs = world.all_runs().await;
    for (name, _, count) in cases {
        let found = runs.iter().filter(|run| run.summary.playbook_name == name).count();
        assert_eq!(found, count, "{name}");
    }
    assert!(runs.iter().all(|run| run.summary.state == RunState::Succeeded));
    let by = &runs.iter().find(|run| run.summary.playbook_name == "closings").unwrap().summary.triggered_by;
    let incident = uuid::Uuid::from_u128(1).to_string();
    assert_eq!(*by, TriggeredBy::Alert { incident, sequence: 3 });
    for space in [Space::PlaybookIncident, Space::Chunk] {
        assert_eq!(world.rows_of(space).await, 0, "what was acted on is gone: {space:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn conditions_that_cost_much_hold_up_no_incident_of_another_organisation() {
    let world = World::new().await;
    let other = world.other().await;
    let costly = "('x' * 2000000)|length > value";
    for (who, name, when) in
        [(&world.admin, "a", costly), (&world.admin, "b", costly), (&other, "a", "value > 0")]
    {
        let document = following(name, json!({"when": when}), "{{ trigger.incident }}").to_string();
        world.playbooks.store(who, &document, Format::Json, true).await.unwrap();
    }
    let incidents = 100;
    let opened = |organisation, incident| Moved {
        organisation,
        ..moved(&world, incident, Event::Opened, Severity::High)
    };
    let mut moves: Vec<_> = (1..=incidents).map(|incident| opened(world.organisation, incident)).collect();
    moves.push(opened(other.organisation, 1));
    commit(&world, &moves).await.unwrap();
    let before = world.runs_before_one_of(&other).await;
    assert!(before < 20, "{before} runs of the other organisation came first");
    // Nothing is lost of those that were slow.
    let after = world.reopened(world.store.restart()).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(after.all_runs().await.len(), 2 * incidents as usize);
    assert_eq!(after.rows_of(Space::PlaybookIncident).await, 0);
}

#[tokio::test(start_paused = true)]
async fn what_an_incident_does_is_kept_only_while_a_playbook_follows() {
    let world = World::new().await;
    assert!(!world.playbooks.follows(world.organisation));
    world.store_json(following("a", json!({}), "{{ trigger.incident }}")).await;
    assert!(world.playbooks.follows(world.organisation));
    assert!(!world.playbooks.follows(OrganisationId(99)), "nobody else's");
    let after = world.reopened(world.store.restart()).await;
    assert!(after.playbooks.follows(after.organisation), "also after a restart");
    let manual = json!({"name": "a", "trigger": {"type": "manual"}, "steps": [{"id": "a", "app": "echo"}]});
    after.store_json(manual).await;
    assert!(!after.playbooks.follows(after.organisation), "its next version follows nothing");
    after.store_json(following("a", json!({}), "{{ trigger.incident }}")).await;
    after.playbooks.delete(&after.admin, "a", false).await.unwrap();
    assert!(!after.playbooks.follows(after.organisation));
}

/// Two playbooks follow three incidents on a store that dies as `crash` says. Gives whether it did.
async fn survives(crash: Crash) -> bool {
    let before = World::new().await;
    for name in ["one", "two"] {
        before.store_json(following(name, json!({}), "{{ trigger.incident }}")).await;
    }
    let world = before.reopened(before.store.restart_with_crashes(crash)).await;
    let incidents = [1, 2, 3].map(|number| moved(&world, number, Event::Opened, Severity::High));
    let committed = commit(&world, &incidents).await.is_ok();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let crashed = world.store.health().refusing.is_some();
    let after = world.reopened(world.store.restart()).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    let mut started: Vec<(String, String)> = Vec::new();
    for run in after.all_runs().await {
        assert_eq!(run.summary.state, RunState::Succeeded, "{crash:?}");
        started.push((run.summary.playbook_name, run.steps[0].outputs["value"].to_string()));
    }
    started.sort();
    let all = ["one", "two"].into_iter().flat_map(|name| {
        [1, 2, 3].map(|number| (name.to_owned(), json!(uuid::Uuid::from_u128(number)).to_string()))
    });
    if committed || !started.is_empty() {
        assert_eq!(started, all.collect::<Vec<_>>(), "{crash:?}: nothing is lost, nothing comes twice");
    }
    assert_eq!(after.rows_of(Space::PlaybookIncident).await, 0, "{crash:?}");
    crashed
}

#[tokio::test(start_paused = true)]
async fn what_an_incident_did_starts_its_runs_once_whichever_commit_the_host_dies_at() {
    let mut crashes = 0;
    // The first commit is the host's lease: a host that dies there has not begun.
    for number in 2.. {
        let (before, after) = (survives(Crash::Before(number)).await, survives(Crash::After(number)).await);
        if !before && !after {
            break;
        }
        crashes += 1;
    }
    assert!(crashes >= 7, "the moves and six acceptances at the least: {crashes}");
}

#[tokio::test(start_paused = true)]
async fn two_hosts_that_act_on_the_same_start_it_once() {
    let world = World::new().await;
    world.store_json(following("a", json!({}), "{{ trigger.incident }}")).await;
    let other = world.joined(2).await;
    let incidents: Vec<_> = (1..=20).map(|it| moved(&world, it, Event::Opened, Severity::Low)).collect();
    commit(&world, &incidents).await.unwrap();
    other.playbooks.committed();
    tokio::time::sleep(Duration::from_secs(120)).await;
    let runs = world.all_runs().await;
    assert_eq!(runs.len(), 20);
    assert!(runs.iter().all(|run| run.summary.state == RunState::Succeeded));
}

#[tokio::test]
async fn a_fault_of_an_alert_trigger_has_its_place() {
    let world = World::new().await;
    let source = |line: &str| {
        format!(
            "name = \"a\"\n\n[trigger]\ntype = \"alert\"\n{line}\n\n[[steps]]\nid = \"a\"\napp = \"echo\"\ninputs = {{ value = \"{{{{ trigger.title }}}}\" }}\n"
        )
    };
    world.playbooks.validate(world.organisation, &source("severity = \"high\""), Format::Toml).await.unwrap();
    let long = "x".repeat(501);
    for (line, part) in [
        ("moves = []", "line 5, column 1: trigger.moves"),
        ("moves = [\"opened\"]", "line 5"),
        ("severity = \"worst\"", "line 5"),
        (&*format!("monitor = \"{long}\""), "line 5, column 1: trigger.monitor"),
        (&*format!("labels = {{ team = \"{long}\" }}"), "line 5, column 12: trigger.labels.team"),
        (
            "when = \"metric == 'a'\"",
            "line 5, column 1: trigger.when is \"metric\", expected one of the variables acknowledged_by",
        ),
        ("metric = \"a\"", "expected moves, monitor, labels, tags, severity, when"),
    ] {
        let error =
            world.playbooks.validate(world.organisation, &source(line), Format::Toml).await.unwrap_err();
        assert!(error.to_string().contains(part), "{line}: {error}");
    }
    let wrong = source("").replace("trigger.title", "trigger.name");
    let error = world.playbooks.validate(world.organisation, &wrong, Format::Toml).await.unwrap_err();
    assert!(error.to_string().contains("a field of trigger: acknowledged_by"), "{error}");
}

#[tokio::test]
async fn an_alert_trigger_is_tried_with_an_incident_that_is_made_up() {
    let world = World::new().await;
    let value = "{{ trigger.monitor }} {{ trigger.move }}: {{ trigger.value }} in {{ trigger.tags.country }}";
    let source = following("a", json!({"moves": ["close"]}), value).to_string();
    for (given, expected) in [
        (json!({}), "checkout-errors close: 11.0 in de"),
        (json!({"monitor": "mine", "value": 7}), "mine close: 7 in de"),
    ] {
        let given = given.as_object().cloned().unwrap();
        let dry = world.playbooks.dry_run(&world.admin, &source, Format::Json, given).await.unwrap();
        assert_eq!((&dry.steps[0].inputs["value"], &dry.steps[0].problem), (&json!(expected), &None));
    }
    world.store_json(following("a", json!({}), "x")).await;
    let refused = world.playbooks.start(&world.admin, "a", json!({})).await.err().unwrap();
    assert!(refused.to_string().contains("started by incidents"), "{refused}");
}

#[tokio::test]
async fn an_app_called_about_an_incident_takes_of_it_what_fits_its_inputs() {
    let world = World::new().await;
    let inputs = vec![
        Input::new("title", ValueType::Text),
        Input::new("value", ValueType::Number),
        Input::new("expected", ValueType::Integers),
        Input { choices: vec!["P1".into(), "P2".into()], ..Input::new("severity", ValueType::Text) },
    ];
    world.apps.put_quick("ask", describe(inputs, &[("given", ValueType::Json)]), |call| {
        gives(&[("given", Value::Json(convert::to_object(&call.inputs).into()))])
    });
    let Moved { organisation, sequence, incident, as_told, .. } =
        moved(&world, 1, Event::Opened, Severity::High);
    let action = json!({"name": "ask", "app": "ask"});
    let action: Action = serde_json::from_value(action).unwrap();
    let (principal, by) = (Some(world.admin.clone()), "ada".to_owned());
    let act = Act { organisation, principal, by, sequence, again: false, action, incident, as_told };
    let acted = IncidentActions::new(world.playbooks.clone()).act(act).await.unwrap();
    assert!(acted.succeeded, "{}", acted.text);
    let given: serde_json::Value = serde_json::from_str(&acted.text).unwrap();
    let expected = json!({"title": "Checkout fails more often than usual", "value": 64.0});
    assert_eq!(given["given"], expected, "the incident's `expected` is no list, its severity none of those");
}

#[tokio::test]
async fn an_action_that_could_not_be_done_is_known_before_anybody_asks_for_it() {
    let world = World::new().await;
    let required = Input { required: true, ..Input::new("address", ValueType::Text) };
    let inputs = vec![Input::new("title", ValueType::Text), required];
    world.apps.put_quick("fetch", describe(inputs, &[]), |_| gives(&[]));
    let steps = json!([{"id": "a", "app": "echo", "inputs": {"value": "1"}}]);
    let manual = json!({"type": "manual", "inputs": {"service": {"type": "text", "required": true}}});
    let playbook =
        |name: &str, trigger: &serde_json::Value| json!({"name": name, "trigger": trigger, "steps": steps});
    world.store_json(playbook("restart", &manual)).await;
    world.store_json(playbook("hooked", &json!({"type": "webhook"}))).await;
    let draft = playbook("draft", &manual).to_string();
    world.playbooks.save_draft(&world.admin, &draft, Format::Json).await.unwrap();
    let actions = IncidentActions::new(world.playbooks.clone());
    for (action, expected) in [
        (json!({"app": "fetch", "inputs": {"address": "https://a.example"}}), None),
        (json!({"app": "fetch"}), Some("inputs.address")),
        (
            json!({"app": "fetch", "inputs": {"address": "https://a.example", "adress": "x"}}),
            Some("inputs.adress"),
        ),
        (json!({"app": "none"}), Some("there is no app \"none\"")),
        (json!({"playbook": "restart", "inputs": {"service": "checkout"}}), None),
        (json!({"playbook": "restart"}), Some("inputs.service")),
        (json!({"playbook": "restart", "inputs": {"service": "a", "host": "b"}}), Some("inputs.host")),
        (json!({"playbook": "none"}), Some("there is no playbook \"none\"")),
        (json!({"playbook": "hooked"}), Some("type manual")),
        (json!({"playbook": "draft"}), Some("no published version")),
    ] {
        let mut whole = action.clone();
        whole["name"] = json!("do");
        let whole: Action = serde_json::from_value(whole).unwrap();
        let why = actions.why_not(world.organisation, &whole).await.unwrap();
        match expected {
            None => assert_eq!(why, None, "{action}"),
            Some(part) => assert!(why.as_ref().is_some_and(|why| why.contains(part)), "{action}: {why:?}"),
        }
    }
}
