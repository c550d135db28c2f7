//! Deleted organisations: everything of them goes, and nothing else.

use std::sync::Arc;

use async_trait::async_trait;
use bellwether_kernel::{ErrorKind, OrganisationId, PageRequest, SeededRandomness};
use bellwether_store::{Batch, Crash, Erase, Row, Space, Store, StoreError};
use parking_lot::Mutex;

use super::{Fixture, START, clock, host_key, key, seconds};
use crate::{
    AT_REST, Access, AccessError, AuditFilter, AuditScope, AuthFailure, Begun, Idempotency, Role,
    StoredAnswer, rows,
};

/// Gives an organisation something of everything that this crate keeps; a token of it.
async fn fill(fixture: &Fixture, id: OrganisationId) -> String {
    let access = &fixture.access;
    let created = access.create_key("host", id, key("admin", Role::Admin)).await.unwrap();
    access.create_key("host", id, key("reader", Role::Read)).await.unwrap();
    access.authenticate_token(&created.token).unwrap();
    access.flush_last_uses().await.unwrap();
    let principal = access.principal(&created.key.id).unwrap();
    access.put_secret(&principal, "smtp", "hush", Vec::new()).await.unwrap();
    let fingerprint = Idempotency::fingerprint(&[b"POST"]);
    let Begun::New(ticket) = access.idempotency().lookup(Some(id), "one", fingerprint).await.unwrap() else {
        panic!("it is new");
    };
    let answer = StoredAnswer { status: 200, content_type: String::new(), body: "done".into() };
    let (mut batch, beside) = ticket.finish_beside(&answer).unwrap();
    batch.put(beside.number(1), "more of the answer");
    fixture.store.commit(batch).await.unwrap();
    created.token
}

/// Two organisations with the same, the first suspended.
async fn two(fixture: &Fixture) -> (OrganisationId, OrganisationId, String) {
    let access = &fixture.access;
    let gone = access.create_organisation("host", "gone", "UTC").await.unwrap().id;
    let stays = access.create_organisation("host", "stays", "UTC").await.unwrap().id;
    let token = fill(fixture, gone).await;
    fill(fixture, stays).await;
    access.suspend_organisation("host", gone).await.unwrap();
    (gone, stays, token)
}

fn rest(fixture: &Fixture) {
    use bellwether_kernel::Clock as _;
    fixture.clock.set(fixture.clock.now().saturating_add(AT_REST));
}

#[tokio::test]
async fn an_organisation_is_deleted_only_while_it_is_suspended_and_then_not_changed_any_more() {
    let fixture = Fixture::new().await;
    let access = &fixture.access;
    let id = access.create_organisation("host", "acme", "UTC").await.unwrap().id;
    let refused = access.delete_organisation("host", id).await.unwrap_err();
    assert!(matches!(&refused, AccessError::Refused(why) if why.contains("suspend it first")), "{refused}");
    let unknown = access.delete_organisation("host", OrganisationId(9)).await;
    assert!(matches!(unknown, Err(AccessError::Unknown { .. })));
    access.suspend_organisation("host", id).await.unwrap();
    assert!(!access.is_deleted(id));
    let deleting = access.delete_organisation("host", id).await.unwrap();
    assert_eq!(deleting.deleting, Some(seconds(START)));
    fixture.clock.set(seconds(START + 60));
    assert_eq!(access.delete_organisation("host", id).await.unwrap(), deleting, "it is since the first time");
    for fixture in [&fixture, &fixture.beside(7).await] {
        let access = &fixture.access;
        assert!(access.is_deleted(id) && access.is_suspended(id));
        assert_eq!(access.organisation_named("acme").unwrap(), deleting);
        let is_refused = |done: Result<(), AccessError>| match done {
            Err(AccessError::Refused(why)) => assert!(why.contains("is being deleted"), "{why}"),
            done => panic!("{done:?}"),
        };
        is_refused(access.resume_organisation("host", id).await.map(drop));
        is_refused(access.set_time_zone("host", id, "Europe/Vienna").await.map(drop));
        is_refused(access.create_key("host", id, key("late", Role::Admin)).await.map(drop));
        assert_eq!(access.suspend_organisation("host", id).await.unwrap(), deleting, "it is already");
        is_refused(access.create_organisation("host", "acme", "UTC").await.map(drop));
    }
}

