//! What `/metrics` shows.

use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;

use super::*;

#[tokio::test(start_paused = true)]
async fn what_there_is_is_counted_when_a_host_starts() {
    let world = World::new().await;
    world
        .store_json(
            json!({"name": "waits", "trigger": {"type": "manual"}, "steps": [{"id": "a", "delay": "1h"}]}),
        )
        .await;
    world.playbooks.start(&world.admin, "waits", json!({})).await.unwrap();
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    world.reopened(world.store.restart()).await;
    let shown = recorder.handle().render();
    for line in [r#"bellwether_playbooks{state="active"} 1"#, "bellwether_runs_open 1"] {
        assert!(shown.contains(line), "{line} is not in\n{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn runs_are_counted_by_how_they_end_and_playbooks_by_what_starts_them() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let world = World::new().await;
    let document = |name: &str, steps: serde_json::Value, policy: &str| {
        let trigger = json!({"type": "manual", "on_error": "disable", "on_error_times": 1});
        json!({"name": name, "trigger": trigger, "concurrency": {"policy": policy}, "steps": steps})
    };
    let echo = json!([{"id": "a", "app": "echo"}]);
    world.store_json(document("good", echo.clone(), "allow")).await;
    world.store_json(document("bad", json!([{"id": "a", "stop": "failed"}]), "allow")).await;
    world.store_json(document("waits", json!([{"id": "a", "delay": "1h"}]), "skip")).await;
    world.store_json(document("queues", json!([{"id": "a", "delay": "1h"}]), "queue")).await;
    let draft = document("draft", echo, "allow").to_string();
    world.playbooks.save_draft(&world.admin, &draft, Format::Json).await.unwrap();
    for _ in 0..2 {
        world.run("good", json!({})).await;
        world.playbooks.start(&world.admin, "waits", json!({})).await.unwrap();
        world.playbooks.start(&world.admin, "queues", json!({})).await.unwrap();
    }
    world.run("bad", json!({})).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    world.playbooks.measure().await.unwrap();
    let shown = recorder.handle().render();
    for line in [
        r#"bellwether_runs_total{state="succeeded"} 2"#,
        r#"bellwether_runs_total{state="failed"} 1"#,
        r#"bellwether_runs_total{state="skipped"} 1"#,
        r#"bellwether_runs_total{state="timed_out"} 0"#,
        "bellwether_runs_open 3",
        "bellwether_runs_queued 1",
        "bellwether_runs_not_taken_up_total 0",
        r#"bellwether_playbooks{state="active"} 3"#,
        r#"bellwether_playbooks{state="draft"} 1"#,
        r#"bellwether_playbooks{state="disabled"} 1"#,
        r#"bellwether_playbooks{state="blocked"} 0"#,
    ] {
        assert!(shown.contains(line), "{line} is not in\n{shown}");
    }
}
