//! Keys: made, listed, revoked, expired, kept.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use bellwether_kernel::{Cursor, ErrorKind, KeyId, OrganisationId, PageRequest, SeededRandomness};
use bellwether_store::{Batch, Crash, Direction, Key, Space, Store as _, encode};

use super::{Fixture, START, key, seconds};
use crate::rows::{self, StoredKey};
use crate::token::key_id_bytes;
use crate::{Access, AccessError, AuthFailure, Caller, NewKey, Role};

#[tokio::test]
async fn a_token_belongs_to_its_key_and_to_nobody_else() {
    let fixture = Fixture::new().await;
    let access = &fixture.access;
    assert!(!access.has_operator());
    let operator = access.create_operator_key("host", "first", None).await.unwrap();
    assert!(access.has_operator());
    let acme = access.create_organisation("host", "acme", "UTC").await.unwrap();
    let ci = access.create_key("host", acme.id, key("ci", Role::Write)).await.unwrap();

    match access.authenticate_token(&operator.token).unwrap() {
        Caller::Operator(found) => {
            assert_eq!((&found.key, found.key_name.as_str()), (&operator.key.id, "first"));
        }
        Caller::Principal(found) => panic!("{found:?}"),
    }
    match access.authenticate_token(&ci.token).unwrap() {
        Caller::Principal(found) => {
            assert_eq!((found.organisation, found.organisation_name.as_str()), (acme.id, "acme"));
            assert_eq!((&found.key, found.key_name.as_str(), found.role), (&ci.key.id, "ci", Role::Write));
        }
        Caller::Operator(found) => panic!("{found:?}"),
    }
    let crossed = format!("{}{}", &ci.token[..20], &operator.token[20..]);
    assert_eq!(access.authenticate_token(&crossed).unwrap_err(), AuthFailure::Unknown);
}

