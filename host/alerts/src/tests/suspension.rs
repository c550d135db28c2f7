//! The monitors of a suspended organisation stand still, and are due when it is resumed.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_monitors_of_a_suspended_organisation_are_not_evaluated_until_it_is_resumed() {
    let world = World::new().await;
    let id = world.access.create_organisation("host", "acme", "UTC").await.unwrap().id;
    assert_eq!(id, OURS);
    world.create(cpu(json!({}))).await;
    let at_work = world.alerts.begin();
    let pass = async |minute| {
        world.figures.put("a", at(minute - 1), 99.0);
        world.clock.set(at(minute));
        tokio::time::sleep(Duration::from_secs(6)).await;
        world.alerts.monitor(OURS, "cpu").await.unwrap()
    };
    let first = pass(1).await;
    assert_eq!((first.evaluated, world.incidents().await.len()), (Some(at(1)), 1));
    let told = world.told().await;
    world.access.suspend_organisation("host", OURS).await.unwrap();
    for minute in 2..6 {
        let monitor = pass(minute).await;
        assert_eq!((monitor.evaluated, monitor.next_due), (Some(at(1)), Some(at(2))), "it stays due");
    }
    assert_eq!(world.told().await, told, "nothing is told");
    assert_eq!(world.alerts.pace().await.unwrap().behind, 0, "nobody waits for them");
    world.access.resume_organisation("host", OURS).await.unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let monitor = world.alerts.monitor(OURS, "cpu").await.unwrap();
    assert_eq!((monitor.evaluated, monitor.next_due), (Some(at(5)), Some(at(6))), "once for all of them");
    at_work.abort();
}
