//! Back-tests that find much, or that nobody waits for any more.

use bellwether_store::given_up;

use super::*;

/// Two hosts that breach every other minute of a span that is as long as a back-test may be.
async fn flapping() -> (World, BacktestRequest) {
    let world = World::new().await;
    for minute in 0..limits::BACKTEST {
        for host in ["a", "b"] {
            world.figures.put(host, at(minute), if minute % 2 == 0 { 95.0 } else { 50.0 });
        }
    }
    let request = BacktestRequest { document: cpu(json!({})), from: Some(at(1)), to: at(limits::BACKTEST) };
    (world, request)
}

#[tokio::test]
async fn a_back_test_tells_of_the_first_thousand_incidents_and_that_there_were_more() {
    let (world, request) = flapping().await;
    let tested = world.alerts.backtest(OURS, &request).await.unwrap();
    assert_eq!((tested.incidents.len(), tested.decisions.len(), tested.more), (1_000, 1_000, true));
    let last = &tested.incidents[999];
    assert_eq!((last.incident.opened, last.incident.closed), (at(999), Some(at(1_000))));
    assert_eq!((last.intervals.len(), last.tellings.len()), (1, 2));
    let whole = BacktestRequest { to: at(100), ..request };
    let tested = world.alerts.backtest(OURS, &whole).await.unwrap();
    assert_eq!((tested.incidents.len(), tested.more), (100, false));
    assert!(tested.incidents[98].intervals[0].ended.is_none(), "it goes on");
}

#[tokio::test]
async fn a_back_test_ends_once_nobody_waits_for_it() {
    let (world, request) = flapping().await;
    assert!(!given_up(world.alerts.backtest(OURS, &request), 100).await);
}
