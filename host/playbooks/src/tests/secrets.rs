//! Searches every row for secrets.

use serde_json::json;

use super::*;

fn contains(world_rows: &[Row], secret: &str) -> Option<Key> {
    let found = world_rows
        .iter()
        .find(|(_, value)| value.windows(secret.len()).any(|window| window == secret.as_bytes()));
    found.map(|(key, _)| key.clone())
}

/// Declares `login`, whose secret is given, and `fetch`, whose secret is what `login` gave. Both say their secrets
/// wherever they can.
fn add_talkative_apps(apps: &FakeApps) {
    let secret = |name| Input { secret: true, ..Input::new(name, ValueType::Text) };
    let outputs = &[("session", ValueType::Json), ("echo", ValueType::Text)];
    let log = |message: String| vec![LogLine { time: Timestamp::default(), level: LogLevel::Info, message }];
    apps.put_quick(
        "login",
        describe(vec![secret("password"), Input::new("note", ValueType::Text)], outputs),
        move |call| {
            let Value::Text(password) = given(&call, "password") else { panic!() };
            assert!(password.starts_with("hunter"), "the app gets the secret itself: {password}");
            let session = Value::Json(json!({"id": "session-of-ann", "user": "ann"}));
            let echo = Value::Text(format!("was {password}"));
            AppReport {
                log: log(format!("signing in with {password}")),
                ..gives(&[("session", session), ("echo", echo)])
            }
        },
    );
    apps.put_quick("fetch", describe(vec![secret("session")], &[]), move |call| {
        let Value::Text(session) = given(&call, "session") else { panic!() };
        assert_eq!(session, "session-of-ann", "a later step gets it too");
        AppReport { log: log(format!("using {session}")), ..fails(&format!("{session} is over")) }
    });
}

const PASSWORD: &str = "hunter2\"é\\ two";

#[tokio::test]
async fn a_secret_is_in_no_row_of_the_store() {
    let world = World::new().await;
    add_talkative_apps(&world.apps);
    let document = |root: &str| {
        json!({"name": "login", "trigger": {"type": if root == "inputs" { "manual" } else { "webhook" }}, "steps": [
            {"id": "login", "app": "login", "inputs": {
                "password": format!("{{{{ trigger.{root}.password }}}}"),
                "note": format!("note {{{{ trigger.{root}.password }}}} {{{{ trigger.{root}.user }}}}"),
            }},
            {"id": "fetch", "app": "fetch", "inputs": {"session": "{{ steps.login.session.id }}"}},
        ]})
    };
    let given = json!({"user": "ann", "password": PASSWORD, "again": [format!("it is {PASSWORD}!")]});

    world.store_json(document("inputs")).await;
    let by_hand = world.run("login", given.clone()).await;
    let token = world.store_json(document("body")).await.webhook_token.clone().unwrap();
    let request = post("application/json", given.to_string());
    let by_webhook = world.playbooks.start_by_webhook(&token, request).await.unwrap().ended.await.unwrap();
    let form = "user=ann&password=hunter2%22%C3%A9%5C+two";
    let request = post("application/x-www-form-urlencoded", form);
    let by_form = world.playbooks.start_by_webhook(&token, request).await.unwrap().ended.await.unwrap();

    let rows = world.rows().await;
    let in_json = serde_json::to_string(PASSWORD).unwrap();
    let in_row = serde_json::to_string(&in_json[1..in_json.len() - 1]).unwrap();
    for secret in [
        PASSWORD,
        &in_json[1..in_json.len() - 1],
        &in_row[1..in_row.len() - 1],
        "hunter2",
        "session-of-ann",
        &token,
    ] {
        assert_eq!(contains(&rows, secret), None, "{secret}");
    }
    assert!(contains(&rows, "ann").is_some(), "the search finds what is there");
    for run in [by_hand, by_webhook, by_form] {
        assert_eq!(run.summary.error.as_deref(), Some("step fetch: ••• is over"));
        let [login, fetch] = &run.steps[..] else { panic!("{:?}", run.steps) };
        assert_eq!(json!(login.inputs), json!({"password": "•••", "note": "note ••• ann"}));
        assert_eq!(json!(login.outputs), json!({"session": {"id": "•••", "user": "ann"}, "echo": "was •••"}));
        assert_eq!(login.log[0].message, "signing in with •••");
        assert_eq!(json!(fetch.inputs), json!({"session": "•••"}));
        assert_eq!(fetch.log[0].message, "using •••");
        assert!(run.trigger.to_string().contains("•••"), "{}", run.trigger);
    }
}

