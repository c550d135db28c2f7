//! Evaluations that are slow, or never end, beside others.

use super::anomalies::strange;
use super::*;

/// A detector that never answers once it is shown so many points.
struct Stuck(DetectorDescription, usize);

impl Stuck {
    fn new(points: usize) -> Arc<Self> {
        let (summary, history) = ("Never answers.".to_owned(), History { least: 1, best: 10 });
        let (settings, takes) = (Vec::new(), Takes::OneSeries);
        Arc::new(Self(DetectorDescription { summary, settings, takes, history }, points))
    }
}

#[async_trait]
impl Detector for Stuck {
    fn version(&self) -> &str {
        "1.0.0"
    }

    fn description(&self) -> &DetectorDescription {
        &self.0
    }

    async fn detect(&self, _: &Settings, _: &[u8], points: &Points) -> Result<Detection, RoleError> {
        match points.times.len() < self.1 {
            true => Ok(Detection { series: vec![Scores::default()], state: Vec::new() }),
            false => std::future::pending().await,
        }
    }
}

/// A world with a monitor that is stuck, and one beside it.
async fn world() -> World {
    let world = World::with_roles(FakeRoles(Some(Stuck::new(1)))).await;
    world.figures.put("a", at(-1), 50.0);
    world.create(strange(json!({"name": "slow"}))).await;
    world.create(cpu(json!({}))).await;
    world
}

async fn monitor(world: &World, name: &str) -> StoredMonitor {
    world.alerts.monitor(OURS, name).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_monitor_that_is_slow_keeps_no_other_waiting() {
    let world = world().await;
    let at_work = world.alerts.begin();
    for minute in 1..5 {
        world.figures.put("a", at(minute - 1), 50.0);
        world.clock.set(at(minute));
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(monitor(&world, "cpu").await.evaluated, Some(at(minute)));
    }
    assert_eq!(monitor(&world, "slow").await.evaluated, None);
    at_work.abort();
}

#[tokio::test(start_paused = true)]
async fn an_evaluation_that_takes_too_long_is_ended_and_its_problem_says_so() {
    let world = world().await;
    let at_work = world.alerts.begin();
    world.clock.set(at(1));
    tokio::time::sleep(limits::EVALUATION + Duration::from_secs(6)).await;
    let slow = monitor(&world, "slow").await;
    let problem = slow.problem.unwrap();
    assert!(problem.starts_with("its evaluation takes longer than 5 min and was ended"), "{problem}");
    assert_eq!((slow.evaluated, slow.next_due), (Some(at(1)), Some(at(6))));
    at_work.abort();
}

#[tokio::test(start_paused = true)]
async fn a_monitor_that_is_too_slow_is_put_off_longer_each_time_up_to_an_hour_until_it_is_changed() {
    let world = world().await;
    let mut due = 1;
    for next in [6, 16, 36, 76, 136] {
        world.figures.put("a", at(due - 1), 50.0);
        world.evaluate(due).await;
        let slow = monitor(&world, "slow").await;
        assert_eq!((slow.evaluated, slow.next_due), (Some(at(due)), Some(at(next))));
        // What is written does not bring it forward, nor is the clock taken to have been ahead.
        world.figures.put("a", at(due), 50.0);
        world.clock.set(at(due + 3));
        world.alerts.evaluate_woken(at(due + 3)).await.unwrap();
        world.alerts.bring_back().await.unwrap();
        assert_eq!(monitor(&world, "slow").await.next_due, slow.next_due);
        due = next;
    }
    let mended = cpu(json!({"name": "slow"}));
    world.alerts.replace_monitor(&world.principal, "slow", &mended, None).await.unwrap();
    world.alerts.evaluate_due(at(due)).await.unwrap();
    let mended = monitor(&world, "slow").await;
    assert_eq!((mended.evaluated, mended.next_due), (Some(at(79)), Some(at(80))));
}

#[tokio::test(start_paused = true)]
async fn whoever_chooses_a_detector_that_does_not_answer_is_told_so_in_time() {
    let world = World::with_roles(FakeRoles(Some(Stuck::new(0)))).await;
    let (alerts, principal) = (&world.alerts, &world.principal);
    let (began, document) = (tokio::time::Instant::now(), strange(json!({})));
    let error = alerts.create_monitor(principal, &document).await.unwrap_err();
    assert_eq!((error.kind(), began.elapsed()), (bellwether_kernel::ErrorKind::Deadline, limits::ASKED));
    let text = error.to_string();
    assert!(text.starts_with("the detector \"bound\" did not say within 10 s"), "{text}");
    world.create(cpu(json!({}))).await;
    let error = alerts.replace_monitor(principal, "cpu", &document, None).await.unwrap_err();
    assert_eq!(error.kind(), bellwether_kernel::ErrorKind::Deadline);
    assert_eq!(alerts.monitor(OURS, "cpu").await.unwrap().version, 1);
}