#[tokio::test]
async fn a_wrong_key_is_named() {
    let fixture = Fixture::new().await;
    let acme = fixture.access.create_organisation("host", "acme", "UTC").await.unwrap();
    let wanted = |name: &str, expires| NewKey { expires, ..key(name, Role::Read) };
    for (wanted, field) in [
        (wanted("", None), Some("name")),
        (wanted(&"x".repeat(101), None), Some("name")),
        (wanted("a\nb", None), Some("name")),
        (wanted("ci", Some(seconds(START - 1))), Some("expires")),
        (wanted("ci", Some(seconds(START))), Some("expires")),
        (wanted(&"é".repeat(100), Some(seconds(START + 1))), None),
    ] {
        let name = wanted.name.clone();
        let wrong = match fixture.access.create_key("host", acme.id, wanted).await {
            Ok(_) => None,
            Err(AccessError::Invalid(error)) => Some(error.field),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(wrong.as_deref(), field, "{name:?}");
    }
    let nowhere = fixture.access.create_key("host", OrganisationId(9), key("ci", Role::Read)).await;
    assert!(matches!(nowhere, Err(AccessError::Unknown { what: "organisation", .. })));
}

#[tokio::test]
async fn an_organisation_sees_its_own_keys_newest_first() {
    let fixture = Fixture::new().await;
    let access = &fixture.access;
    let acme = access.create_organisation("host", "acme", "UTC").await.unwrap().id;
    let other = access.create_organisation("host", "other", "UTC").await.unwrap().id;
    for number in 0..5 {
        fixture.clock.advance(1);
        access.create_key("host", acme, key(&format!("acme {number}"), Role::Read)).await.unwrap();
        access.create_key("host", other, key(&format!("other {number}"), Role::Read)).await.unwrap();
        access.create_operator_key("host", &format!("operator {number}"), None).await.unwrap();
    }
    for (owner, word) in [(Some(acme), "acme"), (Some(other), "other"), (None, "operator")] {
        let mut names = Vec::new();
        let mut page = PageRequest::first(2);
        loop {
            let keys = access.keys(owner, &page).unwrap();
            names.extend(keys.items.into_iter().map(|key| key.name));
            page.cursor = keys.next;
            if page.cursor.is_none() {
                break;
            }
        }
        assert_eq!(names, [4, 3, 2, 1, 0].map(|number| format!("{word} {number}")));
    }
    let wrong = PageRequest { limit: 1, cursor: Some(Cursor(vec![7; 5])) };
    assert!(matches!(access.keys(None, &wrong), Err(AccessError::Invalid(_))));
    let unknown = access.keys(Some(OrganisationId(9)), &PageRequest::first(1));
    assert!(matches!(unknown, Err(AccessError::Unknown { .. })));
}

#[tokio::test]
async fn a_key_is_read_and_revoked_by_its_owner_alone() {
    let fixture = Fixture::new().await;
    let access = &fixture.access;
    let acme = access.create_organisation("host", "acme", "UTC").await.unwrap().id;
    let other = access.create_organisation("host", "other", "UTC").await.unwrap().id;
    let id = access.create_key("host", acme, key("ci", Role::Read)).await.unwrap().key.id;
    for owner in [Some(other), None] {
        assert!(matches!(access.key(owner, &id), Err(AccessError::Unknown { what: "key", .. })), "{owner:?}");
        assert!(
            matches!(access.revoke_key("x", owner, &id).await, Err(AccessError::Unknown { .. })),
            "{owner:?}"
        );
    }
    assert_eq!(access.key(Some(acme), &id).unwrap().revoked, None);
    let nobody = KeyId::random(&SeededRandomness::new(99));
    assert!(matches!(access.key(Some(acme), &nobody), Err(AccessError::Unknown { .. })));
}

#[tokio::test]
async fn a_revoked_key_stops_at_once_and_stays_so() {
    let fixture = Fixture::new().await;
    let acme = fixture.access.create_organisation("host", "acme", "UTC").await.unwrap().id;
    let ci = fixture.access.create_key("host", acme, key("ci", Role::Write)).await.unwrap();
    fixture.access.authenticate_token(&ci.token).unwrap();
    fixture.clock.advance(5);
    let revoked = fixture.access.revoke_key("host", Some(acme), &ci.key.id).await.unwrap();
    assert_eq!(revoked.revoked.unwrap().as_milliseconds(), START * 1000 + 5);
    fixture.clock.advance(5);
    assert_eq!(fixture.access.revoke_key("host", Some(acme), &ci.key.id).await.unwrap(), revoked, "again");
    for fixture in [&fixture, &fixture.restart().await] {
        assert_eq!(fixture.access.authenticate_token(&ci.token).unwrap_err(), AuthFailure::Expired);
        assert_eq!(fixture.access.principal(&ci.key.id).unwrap_err(), AuthFailure::Expired);
        let guess = format!("{}{}", &ci.token[..20], "A".repeat(43));
        let told = fixture.access.authenticate_token(&guess).unwrap_err();
        assert_eq!(told, AuthFailure::Unknown, "only who has the secret learns that the key was revoked");
    }
}

#[tokio::test]
async fn an_expired_key_stops_at_that_very_millisecond() {
    let fixture = Fixture::new().await;
    let acme = fixture.access.create_organisation("host", "acme", "UTC").await.unwrap().id;
    let wanted = NewKey { expires: Some(seconds(START + 60)), ..key("ci", Role::Write) };
    let ci = fixture.access.create_key("host", acme, wanted).await.unwrap();
    fixture.clock.advance(59_999);
    fixture.access.authenticate_token(&ci.token).unwrap();
    fixture.access.principal(&ci.key.id).unwrap();
    fixture.clock.advance(1);
    assert_eq!(fixture.access.authenticate_token(&ci.token).unwrap_err(), AuthFailure::Expired);
    assert_eq!(fixture.access.principal(&ci.key.id).unwrap_err(), AuthFailure::Expired);
}

#[tokio::test]
async fn the_last_in_charge_cannot_be_revoked() {
    let fixture = Fixture::new().await;
    let access = &fixture.access;
    let acme = access.create_organisation("host", "acme", "UTC").await.unwrap().id;
    let other = access.create_organisation("host", "other", "UTC").await.unwrap().id;
    access.create_key("host", other, key("another organisation's", Role::Admin)).await.unwrap();
    let admin = access.create_key("host", acme, key("admin", Role::Admin)).await.unwrap().key.id;
    let writer = access.create_key("host", acme, key("writer", Role::Write)).await.unwrap().key.id;
    let operator = access.create_operator_key("host", "operator", None).await.unwrap().key.id;
    access.revoke_key("host", Some(acme), &writer).await.unwrap();
    for (owner, id) in [(Some(acme), &admin), (None, &operator)] {
        assert!(
            matches!(access.revoke_key("host", owner, id).await, Err(AccessError::Refused(_))),
            "{owner:?}"
        );
        assert_eq!(access.key(owner, id).unwrap().revoked, None);
    }

    // One that ends sooner does not stand in: in a second nobody would be in charge.
    let expiring = NewKey { expires: Some(seconds(START + 1)), ..key("short", Role::Admin) };
    let short = access.create_key("host", acme, expiring).await.unwrap().key.id;
    let refused = access.revoke_key("host", Some(acme), &admin).await.unwrap_err().to_string();
    assert!(refused.ends_with("when \"short\" expires: make one that lasts first"), "{refused}");
    // One that no longer works does not count, and can itself be revoked.
    fixture.clock.advance(1000);
    assert!(matches!(access.revoke_key("host", Some(acme), &admin).await, Err(AccessError::Refused(_))));
    access.revoke_key("host", Some(acme), &short).await.unwrap();

    // With two, each revoking the other, one stays.
    let second = access.create_key("host", acme, key("second", Role::Admin)).await.unwrap().key.id;
    let (a, b) = tokio::join!(
        access.revoke_key("host", Some(acme), &admin),
        access.revoke_key("host", Some(acme), &second),
    );
    assert_eq!([a.is_ok(), b.is_ok()].iter().filter(|done| **done).count(), 1);
}

#[tokio::test]
async fn a_revocation_goes_through_though_its_caller_hangs_up() {
    let fixture = Fixture::new().await;
    let acme = fixture.access.create_organisation("host", "acme", "UTC").await.unwrap().id;
    let ci = fixture.access.create_key("host", acme, key("ci", Role::Write)).await.unwrap();
    {
        let mut call = pin!(fixture.access.revoke_key("host", Some(acme), &ci.key.id));
        std::future::poll_fn(|context| {
            assert!(call.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
    }
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(fixture.access.authenticate_token(&ci.token).unwrap_err(), AuthFailure::Expired);
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let fixture = Fixture::new().await;
    let acme = fixture.access.create_organisation("host", "acme", "Europe/Paris").await.unwrap().id;
    let operator =
        fixture.access.create_operator_key("host", "op", Some(seconds(START + 999))).await.unwrap();
    let signer = NewKey { signing: true, ..key("signer", Role::Admin) };
    let signer = fixture.access.create_key("host", acme, signer).await.unwrap();
    let before =
        (fixture.access.key(None, &operator.key.id).unwrap(), fixture.access.key(Some(acme), &signer.key.id));

    let after = fixture.restart().await;
    assert_eq!(after.access.key(None, &operator.key.id).unwrap(), before.0);
    assert_eq!(after.access.key(Some(acme), &signer.key.id).unwrap(), before.1.unwrap());
    assert!(after.access.has_operator());
    after.access.authenticate_token(&operator.token).unwrap();
    let Caller::Principal(principal) = after.access.authenticate_token(&signer.token).unwrap() else {
        panic!("not a principal")
    };
    assert_eq!((principal.organisation, principal.role), (acme, Role::Admin));
    assert_eq!(principal.time_zone, "Europe/Paris");
    let next = after.access.create_organisation("host", "next", "UTC").await.unwrap();
    assert_eq!(next.id, OrganisationId(2), "ids go on where they were");
}

#[tokio::test]
async fn last_uses_are_to_the_minute_and_never_go_back() {
    let fixture = Fixture::new().await;
    let acme = fixture.access.create_organisation("host", "acme", "UTC").await.unwrap().id;
    let ci = fixture.access.create_key("host", acme, key("ci", Role::Write)).await.unwrap();
    let id = &ci.key.id;
    let last = |fixture: &Fixture| {
        fixture.access.key(Some(acme), id).unwrap().last_used.map(|time| time.to_string())
    };
    assert_eq!(last(&fixture), None);
    let wrong = format!("{}{}", &ci.token[..20], "A".repeat(43));
    fixture.access.authenticate_token(&wrong).unwrap_err();
    assert_eq!(last(&fixture), None, "a refused token is no use");
    fixture.access.authenticate_token(&ci.token).unwrap();
    assert_eq!(last(&fixture).as_deref(), Some("2023-11-14T22:13:20Z"), "not before it was made");

    let beside = fixture.beside(5).await;
    fixture.clock.advance(60_000);
    fixture.access.authenticate_token(&ci.token).unwrap();
    fixture.access.flush_last_uses().await.unwrap();
    fixture.clock.advance(-60_000);
    beside.access.authenticate_token(&ci.token).unwrap();
    beside.access.flush_last_uses().await.unwrap();
    let commits = |fixture: &Fixture| bellwether_store::Store::health(&*fixture.store).commits;
    let before = commits(&fixture);
    fixture.access.flush_last_uses().await.unwrap();
    assert_eq!(commits(&fixture), before, "there was nothing to write");
    assert_eq!(last(&fixture.restart().await).as_deref(), Some("2023-11-14T22:14:00Z"));
}

#[tokio::test]
async fn a_crash_keeps_what_was_acknowledged_and_halves_nothing() {
    // Commits: 1 the host key check, 2 the organisation, 3 the key, 4 its revocation.
    for crash in (1..=5).flat_map(|number| [Crash::Before(number), Crash::After(number)]) {
        let Ok(fixture) = Fixture::with_crash(crash).await else { continue };
        let mut token = None;
        if let Ok(acme) = fixture.access.create_organisation("host", "acme", "UTC").await
            && let Ok(ci) = fixture.access.create_key("host", acme.id, key("ci", Role::Write)).await
        {
            let revoked = fixture.access.revoke_key("host", Some(acme.id), &ci.key.id).await;
            assert_eq!(revoked.is_err(), matches!(crash, Crash::Before(4) | Crash::After(4)), "{crash:?}");
            token = Some(ci.token);
        }
        let after = fixture.restart().await;
        let keys = after
            .access
            .keys(Some(OrganisationId(1)), &PageRequest::first(10))
            .map_or(0, |keys| keys.items.len());
        let expected = match crash {
            Crash::Before(1..=3) | Crash::After(1..=2) => 0,
            _ => 1,
        };
        assert_eq!(keys, expected, "{crash:?}");
        if let Some(token) = token {
            let works = after.access.authenticate_token(&token).is_ok();
            assert_eq!(works, crash == Crash::Before(4), "{crash:?}");
        }
        after.access.create_organisation("host", "next", "UTC").await.unwrap();
    }
}

#[tokio::test]
async fn nothing_printed_shows_a_secret() {
    let fixture = Fixture::new().await;
    let acme = fixture.access.create_organisation("host", "acme", "UTC").await.unwrap().id;
    let signer = NewKey { signing: true, ..key("signer", Role::Admin) };
    let created = fixture.access.create_key("host", acme, signer).await.unwrap();
    let pair = created.signing.as_ref().unwrap();
    let sealed = fixture.access.seal("x", b"hunter2");
    let mut headers = http::HeaderMap::new();
    headers.insert("authorization", format!("Bearer {}", created.token).parse().unwrap());
    let target = format!("/v1/x?token={}", created.token);
    let request = crate::RawRequest {
        method: &http::Method::GET,
        target: &target,
        headers: &headers,
        body: created.token.as_bytes(),
        received: seconds(START),
    };
    let answer = crate::StoredAnswer {
        status: 201,
        content_type: "application/json".into(),
        body: created.token.clone().into(),
    };
    let failure = fixture.access.authenticate_token(&created.token[1..]).unwrap_err();
    let host_key = super::host_key();
    for printed in [
        format!("{created:?} {pair:?} {:?}", created.key),
        format!("{request:?} {answer:?} {failure:?} {failure}"),
        format!("{sealed:?} {host_key:?}"),
        format!("{:?}", HOST_KEY_ERROR.map(|text| crate::HostKey::from_hex(text).map(drop))),
    ] {
        for secret in [&created.token[20..], pair.secret.as_str(), "hunter2", "5a5a", "c0ffee"] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }
    // Nor is any in the store.
    let everything = Key::from_bytes(vec![0])..Key::from_bytes(vec![0xff]);
    let rows = bellwether_store::Store::scan(&*fixture.store, everything, Direction::Forward, 1000);
    for (row, value) in rows.await.unwrap() {
        let holds = |secret: &str| value.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!holds(&created.token[20..]) && !holds(&pair.secret), "{row:?}");
    }
}

const HOST_KEY_ERROR: [&str; 2] =
    ["c0ffee", "c0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ff!"];

/// Puts keys of an organisation into the store, as [`Access::create_key`] would.
async fn put_keys(fixture: &Fixture, organisation: OrganisationId, count: u64) {
    let randomness = SeededRandomness::new(7);
    let mut batch = Batch::new();
    for _ in 0..count {
        let id = KeyId::random(&randomness);
        let key = StoredKey {
            id: id.clone(),
            organisation: Some(organisation),
            name: "machine".into(),
            role: Some(Role::Read),
            digest: [0; 32],
            signing: false,
            signing_secret: None,
            created: seconds(START),
            expires: None,
            revoked: None,
        };
        batch.put(rows::access_key(&key_id_bytes(&id)), encode(&key));
    }
    fixture.store.commit(batch).await.unwrap();
}

#[tokio::test]
async fn an_organisation_has_so_many_keys_that_work_and_room_again_when_one_is_revoked_or_expires() {
    let fixture = Fixture::new().await;
    let acme = fixture.access.create_organisation("host", "acme", "UTC").await.unwrap().id;
    let other = fixture.access.create_organisation("host", "other", "UTC").await.unwrap().id;
    let expires = Some(seconds(START + 60));
    let make = NewKey { expires, ..key("short", Role::Admin) };
    let short = fixture.access.create_key("host", acme, make).await.unwrap().key.id;
    put_keys(&fixture, acme, crate::MAX_KEYS - 1).await;
    let fixture = fixture.restart().await;
    let access = &fixture.access;
    let create = async |organisation| access.create_key("host", organisation, key("more", Role::Admin)).await;
    let refused = create(acme).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TooLarge);
    let expected = "at most 10000 working keys of an organisation: revoke those that nobody uses";
    assert_eq!(refused.to_string(), expected);
    create(other).await.unwrap();
    fixture.clock.advance(60_000);
    create(acme).await.unwrap();
    assert!(create(acme).await.is_err());
    access.revoke_key("host", Some(acme), &short).await.unwrap();
    assert!(create(acme).await.is_err(), "one that has expired leaves no more room");
    let machine = access.keys(Some(acme), &PageRequest::first(2)).unwrap().items.pop().unwrap();
    assert_eq!(machine.name, "machine");
    access.revoke_key("host", Some(acme), &machine.id).await.unwrap();
    create(acme).await.unwrap();
}

#[tokio::test]
async fn a_key_is_seen_for_ninety_days_after_it_was_revoked_or_expired_and_the_newest_for_good() {
    let fixture = Fixture::new().await;
    let access = &fixture.access;
    let acme = access.create_organisation("host", "acme", "UTC").await.unwrap().id;
    let mut made = Vec::new();
    for (name, expires) in [("revoked", None), ("expired", Some(60)), ("works", None), ("newest", Some(60))] {
        fixture.clock.advance(1);
        let expires = expires.map(|after| seconds(START + after));
        let new = NewKey { expires, ..key(name, Role::Admin) };
        made.push(access.create_key("host", acme, new).await.unwrap());
    }
    access.authenticate_token(&made[0].token).unwrap();
    access.flush_last_uses().await.unwrap();
    access.revoke_key("host", Some(acme), &made[0].key.id).await.unwrap();
    let names = |access: &Access| {
        let keys = access.keys(Some(acme), &PageRequest::first(9)).unwrap().items;
        keys.into_iter().map(|key| key.name).collect::<Vec<_>>()
    };
    let (day, all) = (24 * 60 * 60 * 1000, ["newest", "works", "expired", "revoked"]);
    fixture.clock.advance(90 * day - 1);
    assert_eq!(access.forget_keys().await.unwrap(), 0);
    assert_eq!(names(access), all);
    assert_eq!(access.authenticate_token(&made[0].token).unwrap_err(), AuthFailure::Expired);
    fixture.clock.advance(day);
    fixture.clock.distrust(true);
    assert_eq!(access.forget_keys().await.unwrap(), 0, "the clock may be wrong");
    fixture.clock.distrust(false);
    assert_eq!(access.forget_keys().await.unwrap(), 2);
    assert_eq!(access.authenticate_token(&made[0].token).unwrap_err(), AuthFailure::Unknown);
    assert_eq!(names(access), ["newest", "works"]);
    let again = fixture.restart().await;
    assert_eq!(names(&again.access), ["newest", "works"]);
    for space in [Space::AccessKey, Space::AccessKeyUse] {
        let rows = again.store.scan(Key::new(space).prefix(), Direction::Forward, 9).await.unwrap();
        assert_eq!(rows.len(), if space == Space::AccessKey { 2 } else { 0 }, "{space:?}");
    }
}

#[tokio::test]
async fn the_last_use_of_a_key_is_right_again_once_a_clock_that_was_ahead_is() {
    let fixture = Fixture::new().await;
    let acme = fixture.access.create_organisation("host", "acme", "UTC").await.unwrap().id;
    let made = fixture.access.create_key("host", acme, key("ci", Role::Read)).await.unwrap();
    // As it is known where the key is used, and as the store has it.
    let used_at = async |fixture: &Fixture, time: i64| {
        fixture.clock.set(seconds(time));
        fixture.access.authenticate_token(&made.token).unwrap();
        fixture.access.flush_last_uses().await.unwrap();
        let other = fixture.beside(3).await;
        let last_used = |access: &Access| access.key(Some(acme), &made.key.id).unwrap().last_used.unwrap();
        (last_used(&fixture.access), last_used(&other.access))
    };
    let minute = |time: i64| (seconds(time - time % 60), seconds(time - time % 60));
    let (soon, year) = (START + 2 * 60 * 60, 365 * 24 * 60 * 60);
    assert_eq!(used_at(&fixture, START + year).await, minute(START + year));
    assert_eq!(used_at(&fixture, soon).await, minute(soon));
    assert_eq!(
        used_at(&fixture, soon - 60 * 60).await,
        minute(soon),
        "a clock set back a little takes none back"
    );
    assert_eq!(used_at(&fixture, START + year).await, minute(START + year));
    assert_eq!(used_at(&fixture.restart().await, soon).await, minute(soon));
}
