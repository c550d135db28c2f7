//! A row that does not read keeps nobody else's from being read, and the store from being opened least of all.

use bellwether_kernel::{PageRequest, Timestamp};
use bellwether_store::{Batch, Direction, Key, Space, Store, encode};

use super::{Fixture, START, key, seconds};
use crate::{
    Access, AccessError, AuditFilter, AuditScope, AuthFailure, Begun, Caller, CreatedKey, NewKey, Principal,
    Role, StoredAnswer, rows,
};

async fn damage(fixture: &Fixture, row: &Key) {
    let mut batch = Batch::new();
    batch.put(row.clone(), "?");
    fixture.store.commit(batch).await.unwrap();
}

/// The rows of a space, as they are.
async fn rows_of(fixture: &Fixture, space: Space) -> Vec<Key> {
    let rows = fixture.store.scan(Key::new(space).prefix(), Direction::Forward, usize::MAX).await.unwrap();
    rows.into_iter().map(|(key, _)| key).collect()
}

fn principal(access: &Access, key: &CreatedKey) -> Result<Principal, AuthFailure> {
    match access.authenticate_token(&key.token)? {
        Caller::Principal(principal) => Ok(Principal::clone(&principal)),
        Caller::Operator(_) => panic!("a key of an organisation"),
    }
}

/// A store with an operator, and two organisations with a key and a secret each.
async fn house() -> (Fixture, CreatedKey, [CreatedKey; 2]) {
    let fixture = Fixture::new().await;
    let access = &fixture.access;
    let operator = access.create_operator_key("host", "op", None).await.unwrap();
    let mut keys = Vec::new();
    for name in ["acme", "other"] {
        let organisation = access.create_organisation("host", name, "UTC").await.unwrap().id;
        let new = NewKey { signing: true, ..key("signer", Role::Admin) };
        let created = access.create_key("host", organisation, new).await.unwrap();
        let admin = principal(access, &created).unwrap();
        for secret in ["one", "two"] {
            access.put_secret(&admin, secret, "x", Vec::new()).await.unwrap();
        }
        let Begun::New(ticket) = access.idempotency().begin(Some(organisation), "k", [0; 32]).await.unwrap()
        else {
            panic!("it is new")
        };
        ticket
            .finish(&StoredAnswer { status: 200, content_type: String::new(), body: Vec::new().into() })
            .await
            .unwrap();
        keys.push(created);
    }
    access.flush_last_uses().await.unwrap();
    (fixture, operator, keys.try_into().unwrap())
}

#[tokio::test]
async fn one_row_that_does_not_read_keeps_nobody_else_from_working() {
    for space in [
        Space::Organisation,
        Space::AccessKey,
        Space::AccessKeyUse,
        Space::Secret,
        Space::Audit,
        Space::Idempotency,
        Space::Counter,
    ] {
        let (fixture, operator, [acme, other]) = house().await;
        let mine = acme.key.organisation.unwrap();
        let row = match space {
            Space::Organisation => rows::organisation(mine),
            Space::AccessKey => rows::access_key(&crate::token::key_id_bytes(&acme.key.id)),
            Space::AccessKeyUse => rows::access_key_use(&crate::token::key_id_bytes(&acme.key.id)),
            Space::Counter => rows::organisation_counter(),
            space => rows_of(&fixture, space)
                .await
                .into_iter()
                .find(|key| space != Space::Audit || key.organisation() == Some(mine.0))
                .unwrap(),
        };
        damage(&fixture, &row).await;
        let fixture = fixture.restart().await;
        let access = &fixture.access;
        assert!(access.has_operator() && access.authenticate_token(&operator.token).is_ok(), "{space:?}");
        let other = principal(access, &other).unwrap_or_else(|error| panic!("{space:?}: {error}"));
        access.put_secret(&other, "three", "x", Vec::new()).await.unwrap();
        access.flush_last_uses().await.unwrap();
        let everything = PageRequest::first(99);
        let scope = AuditScope::Organisation(mine);
        access.audit_log(scope, &AuditFilter::default(), &everything).await.unwrap();
        assert!(!access.secrets(mine, &everything).await.unwrap().items.is_empty(), "{space:?}");
        fixture.clock.set(seconds(START + 999_999));
        access.idempotency().sweep().await.unwrap();
        assert_eq!(
            rows_of(&fixture, Space::Idempotency).await.len(),
            usize::from(space == Space::Idempotency)
        );
        let third = access.create_organisation("host", "third", "UTC").await.unwrap();
        assert_eq!(third.id.0, mine.0 + 2, "{space:?}: no number is given again");
        assert_eq!(
            principal(access, &acme).is_err(),
            [Space::Organisation, Space::AccessKey].contains(&space),
            "{space:?}"
        );
        let told = if space == Space::Organisation { 2 } else { 1 };
        assert_eq!(fixture.store.unread().count(), told, "{space:?}");
    }
}

