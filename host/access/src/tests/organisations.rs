//! Organisations: names, time zones, one of each.

use bellwether_kernel::{Cursor, OrganisationId, PageRequest};
use bellwether_store::MemoryStore;

use super::{Fixture, key};
use crate::{AccessError, HostKey, Role};

#[tokio::test]
async fn organisations_are_counted_from_one_and_listed_by_id() {
    let fixture = Fixture::new().await;
    for name in ["c", "b", "a"] {
        fixture.access.create_organisation("host", name, "UTC").await.unwrap();
    }
    let mut page = PageRequest::first(2);
    let first = fixture.access.organisations(&page).unwrap();
    assert_eq!(
        first.items.iter().map(|o| (o.id.0, o.name.as_str())).collect::<Vec<_>>(),
        [(1, "c"), (2, "b")]
    );
    page.cursor = first.next;
    let second = fixture.access.organisations(&page).unwrap();
    assert_eq!(second.items.iter().map(|o| o.name.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(second.next, None);
    assert_eq!(fixture.access.organisation_named("b").unwrap().id, OrganisationId(2));
    assert!(
        matches!(fixture.access.organisation_named("B"), Err(AccessError::Unknown { name, .. }) if name == "B")
    );
    page.cursor = Some(Cursor(vec![1, 2, 3]));
    assert!(matches!(fixture.access.organisations(&page), Err(AccessError::Invalid(_))));
}

#[tokio::test]
async fn a_wrong_name_or_time_zone_is_named() {
    let fixture = Fixture::new().await;
    let longest = "a".repeat(64);
    for (name, zone, field) in [
        ("", "UTC", Some("name")),
        ("Acme", "UTC", Some("name")),
        ("acme ltd", "UTC", Some("name")),
        ("é", "UTC", Some("name")),
        (&"a".repeat(65), "UTC", Some("name")),
        ("acme", "", Some("time_zone")),
        ("acme", "Mars/Olympus", Some("time_zone")),
        ("acme", "+01:00", Some("time_zone")),
        (longest.as_str(), "America/New_York", None),
        ("0-9", "UTC", None),
    ] {
        let wrong = match fixture.access.create_organisation("host", name, zone).await {
            Ok(made) => {
                assert_eq!((made.name.as_str(), made.time_zone.as_str()), (name, zone));
                None
            }
            Err(AccessError::Invalid(error)) => Some(error.field),
            Err(error) => panic!("{name} {zone}: {error}"),
        };
        assert_eq!(wrong.as_deref(), field, "{name:?} {zone:?}");
    }
}

#[tokio::test]
async fn of_two_that_make_the_same_organisation_one_wins() {
    // In one process, and in two that do not see each other's memory.
    let fixture = Fixture::new().await;
    let beside = fixture.beside(9).await;
    for (name, other) in [("one", &fixture), ("two", &beside)] {
        let (a, b) = tokio::join!(
            fixture.access.create_organisation("host", name, "UTC"),
            other.access.create_organisation("host", name, "UTC"),
        );
        let results = [a, b];
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
        let exists =
            |error: &AccessError| matches!(error, AccessError::Exists { name: taken, .. } if taken == name);
        assert!(results.iter().filter_map(|result| result.as_ref().err()).all(exists), "{results:?}");
    }
}

#[tokio::test]
async fn two_processes_give_two_organisations_two_ids() {
    let fixture = Fixture::new().await;
    let beside = fixture.beside(9).await;
    let (a, b) = tokio::join!(
        fixture.access.create_organisation("host", "a", "UTC"),
        beside.access.create_organisation("host", "b", "UTC"),
    );
    assert_ne!(a.unwrap().id, b.unwrap().id);
}

#[tokio::test]
async fn a_new_time_zone_reaches_every_principal_at_once() {
    let fixture = Fixture::new().await;
    let acme = fixture.access.create_organisation("host", "acme", "utc").await.unwrap();
    assert_eq!(acme.time_zone, "UTC", "as the database spells it");
    let other = fixture.access.create_organisation("host", "other", "UTC").await.unwrap();
    let created = fixture.access.create_key("host", acme.id, key("ci", Role::Write)).await.unwrap();
    let others = fixture.access.create_key("host", other.id, key("ci", Role::Write)).await.unwrap();
    let changed = fixture.access.set_time_zone("host", acme.id, "europe/berlin").await.unwrap();
    assert_eq!(changed.time_zone, "Europe/Berlin");
    for fixture in [&fixture, &fixture.restart().await] {
        assert_eq!(fixture.access.principal(&created.key.id).unwrap().time_zone, "Europe/Berlin");
        assert_eq!(fixture.access.principal(&others.key.id).unwrap().time_zone, "UTC");
        assert_eq!(fixture.access.organisation(acme.id).unwrap(), changed);
    }
    let unknown = fixture.access.set_time_zone("host", OrganisationId(9), "UTC").await;
    assert!(matches!(unknown, Err(AccessError::Unknown { .. })));
}

#[tokio::test]
async fn a_store_of_another_host_key_is_refused_at_once() {
    let store = MemoryStore::new();
    let fixture = Fixture::on(store, 1).await;
    let clock = fixture.clock.clone();
    let randomness = std::sync::Arc::new(bellwether_kernel::SeededRandomness::new(4));
    let wrong = HostKey::from_hex(&"a5".repeat(32)).unwrap();
    let opened = crate::Access::open(fixture.store.clone(), clock, randomness, wrong).await;
    assert!(matches!(opened, Err(AccessError::WrongHostKey)));
    // The same is told of a store that is not opened.
    let row = bellwether_store::Store::get(&*fixture.store, &HostKey::check_row()).await.unwrap().unwrap();
    assert!(super::host_key().opens(&row).unwrap());
    assert!(!HostKey::from_hex(&"a5".repeat(32)).unwrap().opens(&row).unwrap());
    fixture.restart().await;
}