#[tokio::test]
async fn nothing_of_a_deleted_organisation_is_left_and_the_others_rows_are_as_they_were() {
    let fixture = Fixture::new().await;
    let access = &fixture.access;
    let (gone, stays, token) = two(&fixture).await;
    // Until it was deleted: what is told in the host's log is behind that.
    let before = fixture.store.rows().await.unwrap();
    access.delete_organisation("host", gone).await.unwrap();
    assert_eq!(access.erase_deleted(&[]).await.unwrap(), 0, "somebody may be at work for it still");
    rest(&fixture);
    assert_eq!(access.erase_deleted(&[]).await.unwrap(), 1);
    assert_eq!(access.erase_deleted(&[]).await.unwrap(), 0);
    let after = fixture.store.rows().await.unwrap();
    for (key, value) in &after {
        let known = before.contains(&(key.clone(), value.clone()));
        let told = key.space() == Some(Space::Audit) && key.organisation() == Some(0);
        assert!(known || told || *key == rows::organisation_gone(gone), "{key:?}");
        assert!(key.organisation() != Some(gone.0) || *key == rows::organisation_gone(gone), "{key:?}");
    }
    let count = |rows: &[Row], space| rows.iter().filter(|(key, _)| key.space() == Some(space)).count();
    for space in [
        Space::Organisation,
        Space::OrganisationName,
        Space::AccessKey,
        Space::AccessKeyUse,
        Space::Secret,
        Space::Idempotency,
        Space::IdempotencyBeside,
    ] {
        assert_eq!(count(&before, space), 2 * count(&after, space), "{space:?}");
    }
    for fixture in [&fixture, &fixture.beside(7).await] {
        let access = &fixture.access;
        assert_eq!(access.authenticate_token(&token).unwrap_err(), AuthFailure::Unknown);
        assert!(access.is_deleted(gone) && access.is_suspended(gone) && !access.is_deleted(stays));
        assert!(matches!(access.organisation(gone), Err(AccessError::Unknown { .. })));
        assert_eq!(access.organisations(&PageRequest::first(9)).unwrap().items.len(), 1);
        let page = access.audit_log(AuditScope::Host, &AuditFilter::default(), &PageRequest::first(2)).await;
        let told: Vec<_> =
            page.unwrap().items.into_iter().map(|entry| (entry.action, entry.target)).collect();
        let expected = ["organisation.deleted", "organisation.delete"];
        assert_eq!(told, expected.map(|action| (action.to_owned(), "gone".to_owned())));
        assert_eq!(fixture.store.unread().count(), 0);
    }
}

#[tokio::test]
async fn a_name_is_anothers_once_its_organisation_is_gone_and_an_id_never() {
    let fixture = Fixture::new().await;
    let access = &fixture.access;
    let last = access.create_organisation("host", "first", "UTC").await.unwrap().id;
    let (gone, ..) = two(&fixture).await;
    access.suspend_organisation("host", OrganisationId(3)).await.unwrap();
    for id in [gone, OrganisationId(3)] {
        access.delete_organisation("host", id).await.unwrap();
    }
    let early = access.create_organisation("host", "gone", "UTC").await.unwrap_err();
    assert_eq!(early.kind(), ErrorKind::Conflict);
    assert!(early.to_string().contains("is being deleted: its name is free once it is gone"), "{early}");
    rest(&fixture);
    assert_eq!(access.erase_deleted(&[]).await.unwrap(), 2);
    assert_eq!(access.create_organisation("host", "gone", "UTC").await.unwrap().id, OrganisationId(4));
    let named = access.organisation_named("gone").unwrap();
    assert_eq!((named.id, named.suspended), (OrganisationId(4), None));
    assert!(access.keys(Some(named.id), &PageRequest::first(9)).unwrap().items.is_empty());
    access.suspend_organisation("host", named.id).await.unwrap();
    access.delete_organisation("host", named.id).await.unwrap();
    rest(&fixture);
    assert_eq!(access.erase_deleted(&[]).await.unwrap(), 1);
    // Also where the count of those that were made does not read.
    let mut batch = Batch::new();
    batch.put(rows::organisation_counter(), "?");
    fixture.store.commit(batch).await.unwrap();
    assert_eq!(access.create_organisation("host", "second", "UTC").await.unwrap().id, OrganisationId(5));
    assert_eq!(access.organisation_named("first").unwrap().id, last);
}