#[tokio::test]
async fn the_name_of_an_organisation_that_does_not_read_is_nobody_elses() {
    let (fixture, ..) = house().await;
    damage(&fixture, &rows::organisation(bellwether_kernel::OrganisationId(1))).await;
    let fixture = fixture.restart().await;
    let taken = fixture.access.create_organisation("host", "acme", "UTC").await;
    assert!(matches!(taken, Err(AccessError::Exists { .. })), "{taken:?}");
}

#[tokio::test]
async fn a_store_whose_only_operator_key_does_not_read_is_not_taken_for_a_new_one() {
    let (fixture, operator, _) = house().await;
    damage(&fixture, &rows::access_key(&crate::token::key_id_bytes(&operator.key.id))).await;
    assert!(fixture.restart().await.access.has_operator());
}

#[tokio::test]
async fn a_key_whose_signing_secret_does_not_open_has_its_token_still() {
    let (fixture, _, [acme, _]) = house().await;
    let row = rows::access_key(&crate::token::key_id_bytes(&acme.key.id));
    let mut stored: rows::StoredKey =
        bellwether_store::decode(&fixture.store.get(&row).await.unwrap().unwrap()).unwrap();
    stored.signing_secret = Some(crate::Sealed(vec![7; 64]));
    let mut batch = Batch::new();
    batch.put(row, encode(&stored));
    fixture.store.commit(batch).await.unwrap();
    let fixture = fixture.restart().await;
    assert!(principal(&fixture.access, &acme).is_ok());
    assert_eq!(fixture.store.unread().count(), 1);
}

#[tokio::test]
async fn lists_go_on_behind_what_does_not_read() {
    let (fixture, _, [acme, _]) = house().await;
    let admin = principal(&fixture.access, &acme).unwrap();
    let mine = admin.organisation;
    for name in ["a", "b", "c"] {
        fixture.access.put_secret(&admin, name, "x", Vec::new()).await.unwrap();
    }
    damage(&fixture, &rows::secret(mine, "b")).await;
    let audited = rows_of(&fixture, Space::Audit).await;
    damage(&fixture, audited.iter().find(|key| key.organisation() == Some(mine.0)).unwrap()).await;
    let (mut names, mut page) = (Vec::new(), PageRequest::first(1));
    loop {
        let found = fixture.access.secrets(mine, &page).await.unwrap();
        names.extend(found.items.into_iter().map(|secret| secret.name));
        let Some(next) = found.next else { break };
        page.cursor = Some(next);
    }
    assert_eq!(names, ["a", "c", "one", "two"]);
    let (mut entries, mut page) = (0, PageRequest::first(1));
    let scope = AuditScope::Organisation(mine);
    loop {
        let found = fixture.access.audit_log(scope, &AuditFilter::default(), &page).await.unwrap();
        entries += found.items.len();
        let Some(next) = found.next else { break };
        page.cursor = Some(next);
    }
    let all = audited.iter().filter(|key| key.organisation() == Some(mine.0)).count();
    assert_eq!(entries, all - 1);
    fixture.access.trim_audit(Timestamp::MAX).await.unwrap();
}

#[tokio::test]
async fn a_secret_that_does_not_read_is_put_again_with_its_hosts() {
    let (fixture, _, [acme, _]) = house().await;
    let admin = principal(&fixture.access, &acme).unwrap();
    damage(&fixture, &rows::secret(admin.organisation, "one")).await;
    let refused = fixture.access.put_secret(&admin, "one", "y", None).await.unwrap_err().to_string();
    assert!(refused.contains("hosts"), "{refused}");
    let bound = vec!["https://api.example.com".to_owned()];
    assert!(!fixture.access.put_secret(&admin, "one", "y", bound.clone()).await.unwrap());
    let found = fixture.access.secret(admin.organisation, "one").await.unwrap().unwrap();
    assert_eq!((found.value.expose(), found.hosts), ("y", bound));
}
