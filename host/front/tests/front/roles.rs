//! Who may do what, route by route, and that no organisation sees anything of another.

use crate::support::{Host, playbook};
use serde_json::{Value, json};

/// Columns: nobody, a reader, a writer, an admin, the operator. What is asked for does not exist or does not read
/// wherever it can, so that whoever may ask gets past the role and no further.
#[tokio::test]
async fn each_role_may_do_what_it_should_and_nothing_more() {
    const NO: bool = false;
    const YES: bool = true;
    let host = Host::new().await;
    let keys = ["", &host.read, &host.write, &host.admin, &host.operator];
    let readers = [NO, YES, YES, YES, NO];
    let writers = [NO, NO, YES, YES, NO];
    let admins = [NO, NO, NO, YES, NO];
    let operator = [NO, NO, NO, NO, YES];
    let admins_and_operator = [NO, NO, NO, YES, YES];
    let readers_and_operator = [NO, YES, YES, YES, YES];
    let anybody_with_a_key = [NO, YES, YES, YES, YES];
    let empty = || json!({});
    for (method, path, body, allowed) in [
        ("GET", "/v1/whoami", Value::Null, anybody_with_a_key),
        ("GET", "/v1/metrics", Value::Null, readers),
        ("POST", "/v1/metrics", empty(), writers),
        ("GET", "/v1/metrics/none", Value::Null, readers),
        ("DELETE", "/v1/metrics/none", Value::Null, writers),
        ("GET", "/v1/metrics/none/keys", Value::Null, readers),
        ("GET", "/v1/metrics/none/values", Value::Null, readers),
        ("POST", "/v1/samples", empty(), writers),
        ("POST", "/v1/series", empty(), writers),
        ("GET", "/v1/series?metric=none", Value::Null, readers),
        ("GET", "/v1/query?query=1", Value::Null, readers),
        ("POST", "/v1/query", empty(), readers),
        ("GET", "/v1/series/metrics", Value::Null, readers),
        ("GET", "/v1/series/metrics/none", Value::Null, readers),
        ("PUT", "/v1/series/metrics/none", json!({"keep_days": 0}), writers),
        ("DELETE", "/v1/series/metrics/none", Value::Null, writers),
        ("GET", "/v1/series/metrics/none/tags", Value::Null, readers),
        ("GET", "/v1/series/metrics/none/tags/none", Value::Null, readers),
        ("GET", "/v1/events", Value::Null, readers),
        ("POST", "/v1/events", empty(), writers),
        ("GET", "/v1/events/1", Value::Null, readers),
        ("GET", "/v1/logs", Value::Null, readers),
        ("POST", "/v1/logs", empty(), writers),
        ("GET", "/v1/logs/1", Value::Null, readers),
        ("GET", "/v1/retention", Value::Null, readers),
        ("PUT", "/v1/retention", json!({"logs_days": 0}), admins),
        ("GET", "/v1/plugins", Value::Null, readers_and_operator),
        ("POST", "/v1/plugins", Value::Null, admins_and_operator),
        ("POST", "/v1/plugins/inspect", Value::Null, admins_and_operator),
        ("GET", "/v1/plugins/none", Value::Null, readers_and_operator),
        ("GET", "/v1/plugins/none/manifest", Value::Null, readers_and_operator),
        ("DELETE", "/v1/plugins/none", Value::Null, admins_and_operator),
        ("PATCH", "/v1/plugins/none", empty(), admins_and_operator),
        ("PUT", "/v1/plugins/none/grants", empty(), admins_and_operator),
        ("GET", "/v1/plugins/none/versions", Value::Null, readers_and_operator),
        ("DELETE", "/v1/plugins/none/versions/1", Value::Null, admins_and_operator),
        ("POST", "/v1/plugins/none/roll-back", empty(), admins_and_operator),
        ("PUT", "/v1/plugins/none/canary", empty(), admins_and_operator),
        ("DELETE", "/v1/plugins/none/canary", Value::Null, admins_and_operator),
        ("POST", "/v1/plugins/none/canary/promote", Value::Null, admins_and_operator),
        ("GET", "/v1/plugins/none/limits", Value::Null, readers_and_operator),
        ("PUT", "/v1/plugins/none/limits", empty(), admins_and_operator),
        ("GET", "/v1/plugins/none/stats", Value::Null, readers_and_operator),
        ("GET", "/v1/plugins/none/logs", Value::Null, readers_and_operator),
        ("GET", "/v1/plugins/none/traps", Value::Null, readers_and_operator),
        ("GET", "/v1/plugin-stats", Value::Null, readers_and_operator),
        ("GET", "/v1/monitors", Value::Null, readers),
        ("POST", "/v1/monitors", empty(), writers),
        ("POST", "/v1/monitor-tests", empty(), readers),
        ("GET", "/v1/monitors/none", Value::Null, readers),
        ("PUT", "/v1/monitors/none", empty(), writers),
        ("DELETE", "/v1/monitors/none", Value::Null, writers),
        ("POST", "/v1/monitors/none/pause", Value::Null, writers),
        ("POST", "/v1/monitors/none/resume", Value::Null, writers),
        ("GET", "/v1/monitors/none/versions", Value::Null, readers),
        ("GET", "/v1/monitors/none/series", Value::Null, readers),
        ("GET", "/v1/monitors/none/trace", Value::Null, readers),
        ("GET", "/v1/incidents", Value::Null, readers),
        ("GET", "/v1/incidents/none", Value::Null, readers),
        ("GET", "/v1/incidents/none/trace", Value::Null, readers),
        ("GET", "/v1/incidents/none/events", Value::Null, readers),
        ("POST", "/v1/incidents/none/acknowledge", Value::Null, writers),
        ("POST", "/v1/incidents/none/assign", empty(), writers),
        ("POST", "/v1/incidents/none/comments", json!({"text": "a"}), writers),
        ("POST", "/v1/incidents/none/snooze", json!({"until": "2000-01-01"}), writers),
        ("PUT", "/v1/incidents/none/feedback", json!({"opinion": "good-catch"}), writers),
        ("DELETE", "/v1/incidents/none/feedback", Value::Null, writers),
        ("GET", "/v1/feedback", Value::Null, readers),
        ("GET", "/v1/calendar", Value::Null, readers),
        ("POST", "/v1/calendar", json!({"name": "", "kind": "suppress"}), writers),
        ("GET", "/v1/calendar/none", Value::Null, readers),
        ("PUT", "/v1/calendar/none", json!({"name": "a", "kind": "suppress"}), writers),
        ("DELETE", "/v1/calendar/none", Value::Null, writers),
        ("POST", "/v1/incidents/none/resolve", Value::Null, writers),
        ("GET", "/v1/incidents/none/actions", Value::Null, readers),
        ("POST", "/v1/incidents/none/actions/none", Value::Null, writers),
        ("GET", "/v1/mutes", Value::Null, readers),
        ("POST", "/v1/mutes", json!({"everything": true, "end": "2000-01-01"}), writers),
        ("GET", "/v1/mutes/none", Value::Null, readers),
        ("PATCH", "/v1/mutes/none", empty(), writers),
        ("DELETE", "/v1/mutes/none", Value::Null, writers),
        ("GET", "/v1/playbooks", Value::Null, readers),
        ("POST", "/v1/playbooks", empty(), admins),
        ("POST", "/v1/playbooks/validate", empty(), readers),
        ("GET", "/v1/playbooks/none", Value::Null, readers),
        ("PUT", "/v1/playbooks/none", empty(), admins),
        ("DELETE", "/v1/playbooks/none", Value::Null, admins),
        ("POST", "/v1/playbooks/none/runs", Value::Null, writers),
        ("POST", "/v1/playbooks/dry-run", empty(), writers),
        ("GET", "/v1/playbooks/none/versions", Value::Null, readers),
        ("GET", "/v1/playbooks/none/versions/1", Value::Null, readers),
        ("POST", "/v1/playbooks/none/publish", json!({"version": 1}), admins),
        ("POST", "/v1/playbooks/none/roll-back", Value::Null, admins),
        ("POST", "/v1/playbooks/none/enable", Value::Null, admins),
        ("GET", "/v1/runs/none/steps/none/items", Value::Null, readers),
        ("POST", "/v1/runs/none/cancel", Value::Null, writers),
        ("POST", "/v1/runs/none/replay", Value::Null, writers),
        ("GET", "/v1/channels", Value::Null, readers),
        ("GET", "/v1/channels/none", Value::Null, readers),
        ("PUT", "/v1/channels/none", empty(), admins),
        ("DELETE", "/v1/channels/none", Value::Null, admins),
        ("POST", "/v1/channels/none/pause", Value::Null, admins),
        ("POST", "/v1/channels/none/resume", Value::Null, admins),
        ("POST", "/v1/channels/none/test", Value::Null, admins),
        ("GET", "/v1/deliveries", Value::Null, readers),
        ("GET", "/v1/deliveries/i.none.1", Value::Null, readers),
        ("POST", "/v1/deliveries/i.none.1/resend", Value::Null, writers),
        ("GET", "/v1/routes/rules", Value::Null, readers),
        ("PUT", "/v1/routes/rules", empty(), admins),
        ("GET", "/v1/routes/tables", Value::Null, readers),
        ("GET", "/v1/routes/tables/none", Value::Null, readers),
        ("PUT", "/v1/routes/tables/none", empty(), admins),
        ("DELETE", "/v1/routes/tables/none", Value::Null, admins),
        ("GET", "/v1/secrets", Value::Null, admins),
        ("PUT", "/v1/secrets/none", empty(), admins),
        ("DELETE", "/v1/secrets/none", Value::Null, admins),
        ("GET", "/v1/runs", Value::Null, readers),
        ("GET", "/v1/runs/none", Value::Null, readers),
        ("GET", "/v1/keys", Value::Null, admins_and_operator),
        ("POST", "/v1/keys", empty(), admins_and_operator),
        ("GET", "/v1/keys/none", Value::Null, admins_and_operator),
        ("DELETE", "/v1/keys/none", Value::Null, admins_and_operator),
        ("GET", "/v1/organisation", Value::Null, readers),
        ("PATCH", "/v1/organisation", empty(), admins),
        ("GET", "/v1/organisations", Value::Null, operator),
        ("POST", "/v1/organisations", empty(), operator),
        ("GET", "/v1/organisations/own", Value::Null, operator),
        ("PATCH", "/v1/organisations/own", empty(), operator),
        ("DELETE", "/v1/organisations/own", Value::Null, operator),
        ("GET", "/v1/organisations/own/keys", Value::Null, operator),
        ("POST", "/v1/organisations/own/keys", empty(), operator),
        ("DELETE", "/v1/organisations/own/keys/none", Value::Null, operator),
        ("GET", "/v1/audit", Value::Null, admins_and_operator),
        ("GET", "/v1/host", Value::Null, operator),
        ("GET", "/v1/host/backup", Value::Null, operator),
    ] {
        for (key, allowed) in keys.iter().zip(allowed) {
            let answer = host.ask(method, path, key, body.clone()).await;
            let refused = if key.is_empty() { 401 } else { 403 };
            assert_eq!(answer.status != refused, allowed, "{method} {path} with {key:?}: {}", answer.text());
            assert!(!answer.status.is_server_error(), "{method} {path} with {key:?}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn an_organisation_sees_nothing_of_another() {
    let host = Host::new().await;
    let metric = json!({"name": "secret", "data_type": "sum", "interval": "daily"});
    assert_eq!(host.ask("POST", "/v1/metrics", &host.admin, metric).await.status, 201);
    let stored = host.ask("POST", "/v1/playbooks", &host.admin, playbook("secret", "manual", "x")).await;
    assert_eq!(stored.status, 201, "{}", stored.text());
    let run = host.ask("POST", "/v1/playbooks/secret/runs?wait=10", &host.admin, Value::Null).await.json();
    let run = format!("/v1/runs/{}", run["id"].as_str().unwrap());
    let key = host.get("/v1/keys", &host.admin).await.json();
    let key = format!("/v1/keys/{}", key["items"][0]["id"].as_str().unwrap());
    let playbook = format!("/v1/playbooks/{}", stored.json()["id"]);
    for path in ["/v1/metrics/secret", "/v1/metrics/1", "/v1/playbooks/secret", &playbook, &run, &key] {
        assert_eq!(host.get(path, &host.admin).await.status, 200, "{path}");
        host.get(path, &host.stranger).await.problem(404, "not-found");
        if path != run {
            host.ask("DELETE", path, &host.stranger, Value::Null).await.problem(404, "not-found");
        }
    }
    host.ask("POST", "/v1/playbooks/secret/runs", &host.stranger, Value::Null)
        .await
        .problem(404, "not-found");
    let sample = json!({"samples": [{"metric": "secret", "value": 1}]});
    host.ask("POST", "/v1/samples", &host.stranger, sample).await.problem(404, "not-found");
    for list in ["/v1/metrics", "/v1/playbooks", "/v1/runs"] {
        assert_eq!(host.get(list, &host.stranger).await.json()["items"], json!([]), "{list}");
    }
    let audit = host.get("/v1/audit", &host.stranger).await.text();
    assert!(!audit.contains("secret"), "{audit}");
}

#[tokio::test]
async fn a_revoked_or_expired_key_opens_nothing() {
    let host = Host::new().await;
    let expires = json!({"name": "short", "role": "read", "expires": "2024-04-01T13:00:00Z"});
    let short = host.ask("POST", "/v1/keys", &host.admin, expires).await.json();
    let long =
        host.ask("POST", "/v1/keys", &host.admin, json!({"name": "long", "role": "read"})).await.json();
    let token = |key: &Value| key["token"].as_str().unwrap().to_owned();
    for key in [&short, &long] {
        assert_eq!(host.get("/v1/metrics", &token(key)).await.status, 200);
    }
    let path = format!("/v1/keys/{}", long["key"]["id"].as_str().unwrap());
    let revoked = host.ask("DELETE", &path, &host.admin, Value::Null).await.json();
    assert_eq!(revoked["revoked"], crate::support::NOW);
    host.clock.advance(3_600_000);
    for key in [&short, &long] {
        host.get("/v1/metrics", &token(key)).await.problem(401, "unauthenticated");
    }
}

#[tokio::test]
async fn only_admins_see_where_a_webhook_is() {
    let host = Host::new().await;
    host.ask("POST", "/v1/playbooks", &host.admin, playbook("hooked", "webhook", "x")).await;
    for (key, sees) in [(&host.admin, true), (&host.write, false), (&host.read, false)] {
        for path in ["/v1/playbooks", "/v1/playbooks/hooked"] {
            assert_eq!(host.get(path, key).await.text().contains("/hooks/"), sees, "{path}");
        }
    }
}

#[tokio::test]
async fn a_run_does_not_tell_where_its_webhook_is_though_a_proxy_said_it() {
    let host = Host::new().await;
    host.ask("POST", "/v1/playbooks", &host.admin, playbook("hooked", "webhook", "x")).await;
    let shown = host.get("/v1/playbooks/hooked", &host.admin).await.json();
    let path = shown["webhook_url"].as_str().expect("without a public URL, a path");
    let request = http::Request::post(format!("{path}?wait"))
        .header("x-original-uri", path)
        .header("x-forwarded-uri", format!("https://example.com{path}?wait"))
        .header("x-event", "push");
    let run = host.send(request.body(Default::default()).unwrap()).await.json();
    assert_eq!(run["trigger"]["headers"], serde_json::json!({ "x-event": "push" }), "{run}");
}

#[tokio::test]
async fn nothing_of_an_organisation_answers_while_the_operator_has_it_suspended() {
    let host = Host::new().await;
    let own = host.get("/v1/organisation", &host.admin).await.json();
    assert!(own.get("suspended").is_none(), "{own}");
    let path = format!("/v1/organisations/{}", own["name"].as_str().unwrap());
    let hook = playbook("hooked", "webhook", "x");
    let hook = host.ask("POST", "/v1/playbooks", &host.admin, hook).await.json();
    let hook = hook["webhook_url"].as_str().unwrap().to_owned();
    let posted = || host.send(http::Request::post(&hook).body(Default::default()).unwrap());
    for key in [&host.admin, &host.stranger] {
        for verb in ["suspend", "resume"] {
            host.ask("POST", &format!("{path}/{verb}"), key, Value::Null).await.problem(403, "forbidden");
        }
    }
    let suspend = format!("{path}/suspend");
    let suspended = host.ask("POST", &suspend, &host.operator, Value::Null).await;
    assert!(suspended.status == 200 && suspended.json()["suspended"].is_string(), "{}", suspended.text());
    for key in [&host.read, &host.write, &host.admin] {
        let told = host.get("/v1/whoami", key).await.problem(403, "suspended");
        assert!(told["detail"].as_str().unwrap().contains("the organisation is suspended"), "{told}");
        host.ask("POST", "/v1/samples", key, json!({})).await.problem(403, "suspended");
    }
    posted().await.problem(403, "suspended");
    assert_eq!(host.get("/v1/whoami", &host.stranger).await.status, 200, "others go on");
    let listed = host.get("/v1/organisations", &host.operator).await.json();
    let since: Vec<_> =
        listed["items"].as_array().unwrap().iter().map(|one| one.get("suspended").is_some()).collect();
    assert_eq!(since.iter().filter(|suspended| **suspended).count(), 1, "{listed}");
    let resumed = host.ask("POST", &format!("{path}/resume"), &host.operator, Value::Null).await;
    assert!(resumed.status == 200 && resumed.json().get("suspended").is_none(), "{}", resumed.text());
    assert_eq!(posted().await.status, 202);
    // Both who was suspended and who did it read so.
    for key in [&host.admin, &host.operator] {
        let audit = host.get("/v1/audit?action=organisation", key).await.json();
        let actions: Vec<_> = audit["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["action"].as_str().unwrap())
            .collect();
        assert_eq!(actions[..2], ["organisation.resume", "organisation.suspend"], "{audit}");
    }
    host.ask("POST", "/v1/organisations/none/suspend", &host.operator, Value::Null)
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn a_key_that_playbooks_run_as_is_not_revoked_unless_it_is_forced() {
    let host = Host::new().await;
    let name = host.get("/v1/organisation", &host.admin).await.json()["name"].as_str().unwrap().to_owned();
    let paths = ["/v1/keys".to_owned(), format!("/v1/organisations/{name}/keys")];
    for (by, path) in [&host.admin, &host.operator].into_iter().zip(paths) {
        let asked = json!({"name": "ci", "role": "admin"});
        let made = host.ask("POST", "/v1/keys", &host.admin, asked).await.json();
        let (id, token) = (made["key"]["id"].as_str().unwrap(), made["token"].as_str().unwrap());
        let path = format!("{path}/{id}");
        for name in ["nightly", "restart"] {
            let mut document = playbook(name, "every", "a");
            document["trigger"]["interval"] = "1h".into();
            let put = host.ask("PUT", &format!("/v1/playbooks/{name}"), token, document).await;
            assert!(put.status.is_success(), "{}", put.text());
        }
        let refused = host.ask("DELETE", &path, by, Value::Null).await;
        let detail = refused.problem(409, "conflict")["detail"].to_string();
        assert!(
            detail.contains(id) && detail.contains("start the playbooks nightly, restart without"),
            "{detail}"
        );
        assert!(detail.contains("`bellwether playbook publish NAME --again`"), "{detail}");

        let before = host.get("/v1/playbooks/nightly", &host.admin).await.json();
        let mut draft = playbook("nightly", "every", "a");
        draft["trigger"]["interval"] = "2h".into();
        let put = host.ask("PUT", "/v1/playbooks/nightly?publish=false", &host.admin, draft).await;
        assert!(put.status.is_success(), "{}", put.text());
        let publish = host.ask("POST", "/v1/playbooks/nightly/publish", &host.admin, Value::Null).await;
        let published = publish.json();
        assert_eq!(published["published"], before["published"], "the draft stays one: {published}");
        assert_ne!(published["runs_as"], before["runs_as"]);
        let refused = host.ask("DELETE", &path, by, Value::Null).await;
        let detail = refused.problem(409, "conflict")["detail"].to_string();
        assert!(detail.contains("start the playbook restart without"), "{detail}");
        let forced = host.ask("DELETE", &format!("{path}?force=true"), by, Value::Null).await;
        assert!(forced.status == 200 && forced.json()["revoked"].is_string(), "{}", forced.text());
        assert_eq!(host.ask("DELETE", &path, by, Value::Null).await.status, 200, "nothing more is lost");

        // What ran as it says so, and when it is due no more.
        for (path, place) in [("/v1/playbooks/restart", ""), ("/v1/playbooks", "/items/1")] {
            let shown = host.get(path, &host.read).await.json();
            let shown = shown.pointer(place).unwrap();
            let problem = shown["problem"].as_str().unwrap();
            assert!(problem.contains(&format!("the key {id} it runs as does not work")), "{problem}");
            assert_eq!((&shown["status"]["state"], &shown["next_due"]), (&json!("blocked"), &Value::Null));
        }
        let enable = host.ask("POST", "/v1/playbooks/restart/enable", &host.admin, json!({})).await;
        let detail = enable.problem(409, "conflict")["detail"].to_string();
        assert!(detail.contains("publish it again with a key that works"), "{detail}");
    }
}

#[tokio::test]
async fn the_operator_finds_and_revokes_the_keys_of_an_organisation() {
    let host = Host::new().await;
    let name = host.get("/v1/organisation", &host.admin).await.json()["name"].as_str().unwrap().to_owned();
    let path = format!("/v1/organisations/{name}/keys");
    let listed = host.get(&path, &host.operator).await.json();
    let admin = listed["items"].as_array().unwrap().iter().find(|key| key["role"] == "admin").unwrap();
    let path = format!("{path}/{}", admin["id"].as_str().unwrap());
    for key in [&host.admin, &host.stranger] {
        host.ask("DELETE", &path, key, Value::Null).await.problem(403, "forbidden");
    }
    let other =
        host.get("/v1/organisation", &host.stranger).await.json()["name"].as_str().unwrap().to_owned();
    let elsewhere = path.replace(&name, &other);
    host.ask("DELETE", &elsewhere, &host.operator, Value::Null).await.problem(404, "not-found");
    // Nobody is locked out: whoever is to go on gets a key first.
    let last = host.ask("DELETE", &path, &host.operator, Value::Null).await;
    assert!(last.problem(409, "conflict")["detail"].to_string().contains("make another one first"));
    let next = json!({"name": "next", "role": "admin"});
    let made = host.ask("POST", &format!("/v1/organisations/{name}/keys"), &host.operator, next).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let revoked = host.ask("DELETE", &path, &host.operator, Value::Null).await;
    assert!(revoked.status == 200 && revoked.json()["revoked"].is_string(), "{}", revoked.text());
    host.get("/v1/metrics", &host.admin).await.problem(401, "unauthenticated");
}
