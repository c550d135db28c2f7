//! What may be done about incidents: by callers, by links, and what is kept of it.

use futures::FutureExt;
use tokio::sync::{Semaphore, oneshot};

use super::*;

/// Does what it is asked as soon as it may, and keeps what that was; says how it goes by the playbook's name.
struct FakeActions {
    asked: Mutex<Vec<Act>>,
    gate: Semaphore,
}

#[async_trait]
impl Actions for FakeActions {
    async fn act(&self, act: Act) -> Option<Acted> {
        let target = act.action.target();
        self.asked.lock().push(act);
        self.gate.acquire().await.ok()?.forget();
        match target.as_str() {
            "playbook restart" => {
                Some(Acted { succeeded: true, text: String::new(), run: Some("r-1".into()) })
            }
            _ => Some(Acted::failed("the service does not answer")),
        }
    }

    async fn why_not(&self, _: OrganisationId, action: &Action) -> Result<Option<String>, AlertError> {
        Ok((action.target() == "app nothing").then(|| "there is no app \"nothing\"".to_owned()))
    }
}

struct Doing {
    world: World,
    actions: Arc<FakeActions>,
    alerts: Arc<Alerts>,
    caller: Actor,
}

/// A world with an open incident, and a host that may do so many things about it.
async fn doing(permits: usize) -> (Doing, IncidentId) {
    let world = World::new().await;
    let actions = Arc::new(FakeActions { asked: Mutex::default(), gate: Semaphore::new(permits) });
    let alerts = beside(&world, &actions);
    let more = json!({
        "actions": [
            {"name": "restart", "label": "Restart it", "playbook": "restart", "by_link": true},
            {"name": "call", "app": "http", "inputs": {"url": "https://a.example"}},
        ],
        "links": [{"name": "runbook", "url": "https://wiki.example/cpu"}],
    });
    world.create(cpu(more)).await;
    world.figures.put("a", at(0), 99.0);
    world.clock.set(at(1));
    alerts.evaluate_due(at(1)).await.unwrap();
    let id = world.incidents().await[0].id;
    let caller = Actor::Caller(Arc::new(world.principal.clone()));
    (Doing { world, actions, alerts, caller }, id)
}

fn beside(world: &World, actions: &Arc<FakeActions>) -> Arc<Alerts> {
    let outward = Outward {
        public_url: Some("https://bell.example/".to_owned()),
        actions: Some(Arc::clone(actions) as Arc<dyn Actions>),
    };
    Alerts::idle(Parts {
        store: world.store.clone(),
        access: world.access.clone(),
        figures: world.figures.clone(),
        events: world.events.clone(),
        roles: world.roles.clone(),
        tellings: Arc::new(Outbox),
        clock: world.clock.clone(),
        limits: Limits { at_once: 4, ..Limits::default() },
        outward,
    })
}

/// The links that were told of an incident when it opened: label and URL.
async fn told_links(world: &World) -> Vec<(String, String)> {
    let told = world.told_whole().await;
    let whole = &told[0][0]["whole"];
    let links = [&whole["links"], &whole["alerts"][0]["links"]].into_iter();
    let links = links.flat_map(|links| links.as_array().unwrap().clone());
    let text = |text: &Json| text.as_str().unwrap().to_owned();
    links.map(|link| (text(&link["label"]), text(&link["url"]))).collect()
}

fn token(links: &[(String, String)], label: &str) -> String {
    let (_, url) = links.iter().find(|(found, _)| found == label).unwrap();
    url.strip_prefix("https://bell.example/a/").unwrap().to_owned()
}

#[tokio::test]
async fn an_action_is_done_with_the_incident_and_its_result_is_kept_with_who_asked() {
    let (Doing { world, actions, alerts, caller }, id) = doing(2).await;
    for (name, expected) in
        [("restart", "restart succeeded, run r-1"), ("call", "call failed: the service does not answer")]
    {
        let acting = alerts.act(caller.clone(), id, name).await.unwrap();
        let acted = acting.ended.await.unwrap();
        assert_eq!(acted.succeeded, name == "restart");
        let notes = alerts.incident_trace(OURS, id, &PageRequest::first(100)).await.unwrap().items;
        let begun = &notes[usize::try_from(acting.sequence).unwrap()];
        assert_eq!((begun.what, begun.by.as_deref()), (NoteKind::Acting, Some("ada")));
        let last = notes.last().unwrap();
        assert_eq!(
            (last.what, last.text.as_str(), last.by.as_deref()),
            (NoteKind::Acted, expected, Some("ada"))
        );
    }
    {
        let asked = actions.asked.lock();
        assert_eq!((asked[0].incident.id, asked[0].as_told.alerts[0].series[0].value), (id, Some(99.0)));
        assert_eq!(asked[1].action.inputs["url"], "https://a.example");
        assert!(asked[1].principal.is_some() && asked[0].sequence < asked[1].sequence);
    }
    let unknown = alerts.act(caller.clone(), id, "reboot").await.unwrap_err();
    assert_eq!(unknown.to_string(), "there is no action \"reboot\"");
    world.figures.put("a", at(1), 5.0);
    world.clock.set(at(2));
    alerts.evaluate_due(at(2)).await.unwrap();
    let over = alerts.act(caller, id, "restart").await.unwrap_err();
    assert!(over.to_string().contains("is over"), "{over}");
    let idle = world.alerts.act(Actor::Link(OURS), id, "restart").await.unwrap_err();
    assert!(matches!(idle, AlertError::Conflict(_)), "a host without actions does none: {idle}");
}

