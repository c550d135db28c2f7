//! Monitors whose evaluations come to nothing: said once, and counted while it lasts.

use super::log::Log;
use super::*;

fn broken() -> Json {
    cpu(json!({"name": "broken", "query": "avg:broken{*}"}))
}

#[tokio::test]
async fn that_a_monitor_has_a_problem_is_said_as_it_begins_and_as_it_is_over_and_counted_meanwhile() {
    let (log, _guard) = Log::listen();
    let mut world = World::new().await;
    world.put_channels(&["mail"]).await;
    world.create(cpu(json!({}))).await;
    world.create(broken()).await;
    world.evaluate(1).await;
    let said = log.take();
    assert!(said.contains("WARN") && said.contains("a monitor has a problem"), "{said}");
    assert!(said.contains(r#"organisation=1 monitor=2 monitor_name="broken" kind="query""#), "{said}");
    assert!(said.contains("at most 1 series in one query"), "{said}");
    assert_eq!((said.lines().count(), world.alerts.monitors_with_problem()), (1, 1));
    world.evaluate(2).await;
    assert_eq!((log.take().as_str(), world.alerts.monitors_with_problem()), ("", 1));
    world.restart_on(world.store.restart());
    world.evaluate(3).await;
    assert_eq!((log.take().lines().count(), world.alerts.monitors_with_problem()), (1, 1), "another host");
    let mended = cpu(json!({"name": "broken"}));
    world.alerts.replace_monitor(&world.principal, "broken", &mended, None).await.unwrap();
    world.evaluate(4).await;
    let said = log.take();
    assert!(said.contains("INFO") && said.contains("a monitor's problem is over"), "{said}");
    assert_eq!((said.lines().count(), world.alerts.monitors_with_problem()), (1, 0));
    world.evaluate(5).await;
    assert_eq!(log.take(), "");
}

#[tokio::test]
async fn a_problem_that_becomes_another_is_said_again_and_one_of_more_series_is_not() {
    let (log, _guard) = Log::listen();
    let world = World::new().await.narrow(1);
    world.put_channels(&["mail"]).await;
    world.create(cpu(json!({}))).await;
    world.live(0, &[("a", 50.0), ("b", 50.0)]).await;
    let said = log.take();
    assert!(said.contains("series-left-out") && said.contains("left out: 1;"), "{said}");
    world.live(1, &[("a", 50.0), ("b", 50.0), ("c", 50.0)]).await;
    assert_eq!(log.take(), "");
    let mut document = broken();
    document["name"] = "cpu".into();
    world.alerts.replace_monitor(&world.principal, "cpu", &document, None).await.unwrap();
    world.evaluate(3).await;
    assert!(log.take().contains(r#"kind="query""#));
    assert_eq!(world.alerts.monitors_with_problem(), 1);
}

#[tokio::test]
async fn a_monitor_that_is_paused_or_deleted_counts_as_a_problem_no_more() {
    let world = World::new().await;
    let (alerts, principal) = (&world.alerts, &world.principal);
    world.create(broken()).await;
    world.evaluate(1).await;
    alerts.pause_monitor(principal, "broken", true).await.unwrap();
    assert_eq!(alerts.monitors_with_problem(), 0);
    alerts.pause_monitor(principal, "broken", false).await.unwrap();
    world.evaluate(2).await;
    assert_eq!(alerts.monitors_with_problem(), 1);
    alerts.delete_monitor(principal, "broken").await.unwrap();
    assert_eq!(alerts.monitors_with_problem(), 0);
}

#[tokio::test]
async fn a_monitor_whose_channels_are_not_there_counts_as_a_problem_until_they_are_put() {
    let (log, _guard) = Log::listen();
    let world = World::new().await;
    world.create(cpu(json!({"channels": ["mail", "pager"]}))).await;
    world.put_channels(&["mail"]).await;
    world.live(0, &[("a", 50.0)]).await;
    let said = log.take();
    assert!(said.contains(r#"kind="no-channel" problem="there is no channel \"pager\"""#), "{said}");
    let shown = world.alerts.monitor(OURS, "cpu").await.unwrap().problem;
    assert_eq!(shown.as_deref(), Some(r#"there is no channel "pager""#), "as it is counted");
    assert_eq!(world.alerts.monitors_with_problem(), 1);
    world.put_channels(&["pager"]).await;
    world.live(1, &[("a", 50.0)]).await;
    assert!(log.take().contains("a monitor's problem is over"));
    assert_eq!(world.alerts.monitors_with_problem(), 0);
}

#[tokio::test]
async fn a_monitor_that_is_paused_before_its_problem_is_known_is_not_counted() {
    let world = World::new().await;
    let id = world.create(broken()).await.id;
    world.alerts.pause_monitor(&world.principal, "broken", true).await.unwrap();
    world.alerts.problem_is((OURS, id), engine::ProblemKind::Query, "late").await;
    assert_eq!(world.alerts.monitors_with_problem(), 0);
}

#[tokio::test]
async fn a_trace_of_long_tags_in_any_script_fits_its_rows() {
    let world = World::new().await;
    world.create(cpu(json!({"notify_by": [], "channels": []}))).await;
    let hosts: Vec<String> = (0..60).map(|number| format!("{number:02}{}", "𝄞".repeat(250))).collect();
    let values: Vec<(&str, f64)> = hosts.iter().map(|host| (host.as_str(), 95.0)).collect();
    world.live(0, &values).await;
    let problem = world.alerts.monitor(OURS, "cpu").await.unwrap().problem;
    assert_eq!((world.incidents().await.len(), problem), (1, None));
    let decision =
        world.alerts.monitor_trace(OURS, "cpu", &PageRequest::first(1)).await.unwrap().items.remove(0);
    assert!(decision.lines.len() > 10, "{}", decision.lines.len());
    assert_eq!(
        decision.lines.len() as u64 + decision.more,
        122,
        "each series moves and opens, and so does the incident"
    );
    let notes = world.notes(world.incidents().await[0].id).await;
    assert!(notes.iter().all(|(_, text)| text.len() <= limits::NOTE + '…'.len_utf8()), "{notes:?}");
}