#[tokio::test]
async fn a_secret_that_does_not_render_is_not_in_the_error() {
    let world = World::new().await;
    let secret = Input { secret: true, choices: vec!["a".into()], ..Input::new("s", ValueType::Text) };
    let number = Input { secret: true, ..Input::new("n", ValueType::Integer) };
    world.apps.put_quick("app", describe(vec![secret, number], &[]), |_| gives(&[]));
    for inputs in [
        json!({"s": "{{ trigger.inputs.s }}"}),
        json!({"n": "{{ trigger.inputs.s }}"}),
        json!({"n": "{{ trigger.inputs.s | int }}"}),
    ] {
        let steps = [json!({"id": "a", "app": "app", "inputs": inputs})];
        world.store_json(json!({"name": "a", "trigger": {"type": "manual"}, "steps": steps})).await;
        let run = world.run("a", json!({"s": "hunter2"})).await;
        assert_eq!(run.summary.state, RunState::Failed);
        assert_eq!(contains(&world.rows().await, "hunter2"), None, "{:?}", run.summary.error);
    }
}

#[tokio::test]
async fn a_secret_that_an_error_would_cut_in_two_is_masked_before_it_is_cut() {
    let world = World::new().await;
    add_talkative_apps(&world.apps);
    world.apps.put_quick("number", describe(vec![Input::new("n", ValueType::Number)], &[]), |_| gives(&[]));
    let long = "x".repeat(94);
    let steps = [
        json!({"id": "login", "app": "login", "inputs": {"password": "{{ trigger.inputs.password }}"}}),
        json!({"id": "n", "app": "number", "inputs": {"n": format!("{long}{{{{ trigger.inputs.password }}}}")}}),
    ];
    world.store_json(json!({"name": "a", "trigger": {"type": "manual"}, "steps": steps})).await;
    let run = world.run("a", json!({"password": "hunter2"})).await;
    assert_eq!(run.summary.error, Some(format!("step n: input n is \"{long}••…\", expected a number")));
}

/// Two users, each with a secret.
fn users() -> serde_json::Value {
    json!([{"name": "ann", "password": "hunter2-of-ann"}, {"name": "bob", "password": "hunter2-of-bob"}])
}

/// A step that signs in each user of `list`, whose password is at `password`.
fn login_each(list: &str, password: &str) -> serde_json::Value {
    let inputs = json!({"password": format!("{{{{ {password} }}}}"), "note": "of {{ index }}"});
    json!({"id": "login", "app": "login", "each": list, "inputs": inputs})
}

#[tokio::test]
async fn a_secret_of_each_item_of_a_list_is_hidden_where_the_list_came_from() {
    let each = json!([{"name": "ann", "password": "•••"}, {"name": "bob", "password": "•••"}]);
    for (list, password, shown) in [
        ("{{ steps.list.value }}", "item.password", &each),
        ("{{ steps.list.value }}", "item['password']", &json!("•••")),
        ("{{ steps.list.value | list }}", "item.password", &json!("•••")),
        ("{{ steps.list.value | map(attribute='password') }}", "item", &json!("•••")),
    ] {
        let world = World::new().await;
        add_talkative_apps(&world.apps);
        let outputs = [("value", ValueType::Json)];
        world
            .apps
            .put_quick("users", describe(vec![], &outputs), |_| gives(&[("value", Value::Json(users()))]));
        let steps = [json!({"id": "list", "app": "users"}), login_each(list, password)];
        world.store_json(json!({"name": "a", "trigger": {"type": "manual"}, "steps": steps})).await;
        let run = world.run("a", json!({})).await;
        assert_eq!((run.summary.state, run.summary.error), (RunState::Succeeded, None), "{list}");
        assert_eq!(run.steps[0].outputs["value"], *shown, "{list}");
        assert_eq!(contains(&world.rows().await, "hunter2-of"), None, "{list}");
    }
}

