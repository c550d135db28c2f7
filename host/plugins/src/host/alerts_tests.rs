//! That calls on alerts are held against the caller's role and the grant's scope, and done once for a step.

use std::sync::Arc;
use std::time::Duration;

use bellwether_access::{Principal, Role};
use bellwether_alerts::{Alerts, NoTellings, Outward, Parts};
use bellwether_kernel::RunId;
use bellwether_playbooks::EffectScope;
use bellwether_store::{Crash, Direction, MemoryStore, Store, effects_of_run, given_up};
use serde_json::json;

use super::contract::alerts_read::{self, IncidentFilter};
use super::contract::alerts_types::{AlertError, Incident, MuteScope, Severity};
use super::contract::alerts_write::{self, NewMute};
use super::contract::series_write::{self, SeriesSamples};
use super::{Call, Scope, Shared};
use crate::LimitOverrides;
use crate::grant::Grant;
use crate::testing::{House, principal};

struct World {
    house: House,
    shared: Arc<Shared>,
    /// What is shared holds them only as long as somebody does.
    alerts: Arc<Alerts>,
}

impl World {
    async fn new() -> Self {
        Self::on(House::new().await).await
    }

    async fn on(house: House) -> Self {
        let plugins = house.plugins().await;
        let services = house.services.clone();
        let alerts = Alerts::open(Parts {
            store: services.store.clone(),
            access: services.access.clone(),
            figures: services.series.clone(),
            events: services.records.clone(),
            roles: plugins,
            tellings: Arc::new(NoTellings),
            clock: services.clock.clone(),
            limits: bellwether_alerts::Limits::default(),
            outward: Outward::default(),
        });
        let shared = Arc::new(Shared::new(services, house.limits));
        shared.alerts.set(Arc::downgrade(&alerts)).unwrap();
        Self { house, shared, alerts }
    }

    fn call(&self, grants: &[&str], principal: Arc<Principal>) -> Call {
        self.step(grants, principal, None)
    }

    fn step(&self, grants: &[&str], principal: Arc<Principal>, effects: Option<EffectScope>) -> Call {
        let grants: Vec<Grant> = grants.iter().map(|text| text.parse().unwrap()).collect();
        let scope = Scope::new(Arc::clone(&self.shared), "p".to_owned(), &grants, &LimitOverrides::default());
        Call::new(Arc::new(scope), Some(principal), effects)
    }

