//! Suspended organisations: refused until they are resumed, and nothing else.

use bellwether_kernel::OrganisationId;
use bellwether_store::{Batch, Store};
use serde::Serialize;

use super::{Fixture, START, key, seconds};
use crate::{AccessError, AuditFilter, AuditScope, AuthFailure, Authentication, RawRequest, Role, rows};

/// What a bearer of `token` is told where a dialect is served.
fn by_dialect(fixture: &Fixture, token: &str) -> Result<OrganisationId, AuthFailure> {
    let mut headers = http::HeaderMap::new();
    headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
    let scheme = Authentication::Authorization("Bearer".into());
    let received = seconds(START);
    let request =
        RawRequest { method: &http::Method::GET, target: "/", headers: &headers, body: &[], received };
    fixture.access.authenticate(&[vec![scheme]], &request).map(|principal| principal.organisation)
}

#[tokio::test]
async fn every_key_of_a_suspended_organisation_is_refused_until_it_is_resumed() {
    let mut fixture = Fixture::new().await;
    let operator = fixture.access.create_operator_key("host", "first", None).await.unwrap();
    let actor = operator.key.id.as_str();
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for (name, tokens) in [("acme", &mut own), ("other", &mut others)] {
        let id = fixture.access.create_organisation(actor, name, "UTC").await.unwrap().id;
        for role in [Role::Read, Role::Write, Role::Admin] {
            tokens.push(fixture.access.create_key(actor, id, key("k", role)).await.unwrap().token);
        }
    }
    let (id, other) = (OrganisationId(1), OrganisationId(2));
    let told = fixture.access.suspensions();
    let suspended = fixture.access.suspend_organisation(actor, id).await.unwrap();
    assert_eq!(suspended.suspended, Some(seconds(START)));
    assert!(told.has_changed().unwrap());
    fixture.clock.set(seconds(START + 60));
    let again = fixture.access.suspend_organisation(actor, id).await.unwrap();
    assert_eq!(again, suspended, "it is since the first time");
    // A key made meanwhile is refused like the others, and a wrong secret is not told why.
    own.push(fixture.access.create_key(actor, id, key("late", Role::Admin)).await.unwrap().token);
    for _ in 0..2 {
        for token in &own {
            assert_eq!(fixture.access.authenticate_token(token).unwrap_err(), AuthFailure::Suspended);
            assert_eq!(by_dialect(&fixture, token).unwrap_err(), AuthFailure::Suspended);
        }
        // A token's secret stands behind `bw_`, an id of 16 characters and `_`.
        let wrong = format!("{}{}", &own[0][..20], &others[0][20..]);
        assert_eq!(fixture.access.authenticate_token(&wrong).unwrap_err(), AuthFailure::Unknown);
        assert!(matches!(fixture.access.check_not_suspended(id), Err(AccessError::Suspended)));
        for token in &others {
            assert_eq!(by_dialect(&fixture, token), Ok(other));
        }
        fixture.access.authenticate_token(&operator.token).unwrap();
        assert!(!fixture.access.is_suspended(other));
        fixture = fixture.restart().await;
    }
    let told = fixture.access.suspensions();
    assert_eq!(fixture.access.resume_organisation(actor, id).await.unwrap().suspended, None);
    assert!(told.has_changed().unwrap());
    for token in &own {
        assert_eq!(by_dialect(&fixture, token), Ok(id));
    }
    // Both logs say it once, whatever was asked in vain.
    fixture.access.resume_organisation(actor, id).await.unwrap();
    let filter = AuditFilter { action: Some("organisation".into()), ..AuditFilter::default() };
    for (scope, told) in [
        (AuditScope::Host, &["resume", "suspend", "create", "create"][..]),
        (AuditScope::Organisation(id), &["resume", "suspend"]),
    ] {
        let page = bellwether_kernel::PageRequest::first(9);
        let entries = fixture.access.audit_log(scope, &filter, &page).await.unwrap().items;
        let actions: Vec<_> =
            entries.iter().map(|entry| entry.action.trim_start_matches("organisation.")).collect();
        assert_eq!(actions, told, "{scope:?}");
    }
    let unknown = fixture.access.suspend_organisation(actor, OrganisationId(9)).await;
    assert!(matches!(unknown, Err(AccessError::Unknown { .. })));
}

#[tokio::test]
async fn what_works_at_something_already_has_its_principal_still() {
    let fixture = Fixture::new().await;
    let id = fixture.access.create_organisation("host", "acme", "UTC").await.unwrap().id;
    let created = fixture.access.create_key("host", id, key("k", Role::Write)).await.unwrap();
    fixture.access.suspend_organisation("host", id).await.unwrap();
    assert_eq!(fixture.access.principal(&created.key.id).unwrap().organisation, id);
}

#[tokio::test]
async fn an_organisation_of_an_earlier_version_is_neither_suspended_nor_deleted() {
    #[derive(Serialize)]
    struct First<'a>(OrganisationId, &'a str, &'a str, bellwether_kernel::Timestamp);
    #[derive(Serialize)]
    struct Second<'a>(First<'a>, Option<bellwether_kernel::Timestamp>);
    let fixture = Fixture::new().await;
    let acme = fixture.access.create_organisation("host", "acme", "UTC").await.unwrap();
    let other = fixture.access.create_organisation("host", "other", "UTC").await.unwrap();
    let first = First(acme.id, "acme", "UTC", acme.created);
    let second = Second(First(other.id, "other", "UTC", other.created), Some(seconds(START)));
    let mut batch = Batch::new();
    batch.put(rows::organisation(acme.id), postcard::to_extend(&first, vec![1]).unwrap());
    batch.put(rows::organisation(other.id), postcard::to_extend(&second, vec![2]).unwrap());
    fixture.store.commit(batch).await.unwrap();
    let fixture = fixture.restart().await;
    assert_eq!(fixture.access.organisation(acme.id).unwrap(), acme);
    let suspended = fixture.access.organisation(other.id).unwrap();
    assert_eq!((suspended.suspended, suspended.deleting), (Some(seconds(START)), None));
    assert!(fixture.access.suspend_organisation("host", acme.id).await.unwrap().suspended.is_some());
}

#[tokio::test]
async fn on_a_passive_host_nothing_begins_and_keys_work() {
    let fixture = Fixture::new().await;
    let id = fixture.access.create_organisation("host", "acme", "UTC").await.unwrap().id;
    assert!(!fixture.access.is_suspended(id));
    fixture.access.become_passive();
    assert!(fixture.access.is_suspended(id));
    fixture.access.check_not_suspended(id).unwrap();
}