#[tokio::test]
async fn a_secret_of_each_item_is_hidden_in_the_trigger_that_brought_the_list() {
    let world = World::new().await;
    add_talkative_apps(&world.apps);
    let steps = [json!({"id": "w", "delay": "1h"}), login_each("{{ trigger.body.users }}", "item.password")];
    let stored = world.store_json(json!({"name": "a", "trigger": {"type": "webhook"}, "steps": steps})).await;
    let request = post("application/json", json!({"users": users()}).to_string());
    let token = stored.webhook_token.clone().unwrap();
    let id = world.playbooks.start_by_webhook(&token, request).await.unwrap().id;
    // No step was given any of it yet.
    let run = world.playbooks.run(world.organisation, id).await.unwrap();
    let shown = json!([{"name": "ann", "password": "•••"}, {"name": "bob", "password": "•••"}]);
    assert_eq!(run.trigger["body"], json!({"users": shown}));
    assert_eq!(contains(&world.rows().await, "hunter2-of"), None);
}

#[tokio::test]
async fn what_a_playbook_that_is_a_step_hands_to_a_secret_input_is_hidden_where_it_came_from() {
    let world = World::new().await;
    add_talkative_apps(&world.apps);
    let inner = |name: &str, step: serde_json::Value| {
        let trigger = json!({"type": "playbook", "inputs": {"of": {}}});
        json!({"name": name, "trigger": trigger, "steps": [step]})
    };
    let login = |password: &str| json!({"id": "login", "app": "login", "inputs": {"password": format!("{{{{ {password} }}}}"), "note": "1"}});
    world.store_json(inner("whole", login("trigger.inputs.of"))).await;
    world.store_json(inner("part", login("trigger.inputs.of.password"))).await;
    world.store_json(inner("each", login_each("{{ trigger.inputs.of }}", "item.password"))).await;
    let hands_on = json!({"id": "on", "playbook": "part", "inputs": {"of": "{{ trigger.inputs.of }}"}});
    world.store_json(inner("on", hands_on)).await;
    let user = json!({"name": "ann", "password": "•••"});
    for (playbook, of, shown) in [
        ("whole", "{{ trigger.inputs.users[0].password }}", json!("•••")),
        ("whole", "{{ trigger.inputs.user.password }}", users()),
        ("part", "{{ trigger.inputs.user }}", users()),
        ("on", "{{ trigger.inputs.user }}", users()),
        ("each", "{{ trigger.inputs.users }}", json!([user, {"name": "bob", "password": "•••"}])),
    ] {
        let steps = json!([{"id": "s", "playbook": playbook, "inputs": {"of": of}}]);
        world.store_json(json!({"name": "a", "trigger": {"type": "manual"}, "steps": steps})).await;
        let cara = json!({"name": "ann", "password": "hunter2-of-cara"});
        let run = world.run("a", json!({"user": cara, "users": users()})).await;
        assert_eq!((run.summary.state, run.summary.error), (RunState::Succeeded, None), "{playbook} {of}");
        assert_eq!(run.trigger["inputs"]["users"], shown, "{playbook} {of}");
        let hidden_user = if of.contains(".user.") || of.contains(".user ") { &user } else { &cara };
        assert_eq!(run.trigger["inputs"]["user"], *hidden_user, "{playbook} {of}");
    }
}