#[tokio::test]
async fn what_a_crash_cut_off_of_a_deletion_the_next_life_goes_on_with() {
    let mut commits = 0;
    loop {
        commits += 1;
        let fixture = Fixture::new().await;
        let (gone, ..) = two(&fixture).await;
        fixture.access.delete_organisation("host", gone).await.unwrap();
        rest(&fixture);
        let store = Arc::new(fixture.store.restart_with_crashes(Crash::After(commits)));
        let open = |store, seed| {
            let randomness = Arc::new(SeededRandomness::new(seed));
            Access::open(store, fixture.clock.clone(), randomness, host_key())
        };
        let done = open(store.clone(), 2).await.unwrap().erase_deleted(&[]).await;
        let store = Arc::new(store.restart());
        let access = open(store.clone(), 3).await.unwrap();
        if done.is_ok() {
            assert!(commits > 6, "{commits}");
            return;
        }
        let is_gone = matches!(access.organisation(gone), Err(AccessError::Unknown { .. }));
        assert_eq!(access.erase_deleted(&[]).await.unwrap(), usize::from(!is_gone));
        let own: Vec<_> = store
            .rows()
            .await
            .unwrap()
            .into_iter()
            .filter(|(key, _)| key.organisation() == Some(gone.0))
            .collect();
        assert_eq!(own.len(), 1, "after {commits} commits: {own:?}");
        assert_eq!(store.unread().count(), 0);
    }
}

/// Finds something as often as it is told to, and fails as often.
struct Keeper(Mutex<Vec<Result<u64, StoreError>>>, Mutex<Vec<OrganisationId>>);

#[async_trait]
impl Erase for Keeper {
    async fn erase(&self, organisation: OrganisationId) -> Result<u64, StoreError> {
        self.1.lock().push(organisation);
        self.0.lock().pop().unwrap_or(Ok(0))
    }
}

#[tokio::test]
async fn an_organisation_is_gone_only_once_nobody_finds_anything_of_it() {
    let fixture = Fixture::new().await;
    let (gone, ..) = two(&fixture).await;
    fixture.access.delete_organisation("host", gone).await.unwrap();
    rest(&fixture);
    let answers = vec![Ok(0), Ok(1), Ok(1), Ok(1), Ok(1), Ok(1), Err(StoreError::Unavailable("busy"))];
    let keeper = Arc::new(Keeper(Mutex::new(answers), Mutex::default()));
    let keepers = [Arc::clone(&keeper) as Arc<dyn Erase>];
    assert!(fixture.access.erase_deleted(&keepers).await.is_err());
    assert_eq!(fixture.access.erase_deleted(&keepers).await.unwrap(), 0, "there is more each time");
    fixture.access.organisation(gone).unwrap();
    assert_eq!(fixture.access.erase_deleted(&keepers).await.unwrap(), 1);
    assert_eq!(keeper.1.lock()[..], [gone; 7]);
}

#[tokio::test]
async fn on_a_full_disk_what_is_an_organisations_own_goes_and_it_stays_until_the_rest_has_room() {
    let fixture = Fixture::new().await;
    let (gone, ..) = two(&fixture).await;
    fixture.access.delete_organisation("host", gone).await.unwrap();
    rest(&fixture);
    let full = StoreError::DiskFull { free: 0, needed: 1 };
    let keeper: Arc<dyn Erase> = Arc::new(Keeper(Mutex::new(vec![Err(full)]), Mutex::default()));
    fixture.store.set_disk_full(true);
    assert!(fixture.access.erase_deleted(std::slice::from_ref(&keeper)).await.is_err());
    let rows = fixture.store.rows().await.unwrap();
    let own: Vec<_> = rows.iter().filter(|(key, _)| key.organisation() == Some(gone.0)).collect();
    assert_eq!(own.len(), 1, "its own row: {own:?}");
    fixture.access.organisation(gone).unwrap();
    fixture.store.set_disk_full(false);
    assert_eq!(fixture.access.erase_deleted(&[keeper]).await.unwrap(), 1);
}

#[tokio::test]
async fn a_passive_host_erases_nothing() {
    let fixture = Fixture::open(Arc::default(), Arc::new(clock()), 1).await.unwrap();
    let (gone, ..) = two(&fixture).await;
    fixture.access.delete_organisation("host", gone).await.unwrap();
    rest(&fixture);
    fixture.access.become_passive();
    assert_eq!(fixture.access.erase_deleted(&[]).await.unwrap(), 0);
    fixture.access.organisation(gone).unwrap();
}