#[tokio::test]
async fn an_action_that_cannot_be_done_is_stored_and_shown_as_the_monitors_problem() {
    let (Doing { world, alerts, .. }, _) = doing(0).await;
    let document = cpu(json!({"name": "other", "channels": ["gone"], "actions": [
        {"name": "restart", "playbook": "restart"}, {"name": "ask", "app": "nothing"},
    ]}));
    let made = alerts.create_monitor(&world.principal, &document).await.unwrap();
    let undoable = "the action \"ask\" cannot be done: there is no app \"nothing\"";
    let channel = "there is no channel \"gone\"";
    assert_eq!(made.problem, Some(format!("{channel}; {undoable}")));
    let warned = format!("{channel}: until it is put, nobody is told by it");
    assert_eq!(made.warnings, [&warned, undoable]);
    assert_eq!(alerts.monitor(OURS, "other").await.unwrap().problem, made.problem);
}

#[tokio::test]
async fn the_same_is_not_done_twice_at_once() {
    let (Doing { actions, alerts, caller, .. }, id) = doing(0).await;
    let first = alerts.act(caller.clone(), id, "restart").await.unwrap();
    let other = alerts.act(caller.clone(), id, "call").await.unwrap();
    let again = alerts.act(caller.clone(), id, "restart").await.unwrap_err();
    assert!(again.to_string().contains("is being done"), "{again}");
    let (offers, _) = alerts.offers(OURS, id).await.unwrap();
    assert_eq!(offers.iter().map(|offer| offer.running).collect::<Vec<_>>(), [true, true]);
    actions.gate.add_permits(2);
    assert!(first.ended.await.unwrap().succeeded && !other.ended.await.unwrap().succeeded);
    actions.gate.add_permits(1);
    assert!(alerts.act(caller, id, "restart").await.unwrap().ended.await.unwrap().succeeded);
}

#[tokio::test]
async fn what_a_host_that_stopped_had_begun_is_taken_up_once_by_the_next() {
    let (Doing { mut world, actions, alerts, caller }, id) = doing(0).await;
    let cut_off: oneshot::Receiver<Acted> = alerts.act(caller, id, "restart").await.unwrap().ended;
    while actions.asked.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    // The host ends before its action does.
    actions.gate.close();
    assert!(cut_off.await.is_err());
    world.restart_on(world.store.restart());
    let next = Arc::new(FakeActions { asked: Mutex::default(), gate: Semaphore::new(9) });
    for _ in 0..2 {
        beside(&world, &next).resume_acts().await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
    {
        let asked = next.asked.lock();
        assert_eq!(asked.len(), 1, "what has ended is not taken up again");
        let before = actions.asked.lock();
        assert!(asked[0].again && asked[0].sequence == before[0].sequence);
        let labels = |act: &Act| act.as_told.links.iter().map(|link| link.label.clone()).collect::<Vec<_>>();
        assert_eq!(labels(&asked[0]), labels(&before[0]), "it is shown what the first was");
        assert!(!labels(&asked[0]).is_empty());
    }
    let notes = world.notes(id).await;
    let acts: Vec<_> =
        notes.iter().filter(|(what, _)| matches!(what, NoteKind::Acting | NoteKind::Acted)).collect();
    assert_eq!(acts.len(), 2, "it began and ended once: {acts:?}");
}

#[tokio::test]
async fn an_action_is_done_though_its_caller_is_gone_before_it_has_begun() {
    let (Doing { world, alerts, caller, .. }, id) = doing(1).await;
    assert!(alerts.act(caller, id, "restart").now_or_never().is_none());
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.notes(id).await.pop().unwrap().1, "restart succeeded, run r-1");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_stops_waits_for_the_apps_it_calls_and_for_no_playbook() {
    let (Doing { world, actions, alerts, caller }, id) = doing(0).await;
    let calling = alerts.act(caller.clone(), id, "call").await.unwrap();
    let began = tokio::time::Instant::now();
    alerts.end_acts(Duration::from_secs(5)).await;
    assert_eq!(began.elapsed(), Duration::from_secs(5), "no longer than it may");
    let restarting = alerts.act(caller, id, "restart").await.unwrap();
    let waiting = alerts.clone();
    let waiting = tokio::spawn(async move { waiting.end_acts(Duration::from_secs(600)).await });
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(!waiting.is_finished());
    actions.gate.add_permits(1);
    waiting.await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(25));
    let last = world.notes(id).await.pop().unwrap();
    assert_eq!(last.1, "call failed: the service does not answer", "what came of it is kept");
    assert!(calling.ended.await.is_ok());
    actions.gate.add_permits(1);
    assert!(restarting.ended.await.unwrap().succeeded);
}