    /// Two monitors whose series breach, and the incidents they open: of `web-load`, and of `payroll`.
    async fn incidents(&self) -> [String; 2] {
        use series_write::Host as _;
        let mut call =
            self.call(&["series-write=*", "alerts-write=*", "alerts-read=*"], principal(1, Role::Write));
        let time = self.shared.services.clock.now().as_milliseconds() - 30_000;
        let samples = SeriesSamples {
            metric: "load".to_owned(),
            tags: vec!["host:a".to_owned()],
            times: vec![time],
            values: vec![99.0],
        };
        call.write(Vec::new(), vec![samples]).await.unwrap();
        for name in ["web-load", "payroll"] {
            alerts_write::Host::put_monitor(&mut call, monitor(name)).await.unwrap();
        }
        for _ in 0..3_000 {
            let found = list(&mut call).await;
            if found.len() == 2 {
                let of = |name: &str| found.iter().find(|it| it.monitor_name == name).unwrap().id.clone();
                return [of("web-load"), of("payroll")];
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the monitors opened nothing")
    }
}

fn monitor(name: &str) -> String {
    json!({
        "name": name, "kind": "threshold", "query": "avg:load{*} by {host}", "window": "1m", "new_group_delay": "0s",
        "thresholds": {"comparator": ">", "critical": 90}, "labels": {"team": "web"},
    })
    .to_string()
}

fn all() -> IncidentFilter {
    IncidentFilter {
        open: None,
        monitor: None,
        severity: None,
        labels: Vec::new(),
        acknowledged: None,
        assignee: None,
        since: None,
        until: None,
    }
}

async fn list(call: &mut Call) -> Vec<Incident> {
    alerts_read::Host::list_incidents(call, all(), None, 100).await.unwrap().incidents
}

#[tokio::test]
async fn an_app_acknowledges_assigns_comments_and_resolves_an_incident() {
    use alerts_read::Host as _;
    use alerts_write::Host as _;
    let world = World::new().await;
    let [id, _] = world.incidents().await;
    let mut call = world.call(&["alerts-read=web-*", "alerts-write=web-*"], principal(1, Role::Write));
    let incident = call.get_incident(id.clone()).await.unwrap();
    assert_eq!((incident.severity, incident.open_series), (Severity::High, 1));
    assert_eq!((incident.tags[0].name.as_str(), incident.tags[0].value.as_str()), ("host", "a"));
    assert_eq!(call.acknowledge(id.clone()).await.unwrap().acknowledged_by.as_deref(), Some("test"));
    let assigned = call.assign(id.clone(), Some("grace".to_owned())).await.unwrap();
    assert_eq!(assigned.assignee.as_deref(), Some("grace"));
    call.comment(id.clone(), "A disk is full.".to_owned()).await.unwrap();
    let breaches = call.list_breaches(id.clone(), 10).await.unwrap();
    assert_eq!((breaches[0].peak_above, breaches[0].expected), (Some(99.0), Some(90.0)));
    let series = call.list_series("web-load".to_owned(), None, 10).await.unwrap().series;
    assert_eq!((series[0].series.as_str(), series[0].value), ("host:a", Some(99.0)));
    let resolved = call.resolve(id.clone()).await.unwrap();
    assert_eq!(resolved.close_reason.as_deref(), Some("resolved"));
    assert!(matches!(call.acknowledge(id).await, Err(AlertError::Conflict(_))), "it is over");
}

#[tokio::test]
async fn monitors_outside_the_grant_and_callers_without_the_role_are_refused() {
    use alerts_read::Host as _;
    use alerts_write::Host as _;
    let world = World::new().await;
    let [own, payroll] = world.incidents().await;
    let mut web = world.call(&["alerts-read=web-*", "alerts-write=web-*"], principal(1, Role::Write));
    assert_eq!(list(&mut web).await.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), [own.as_str()]);
    let names: Vec<String> =
        web.list_monitors(None, 10).await.unwrap().into_iter().map(|found| found.name).collect();
    assert_eq!(names, ["web-load"]);
    assert!(matches!(web.get_monitor("payroll".to_owned()).await, Err(AlertError::Forbidden(_))));
    assert!(
        matches!(web.get_monitor("2".to_owned()).await, Err(AlertError::Unknown(_))),
        "an id tells nothing"
    );
    assert!(matches!(web.get_incident(payroll.clone()).await, Err(AlertError::Unknown(_))));
    assert!(matches!(web.acknowledge(payroll).await, Err(AlertError::Unknown(_))));
    assert!(matches!(web.put_monitor(monitor("payroll")).await, Err(AlertError::Forbidden(_))));
    assert!(matches!(web.delete_monitor("payroll".to_owned()).await, Err(AlertError::Forbidden(_))));
    let mute = |monitors: &[&str]| NewMute {
        scope: MuteScope {
            monitors: monitors.iter().map(|name| (*name).to_owned()).collect(),
            labels: Vec::new(),
            tags: Vec::new(),
        },
        start: None,
        end: None,
        reason: String::new(),
    };
    for refused in [&[][..], &["payroll"], &["web-load", "payroll"]] {
        assert!(matches!(web.add_mute(mute(refused)).await, Err(AlertError::Forbidden(_))), "{refused:?}");
    }
    let muted = web.add_mute(mute(&["web-load"])).await.unwrap();
    assert_eq!(web.list_mutes(None, 10).await.unwrap().len(), 1);
    web.remove_mute(muted.id).await.unwrap();
    let mut reader = world.call(&["alerts-read=*", "alerts-write=*"], principal(1, Role::Read));
    assert_eq!(list(&mut reader).await.len(), 2, "whoever may read sees them");
    assert!(
        matches!(reader.acknowledge(own.clone()).await, Err(AlertError::Forbidden(text)) if text.contains("role"))
    );
    let mut stranger = world.call(&["alerts-read=*"], principal(2, Role::Admin));
    assert!(list(&mut stranger).await.is_empty());
    assert!(matches!(stranger.get_incident(own).await, Err(AlertError::Unknown(_))));
}

#[tokio::test]
async fn what_does_not_read_is_named_whole() {
    use alerts_read::Host as _;
    use alerts_write::Host as _;
    let world = World::new().await;
    let mut call = world.call(&["alerts-read=*", "alerts-write=*"], principal(1, Role::Write));
    let fields = |error: AlertError| match error {
        AlertError::Invalid(errors) => errors.into_iter().map(|error| error.field).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let mut document: serde_json::Value = serde_json::from_str(&monitor("web-load")).unwrap();
    document["every"] = "1s".into();
    document["message"] = "x".repeat(2_001).into();
    assert_eq!(fields(call.put_monitor(document.to_string()).await.unwrap_err()), ["message", "every"]);
    assert_eq!(fields(call.put_monitor("{".to_owned()).await.unwrap_err()), ["document"]);
    assert_eq!(fields(call.list_monitors(None, 0).await.unwrap_err()), ["limit"]);
    let wrong = call.list_incidents(all(), Some("?".to_owned()), 10).await;
    assert_eq!(fields(wrong.unwrap_err()), ["cursor"]);
    let late = IncidentFilter { since: Some(i64::MAX), ..all() };
    assert_eq!(fields(call.list_incidents(late, None, 10).await.unwrap_err()), ["filter.since"]);
    let first = call.put_monitor(monitor("web-load")).await.unwrap();
    let again = call.put_monitor(monitor("web-load")).await.unwrap();
    assert_eq!((first.created, again.created, again.monitor.version), (true, false, 1));
}

#[tokio::test]
async fn a_step_that_is_repeated_does_not_do_it_again() {
    use alerts_read::Host as _;
    use alerts_write::Host as _;
    let world = World::new().await;
    let [id, _] = world.incidents().await;
    let run: RunId = "00000000-0000-7000-8000-000000000000".parse().unwrap();
    let step = || {
        let effects = EffectScope { run, step: "say".to_owned(), item: None };
        world.step(&["alerts-read=*", "alerts-write=*"], principal(1, Role::Write), Some(effects))
    };
    // Of another clock each time.
    let new = |end| NewMute {
        scope: MuteScope { monitors: vec!["web-load".to_owned()], labels: Vec::new(), tags: Vec::new() },
        start: None,
        end: Some(end),
        reason: "A release.".to_owned(),
    };
    let later = world.shared.services.clock.now().as_milliseconds() + 3_600_000;
    let mut mutes = Vec::new();
    for attempt in 0..3 {
        let mut call = step();
        call.comment(id.clone(), "once".to_owned()).await.unwrap();
        call.comment(id.clone(), "and again".to_owned()).await.unwrap();
        mutes.push(call.add_mute(new(later + attempt)).await.unwrap().id);
    }
    assert_eq!(mutes, [1, 1, 1]);
    let page = bellwether_kernel::PageRequest::first(100);
    let (organisation, incident) = (bellwether_kernel::OrganisationId(1), id.parse().unwrap());
    let notes = world.alerts.incident_trace(organisation, incident, &page).await.unwrap().items;
    let said: Vec<&str> = notes
        .iter()
        .filter(|note| note.what == bellwether_alerts::NoteKind::Commented)
        .map(|note| note.text.as_str())
        .collect();
    assert_eq!(said, ["once", "and again"]);
    assert_eq!(step().list_mutes(None, 10).await.unwrap().len(), 1);
    // One that is removed since, by the step itself or by somebody, is no fault of the step.
    for _ in 0..2 {
        let mut call = step();
        let made = call.add_mute(new(later)).await.unwrap();
        assert_eq!((made.id, made.end), (1, Some(later)));
        call.remove_mute(made.id).await.unwrap();
    }
    assert!(step().list_mutes(None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_step_that_is_cut_off_while_it_does_something_finds_that_it_was_done() {
    use alerts_read::Host as _;
    use alerts_write::Host as _;
    let world = World::new().await;
    let [id, _] = world.incidents().await;
    let run: RunId = "00000000-0000-7000-8000-000000000000".parse().unwrap();
    let step = |name: usize| {
        let effects = EffectScope { run, step: name.to_string(), item: None };
        world.step(&["alerts-read=*", "alerts-write=*"], principal(1, Role::Write), Some(effects))
    };
    let new = || NewMute {
        scope: MuteScope { monitors: vec!["web-load".to_owned()], labels: Vec::new(), tags: Vec::new() },
        start: None,
        end: Some(world.shared.services.clock.now().as_milliseconds() + 3_600_000),
        reason: String::new(),
    };
    const STEPS: usize = 6;
    for polls in 1..=STEPS {
        let mut call = step(polls);
        given_up(call.comment(id.clone(), polls.to_string()), polls).await;
        given_up(call.add_mute(new()), polls).await;
        // What was begun goes on.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut again = step(polls);
        again.comment(id.clone(), polls.to_string()).await.unwrap();
        again.add_mute(new()).await.unwrap();
    }
    let page = bellwether_kernel::PageRequest::first(100);
    let (organisation, incident) = (bellwether_kernel::OrganisationId(1), id.parse().unwrap());
    let notes = world.alerts.incident_trace(organisation, incident, &page).await.unwrap().items;
    let said = notes.iter().filter(|note| note.what == bellwether_alerts::NoteKind::Commented);
    assert_eq!(said.count(), STEPS);
    assert_eq!(step(0).list_mutes(None, 100).await.unwrap().len(), STEPS);
}

/// Five effects on alerts, the last of which finds all as it is to be.
async fn effects(call: &mut Call, id: &str) -> Result<(), AlertError> {
    use alerts_write::Host as _;
    call.comment(id.to_owned(), "once".to_owned()).await?;
    let scope = MuteScope { monitors: vec!["web-load".to_owned()], labels: Vec::new(), tags: Vec::new() };
    let end = Some(call.services().clock.now().as_milliseconds() + 3_600_000);
    let made = call.add_mute(NewMute { scope, start: None, end, reason: String::new() }).await?;
    assert_eq!(made.id, 1);
    let mut document: serde_json::Value = serde_json::from_str(&monitor("extra")).unwrap();
    document["paused"] = true.into();
    assert!(call.put_monitor(document.to_string()).await?.created);
    call.acknowledge(id.to_owned()).await?;
    call.acknowledge(id.to_owned()).await.map(drop)
}

#[tokio::test]
async fn a_step_repeated_after_any_crash_did_to_alerts_what_it_does_once() {
    let store = Arc::new(MemoryStore::new());
    let world = World::on(House::on(Arc::clone(&store)).await).await;
    let [id, _] = world.incidents().await;
    world.alerts.stop(Duration::from_secs(10)).await;
    let run: RunId = "00000000-0000-7000-8000-000000000000".parse().unwrap();
    let step = |world: &World| {
        let effects = EffectScope { run, step: "say".to_owned(), item: None };
        world.step(&["alerts-read=*", "alerts-write=*"], principal(1, Role::Write), Some(effects))
    };
    for commit in 1..=6 {
        for crash in [Crash::Before(commit), Crash::After(commit)] {
            let dies = Arc::new(store.restart_with_crashes(crash));
            let life = World::on(world.house.again(Arc::clone(&dies)).await).await;
            let ended = effects(&mut step(&life), &id).await;
            assert_eq!(ended.is_ok(), commit == 6, "{crash:?}");

            let store = Arc::new(dies.restart());
            let life = World::on(world.house.again(Arc::clone(&store)).await).await;
            for _ in 0..2 {
                effects(&mut step(&life), &id).await.unwrap();
            }
            let page = bellwether_kernel::PageRequest::first(100);
            let (organisation, incident) = (bellwether_kernel::OrganisationId(1), id.parse().unwrap());
            let notes = life.alerts.incident_trace(organisation, incident, &page).await.unwrap().items;
            for kind in [bellwether_alerts::NoteKind::Commented, bellwether_alerts::NoteKind::Acknowledged] {
                assert_eq!(notes.iter().filter(|note| note.what == kind).count(), 1, "{crash:?}: {kind:?}");
            }
            assert_eq!(life.alerts.mutes(organisation, &page).await.unwrap().items.len(), 1, "{crash:?}");
            assert_eq!(life.alerts.monitor(organisation, "extra").await.unwrap().version, 1, "{crash:?}");
            let rows = effects_of_run(organisation, run).prefix();
            assert_eq!(store.scan(rows, Direction::Forward, 100).await.unwrap().len(), 5, "{crash:?}");
        }
    }
}

#[tokio::test]
async fn a_step_that_is_repeated_does_not_bring_back_a_monitor_it_deleted() {
    use alerts_read::Host as _;
    use alerts_write::Host as _;
    let world = World::new().await;
    let run: RunId = "00000000-0000-7000-8000-000000000000".parse().unwrap();
    let step = || {
        let effects = EffectScope { run, step: "try".to_owned(), item: None };
        world.step(&["alerts-read=*", "alerts-write=*"], principal(1, Role::Write), Some(effects))
    };
    for _ in 0..2 {
        let mut call = step();
        let put = call.put_monitor(monitor("passing")).await.unwrap();
        assert_eq!((put.created, put.monitor.id, put.monitor.name.as_str()), (true, 1, "passing"));
        let again = call.put_monitor(monitor("passing")).await.unwrap();
        assert!(!again.created && again.monitor.id == 1);
        call.delete_monitor("passing".to_owned()).await.unwrap();
        assert!(matches!(call.get_monitor("passing".to_owned()).await, Err(AlertError::Unknown(_))));
    }
}

#[tokio::test]
async fn a_host_without_alerts_says_so() {
    let house = House::new().await;
    let shared = Arc::new(Shared::new(house.services.clone(), house.limits));
    let grants = ["alerts-read=*".parse().unwrap()];
    let scope = Scope::new(shared, "p".to_owned(), &grants, &LimitOverrides::default());
    let mut call = Call::new(Arc::new(scope), Some(principal(1, Role::Read)), None);
    let answer = alerts_read::Host::get_monitor(&mut call, "a".to_owned()).await;
    assert!(matches!(answer, Err(AlertError::Unavailable(_))));
}