#[tokio::test]
async fn of_a_playbook_that_hands_on_very_many_parts_of_an_input_the_whole_is_hidden() {
    let world = World::new().await;
    add_talkative_apps(&world.apps);
    let parts = 0..=100;
    let password: String = parts.clone().map(|part| format!("{{{{ trigger.inputs.of.k{part} }}}}")).collect();
    let login = json!({"id": "login", "app": "login", "inputs": {"password": password, "note": "1"}});
    let trigger = json!({"type": "playbook", "inputs": {"of": {}}});
    world.store_json(json!({"name": "many", "trigger": trigger, "steps": [login]})).await;
    let steps = json!([{"id": "s", "playbook": "many", "inputs": {"of": "{{ trigger.inputs.user }}"}}]);
    let mut user: serde_json::Map<_, _> = parts.map(|part| (format!("k{part}"), json!("hunter2"))).collect();
    user.insert("name".to_owned(), "nobody-else".into());
    world.store_json(json!({"name": "a", "trigger": {"type": "manual"}, "steps": steps})).await;
    let run = world.run("a", json!({"user": user})).await;
    let shown = run.trigger["inputs"]["user"].to_string();
    assert!(!shown.contains("hunter2") && !shown.contains("nobody-else"), "{shown}");
}

const UP: &str = "Bearer hunter2-é";

/// An app that sends a secret to a service which repeats it, as JSON.
fn add_echo_service(world: &World) {
    world.secrets.put("up", UP);
    let authorization = Input { secret: true, ..Input::new("authorization", ValueType::Text) };
    world.apps.put_quick("http", describe(vec![authorization], &[("json", ValueType::Json)]), |call| {
        let Value::Text(sent) = given(&call, "authorization") else { panic!() };
        gives(&[("json", Value::Json(json!({"headers": {"authorization": sent}})))])
    });
}