#[tokio::test(start_paused = true)]
async fn an_app_that_was_cut_off_is_told_of_at_once_where_no_other_host_can_call_it() {
    for is_exclusive in [true, false] {
        let (Doing { mut world, actions, alerts, caller }, id) = doing(0).await;
        let calling = alerts.act(caller.clone(), id, "call").await.unwrap();
        world.store.set_exclusive(is_exclusive);
        Arc::clone(&alerts).resume_acts().await;
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(actions.asked.lock().len(), 1, "this host calls it still");
        world.restart_on(world.store.restart());
        world.store.set_exclusive(is_exclusive);
        drop((calling, alerts));
        let next = Arc::new(FakeActions { asked: Mutex::default(), gate: Semaphore::new(9) });
        let alerts = beside(&world, &next);
        Arc::clone(&alerts).resume_acts().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(next.asked.lock().len(), usize::from(is_exclusive));
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert_eq!(next.asked.lock().len(), 1);
    }
}

#[tokio::test]
async fn links_lead_where_the_monitor_says_and_are_counted() {
    let (Doing { world, alerts, .. }, id) = doing(1).await;
    let links = told_links(&world).await;
    let labels: Vec<&str> = links.iter().map(|(label, _)| label.as_str()).collect();
    assert_eq!(labels, ["Incident", "runbook", "Restart it"], "an action that is not by link has none");
    assert_eq!(links[0].1, format!("https://bell.example/alerts?incident={id}"));
    let (runbook, restart) = (token(&links, "runbook"), token(&links, "Restart it"));
    for _ in 0..3 {
        let followed = alerts.follow(&runbook, true).await.unwrap();
        assert_eq!(followed, Followed::Elsewhere("https://wiki.example/cpu".to_owned()));
    }
    alerts.follow(&runbook, false).await.unwrap();
    let Followed::Action { organisation, incident, offer } = alerts.follow(&restart, true).await.unwrap()
    else {
        panic!("it is an action")
    };
    assert_eq!((organisation, incident.id, offer.clicks), (OURS, id, 1));
    let (offers, links) = alerts.offers(OURS, id).await.unwrap();
    assert_eq!((offers[0].clicks, offers[1].clicks, links[0].clicks), (1, 0, 3));
    assert_eq!(world.notes(id).await.iter().filter(|(what, _)| *what == NoteKind::Acting).count(), 0);
    // By link only what the monitor lets be done so.
    assert!(alerts.act(Actor::Link(OURS), id, "call").await.is_err());
    assert!(alerts.act(Actor::Link(OURS), id, "restart").await.unwrap().ended.await.unwrap().succeeded);
    let last = world.notes(id).await.pop().unwrap();
    assert_eq!(last.1, "restart succeeded, run r-1");
}

#[tokio::test]
async fn a_link_of_a_suspended_organisation_is_refused_and_changes_nothing() {
    let (Doing { world, alerts, .. }, id) = doing(1).await;
    world.access.create_organisation("host", "acme", "UTC").await.unwrap();
    let links = told_links(&world).await;
    world.access.suspend_organisation("host", OURS).await.unwrap();
    for label in ["runbook", "Restart it"] {
        let error = alerts.follow(&token(&links, label), true).await.unwrap_err();
        assert!(matches!(error, AlertError::Access(bellwether_access::AccessError::Suspended)), "{error}");
    }
    world.access.resume_organisation("host", OURS).await.unwrap();
    let (_, links_offered) = alerts.offers(OURS, id).await.unwrap();
    assert_eq!(links_offered[0].clicks, 0);
    alerts.follow(&token(&links, "runbook"), true).await.unwrap();
}

#[tokio::test]
async fn a_link_nobody_gave_or_that_is_not_offered_any_more_leads_nowhere() {
    let (Doing { world, alerts, .. }, _) = doing(1).await;
    let links = told_links(&world).await;
    let restart = token(&links, "Restart it");
    let mut forged = restart.clone().into_bytes();
    let middle = forged.len() / 2;
    forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
    for token in [&*String::from_utf8(forged).unwrap(), "", "a", "!", &restart[1..]] {
        let error = alerts.follow(token, true).await.unwrap_err();
        assert!(matches!(error, AlertError::NotFound { .. }), "{token}: {error}");
        assert!(token.len() < 4 || !error.to_string().contains(token), "a token is not repeated");
    }
    world.alerts.replace_monitor(&world.principal, "cpu", &cpu(json!({})), None).await.unwrap();
    assert!(alerts.follow(&restart, true).await.is_err());
    world.alerts.delete_monitor(&world.principal, "cpu").await.unwrap();
    assert!(alerts.follow(&restart, true).await.is_err());
}

