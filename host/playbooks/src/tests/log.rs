//! What the host's log says of runs.

use std::io;
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::json;
use tracing::Dispatch;
use tracing::subscriber::{DefaultGuard, NoSubscriber};

use super::*;

/// What is logged on this thread, in memory.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Takes everything from `INFO` on.
    pub(super) fn listen() -> (Self, DefaultGuard) {
        // Of one subscriber alone it is asked for good whether a thread has it that first comes by, which may be another test's.
        static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));
        LazyLock::force(&ANOTHER);
        let log = Self::default();
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// The lines with `text` in them so far.
    pub(super) fn lines(&self, text: &str) -> Vec<String> {
        let log = String::from_utf8(self.0.lock().clone()).unwrap();
        log.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ends_is_one_line_of_the_log_and_a_warning_only_where_it_failed_for_good() {
    let world = World::new().await;
    let secret = vec![Input { secret: true, ..Input::new("token", ValueType::Text) }];
    world.apps.put_quick("fails", describe(secret, &[]), |call| {
        let Value::Text(token) = given(&call, "token") else { panic!() };
        fails(&format!("{token} is over"))
    });
    world.secrets.put("token", "correct horse");
    let steps = json!([{"id": "a", "app": "fails", "inputs": {"token": "{{ secrets.token }}"}}]);
    for (on_error, infos) in [("log", 0), ("disable", 0), ("retry", 2)] {
        let mut trigger = json!({"type": "manual", "on_error": on_error});
        if on_error != "log" {
            trigger["on_error_times"] = 2.into();
        }
        world.store_json(json!({"name": on_error, "trigger": trigger, "steps": steps})).await;
        let (log, _listening) = Log::listen();
        world.run(on_error, json!({})).await;
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        let lines = log.lines("the run ");
        let (warnings, told): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line.contains(" WARN "));
        assert_eq!((warnings.len(), told.len()), (1, infos), "{on_error}: {warnings:?} {told:?}");
        for field in [
            format!("organisation={}", world.organisation),
            format!("playbook=\"{on_error}\""),
            "trigger=\"manual\"".to_owned(),
            "failed_step=\"a\"".to_owned(),
            "error=\"step a: ••• is over\"".to_owned(),
            format!("run={}", world.all_runs().await.last().unwrap().summary.id),
        ] {
            assert!(warnings[0].contains(&field), "{field}: {}", warnings[0]);
        }
        for (number, line) in told.iter().enumerate() {
            let field = format!("repetition={} at=2024-04-09T", number + 1);
            assert!(line.contains(&field) && line.contains("INFO"), "{field}: {line}");
        }
        assert!(log.lines("correct horse").is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_playbook_that_its_key_blocks_is_one_warning_that_names_it_however_often_it_is_to_be_started() {
    let world = World::new().await;
    let publisher = new_principal(&world.access, world.organisation, Role::Admin).await;
    let steps = json!([{"id": "a", "app": "echo", "inputs": {"value": 1}}]);
    let mut token = None;
    for (name, trigger) in [
        ("timed", json!({"type": "every", "interval": "1m"})),
        ("called", json!({"type": "webhook"})),
        ("told", json!({"type": "metric", "metric": "load"})),
    ] {
        let source = json!({"name": name, "trigger": trigger, "steps": steps}).to_string();
        let stored = world.playbooks.store(&publisher, &source, Format::Json, false).await.unwrap();
        token = stored.webhook_token.clone().or(token);
    }
    world.access.revoke_key("host", Some(world.organisation), &publisher.key).await.unwrap();
    let token = token.unwrap();
    let call = || world.playbooks.start_by_webhook(&token, post("application/json", "{}"));
    let (log, _listening) = Log::listen();
    for _ in 0..3 {
        let refused = call().await.err().unwrap();
        assert!(matches!(refused, PlaybookError::Blocked { .. }), "{refused}");
        world.writes.push(world.organisation, "load", None, 1.0);
        tokio::time::sleep(Duration::from_secs(100)).await;
    }
    for name in ["timed", "called", "told"] {
        let lines = log.lines(&format!("name=\"{name}\""));
        assert_eq!(lines.len(), 1, "{name}: {lines:?}");
        assert!(lines[0].contains("WARN") && lines[0].contains("not started by its trigger"), "{lines:?}");
    }
    world.playbooks.publish(&world.admin, "called", 1).await.unwrap();
    call().await.unwrap();
    assert_eq!(log.lines("name=\"called\"").len(), 2, "it is said that it is started again");
}

#[tokio::test(start_paused = true)]
async fn a_failed_run_within_another_warns_by_the_one_around_it_alone() {
    let world = World::new().await;
    world.apps.put_quick("fails", describe(vec![], &[]), |_| fails("no"));
    for (name, trigger, step) in [
        ("kid", "playbook", json!({"id": "a", "app": "fails"})),
        ("outer", "manual", json!({"id": "k", "playbook": "kid"})),
    ] {
        world.store_json(json!({"name": name, "trigger": {"type": trigger}, "steps": [step]})).await;
    }
    let (log, _listening) = Log::listen();
    world.run("outer", json!({})).await;
    let (warnings, told) = (log.lines("WARN"), log.lines("the run has ended"));
    assert_eq!((warnings.len(), told.len()), (1, 1), "{warnings:?} {told:?}");
    assert!(warnings[0].contains("playbook=\"outer\"") && told[0].contains("playbook=\"kid\""));
}