/// That no row and no answer shows any of `secrets`.
async fn assert_hidden(world: &World, secrets: &[&str]) {
    let rows = world.rows().await;
    let runs = world.all_runs().await;
    let mut shown = serde_json::to_string(&runs).unwrap();
    for step in runs.iter().flat_map(|run| run.steps.iter().map(|step| (run.summary.id, &step.step))) {
        let page = bellwether_kernel::PageRequest::first(100);
        let items = world.playbooks.items(world.organisation, step.0, step.1, &page).await.unwrap();
        shown.push_str(&serde_json::to_string(&items.items).unwrap());
    }
    for secret in secrets {
        assert_eq!(contains(&rows, secret), None, "{secret}");
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_hidden_in_the_playbooks_it_comes_from_and_goes_to() {
    let world = World::new().await;
    add_echo_service(&world);
    let http = json!({"id": "a", "app": "http", "inputs": {"authorization": "{{ secrets.up }}"}});
    let gives = json!({"name": "gives", "trigger": {"type": "playbook"}, "steps": [http],
        "outputs": {"o": "{{ steps.a.json.headers }}"}});
    let takes = json!({"name": "takes", "trigger": {"type": "playbook", "inputs": {"h": {}}}, "steps": [
        {"id": "e", "app": "echo", "inputs": {"value": "{{ trigger.inputs.h }}"}},
        {"id": "w", "delay": "1h"},
        {"id": "s", "stop": "failed", "message": "{{ steps.e.value }}"},
    ]});
    // What one of them gave, the other is given; once alone and once for each of a list.
    let outer = json!({"name": "outer", "trigger": {"type": "manual"}, "steps": [
        {"id": "c", "playbook": "gives"},
        {"id": "l", "playbook": "gives", "each": [1, 2]},
        {"id": "e", "app": "echo", "inputs": {"value": "{{ steps.l.o }}"}},
        {"id": "t", "playbook": "takes", "inputs": {"h": "{{ steps.c.o }}"}},
    ], "on_failure": [
        {"id": "f", "app": "echo", "inputs": {"value": "{{ run.error }} {{ steps.e.value }}"}},
    ]});
    for document in [gives, takes, outer] {
        world.store_json(document).await;
    }
    let id = world.playbooks.start(&world.admin, "outer", json!({})).await.unwrap().id;
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert_hidden(&world, &["hunter2"]).await;
    // Whoever goes on with it is told by the store what is secret.
    let after = world.reopened(world.store.restart()).await;
    after.secrets.put("up", "another-one");
    tokio::time::sleep(std::time::Duration::from_secs(7_200)).await;
    let run = after.ended(id).await;
    assert_hidden(&after, &["hunter2"]).await;
    assert_eq!(run.summary.state, RunState::Failed);
    assert!(run.summary.error.unwrap().contains(r#"{"authorization":"•••"}"#));
    assert_eq!(run.steps[2].outputs["value"], json!([{"authorization": "•••"}, {"authorization": "•••"}]));
    assert!(run.steps[4].outputs["value"].as_str().unwrap().contains("•••"), "{:?}", run.steps[4]);

    // One that was handed a secret keeps it when it is repeated by itself.
    let inner = after.all_runs().await.into_iter().find(|run| run.summary.playbook_name == "takes").unwrap();
    assert_eq!(inner.trigger, json!({"inputs": {"h": {"authorization": "•••"}}}));
    let again = after.playbooks.replay(&after.admin, inner.summary.id, None, None).await.unwrap();
    let again = again.ended.await.unwrap();
    assert_eq!(again.trigger, inner.trigger);
    assert_hidden(&after, &["hunter2"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_was_replaced_or_deleted_stays_hidden_where_it_was_used() {
    let world = World::new().await;
    add_echo_service(&world);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let note = describe(vec![Input::new("value", ValueType::Json)], &[("value", ValueType::Json)]);
    world.apps.put_quick("note", note, move |call| {
        let value = given(&call, "value").clone();
        noted.lock().push(value.clone());
        gives(&[("value", value)])
    });
    let steps = json!([
        {"id": "a", "app": "http", "inputs": {"authorization": "{{ secrets.up }}"}},
        {"id": "w", "delay": "1h"},
        {"id": "e", "app": "note", "inputs": {"value": "{{ steps.a.json.headers.authorization }}"}},
        {"id": "s", "stop": "failed", "message": "it was {{ steps.e.value }}"},
    ]);
    world.store_json(json!({"name": "long", "trigger": {"type": "manual"}, "steps": steps})).await;
    let id = world.playbooks.start(&world.admin, "long", json!({})).await.unwrap().id;
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    world.secrets.put("up", "swordfish-2");
    tokio::time::sleep(std::time::Duration::from_secs(7_200)).await;
    let mut run = world.ended(id).await;
    world.secrets.remove("up");
    let from = ReplayFrom { step: "e".into(), item: None };
    // From a step on, and that again.
    for _ in 0..2 {
        assert_eq!(run.summary.error.as_deref(), Some("it was •••"));
        assert_hidden(&world, &["hunter2", "swordfish"]).await;
        let started = world.playbooks.replay(&world.admin, run.summary.id, Some(&from), None).await.unwrap();
        run = started.ended.await.unwrap();
    }
    assert_eq!(run.steps[2].inputs["value"], "•••");
    assert_hidden(&world, &["hunter2", "swordfish"]).await;
    assert_eq!(*seen.lock(), vec![Value::Json(UP.into()); 3], "the steps themselves are given it");
}

#[tokio::test]
async fn the_playbooks_that_name_a_secret_are_known_drafts_among_them() {
    let world = World::new().await;
    add_talkative_apps(&world.apps);
    for name in ["token", "other"] {
        world.secrets.put(name, "hunter2");
    }
    let login = |name: &str, secret: &str| {
        let inputs = json!({"password": format!("{{{{ secrets.{secret} }}}}")});
        let steps = json!([{"id": "login", "app": "login", "inputs": inputs}]);
        json!({"name": name, "trigger": {"type": "manual"}, "steps": steps})
    };
    world.store_json(login("a", "token")).await;
    world.store_json(login("b", "other")).await;
    let draft = login("c", "token").to_string();
    world.playbooks.save_draft(&world.admin, &draft, Format::Json).await.unwrap();
    let next = login("b", "token").to_string();
    world.playbooks.save_draft(&world.admin, &next, Format::Json).await.unwrap();
    let naming = async |secret| world.playbooks.naming_secret(world.organisation, secret).await.unwrap();
    assert_eq!(naming("token").await, ["a", "b", "c"]);
    assert_eq!(naming("other").await, ["b"]);
}