#[tokio::test]
async fn what_is_wrong_with_an_action_or_a_link_is_named() {
    let world = World::new().await;
    for (more, field) in [
        (json!({"actions": [{"name": "Do it", "playbook": "a"}]}), "actions[0].name"),
        (
            json!({"actions": [{"name": "a", "playbook": "a"}], "links": [{"name": "a", "url": "https://a.example"}]}),
            "links[0].name",
        ),
        (json!({"actions": [{"name": "a"}]}), "actions[0]"),
        (json!({"actions": [{"name": "a", "playbook": "a", "app": "b"}]}), "actions[0]"),
        (json!({"actions": [{"name": "a", "app": "b", "by_link": true}]}), "actions[0].by_link"),
        (json!({"actions": [{"name": "a", "playbook": "a", "label": ""}]}), "actions[0].label"),
        (json!({"links": [{"name": "a", "url": "javascript:alert(1)"}]}), "links[0].url"),
        (json!({"links": [{"name": "a", "url": "wiki"}]}), "links[0].url"),
        (json!({"links": vec![json!({"name": "a", "url": "https://a.example"}); 11]}), "links"),
    ] {
        let error = world.alerts.create_monitor(&world.principal, &cpu(more)).await.unwrap_err();
        let AlertError::Document(Faults(faults)) = &error else { panic!("{error}") };
        assert_eq!(faults[0].field, field, "{error}");
    }
}

/// Keeps what incidents did.
#[derive(Default)]
struct Follower(Mutex<Vec<Moved>>);

impl Tellings for Follower {
    fn add(&self, _: &mut Batch, _: &Telling) -> Result<(), AlertError> {
        Ok(())
    }

    fn follows(&self, _: OrganisationId) -> bool {
        true
    }

    fn moved(&self, _: &mut Batch, moved: &Moved) -> Result<(), AlertError> {
        self.0.lock().push(moved.clone());
        Ok(())
    }

    fn committed(&self) {}
}

#[tokio::test]
async fn whoever_follows_incidents_learns_what_they_do_also_where_nobody_is_told() {
    let world = World::new().await;
    let follower = Arc::new(Follower::default());
    let tellings: Vec<Arc<dyn Tellings>> = vec![Arc::new(Outbox), follower.clone(), Arc::new(NoTellings)];
    let alerts = Alerts::idle(Parts {
        store: world.store.clone(),
        access: world.access.clone(),
        figures: world.figures.clone(),
        events: world.events.clone(),
        roles: world.roles.clone(),
        tellings: Arc::new(tellings),
        clock: world.clock.clone(),
        limits: Limits::default(),
        outward: Outward::default(),
    });
    let more = json!({"query": "avg:cpu{*} by {host}", "notify_by": [], "labels": {"team": "web"}});
    world.create(cpu(more)).await;
    let mut minute = 0;
    for values in [[99.0, 5.0], [99.0, 98.0], [5.0, 5.0]] {
        world.figures.put("a", at(minute), values[0]);
        world.figures.put("b", at(minute), values[1]);
        minute += 1;
        world.clock.set(at(minute));
        alerts.evaluate_due(at(minute)).await.unwrap();
        if minute == 1 {
            let id = world.incidents().await[0].id;
            alerts.acknowledge(&world.principal, id).await.unwrap();
            alerts.comment(&world.principal, id, "seen").await.unwrap();
        }
    }
    let moves = std::mem::take(&mut *follower.0.lock());
    let seen: Vec<_> = moves.iter().map(|moved| (moved.event, moved.told)).collect();
    assert_eq!(seen, [(Event::Opened, true), (Event::Updated, false), (Event::Closed, true)]);
    assert!(moves.is_sorted_by(|a, b| a.sequence < b.sequence));
    let notes = world.notes(moves[0].incident.id).await;
    for (moved, what) in moves.iter().zip([NoteKind::Opened, NoteKind::Updated, NoteKind::Closed]) {
        assert_eq!(
            notes[usize::try_from(moved.sequence).unwrap()].0,
            what,
            "the number is of the note that says so"
        );
    }
    let open = &moves[1].as_told.alerts[0];
    assert_eq!((open.series.len(), open.series[0].value), (2, Some(99.0)), "the worst series first");
    assert_eq!(moves[2].incident.closed, Some(at(3)));
}
