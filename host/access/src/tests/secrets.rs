//! Named secrets: sealed, listed without their values, an administrator's to change.

use bellwether_kernel::{Cursor, ErrorKind, PageRequest};
use bellwether_store::{Batch, Direction, Key, Space, Store, StoreError};

use super::{Fixture, START, key, seconds};
use crate::rows;
use crate::{
    Access, AccessError, AuditFilter, AuditScope, Begun, Caller, MAX_SECRET, MAX_SECRETS, Principal, Role,
    StoredAnswer,
};

const VALUE: &str = "correct horse battery staple";

async fn principal(access: &Access, organisation: &str, role: Role) -> Principal {
    let id = match access.organisation_named(organisation) {
        Ok(found) => found.id,
        Err(_) => access.create_organisation("host", organisation, "UTC").await.unwrap().id,
    };
    let created = access.create_key("host", id, key("k", role)).await.unwrap();
    match access.authenticate_token(&created.token).unwrap() {
        Caller::Principal(principal) => Principal::clone(&principal),
        Caller::Operator(_) => panic!("a key of an organisation"),
    }
}

fn hosts(hosts: &[&str]) -> Vec<String> {
    hosts.iter().map(|host| (*host).to_owned()).collect()
}

#[tokio::test]
async fn a_secret_is_read_back_by_its_organisation_alone_also_after_a_restart() {
    let fixture = Fixture::new().await;
    let acme = principal(&fixture.access, "acme", Role::Admin).await;
    let other = principal(&fixture.access, "other", Role::Admin).await;
    let bound = hosts(&["https://api.example.com"]);
    assert!(fixture.access.put_secret(&acme, "slack_token-1", VALUE, bound.clone()).await.unwrap());
    assert!(!fixture.access.put_secret(&acme, "slack_token-1", "é\n", Vec::new()).await.unwrap());
    assert!(!fixture.access.put_secret(&acme, "slack_token-1", VALUE, bound.clone()).await.unwrap());
    let again = fixture.restart().await;
    let found = again.access.secret(acme.organisation, "slack_token-1").await.unwrap().unwrap();
    assert_eq!((found.value.expose(), &found.hosts), (VALUE, &bound));
    for (organisation, name) in
        [(other.organisation, "slack_token-1"), (acme.organisation, "slack_token-2"), (acme.organisation, "")]
    {
        assert_eq!(again.access.secret(organisation, name).await.unwrap(), None);
    }
    assert!(!format!("{found:?}").contains("horse"));

    again.access.delete_secret(&acme, "slack_token-1").await.unwrap();
    assert_eq!(again.access.secret(acme.organisation, "slack_token-1").await.unwrap(), None);
    let gone = again.access.delete_secret(&acme, "slack_token-1").await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_secret_whose_value_alone_is_replaced_may_go_where_it_could_before() {
    let fixture = Fixture::new().await;
    let acme = principal(&fixture.access, "acme", Role::Admin).await;
    let found = async || fixture.access.secret(acme.organisation, "token").await.unwrap().unwrap();
    for (given, expected) in [
        (None, Vec::new()),
        (Some(hosts(&["https://a.example"])), hosts(&["https://a.example"])),
        (None, hosts(&["https://a.example"])),
        (Some(Vec::new()), Vec::new()),
    ] {
        fixture.access.put_secret(&acme, "token", VALUE, given).await.unwrap();
        assert_eq!(found().await.hosts, expected);
    }
}

#[tokio::test]
async fn a_value_is_in_no_row_list_or_audit_entry() {
    let fixture = Fixture::new().await;
    let acme = principal(&fixture.access, "acme", Role::Admin).await;
    let bound = hosts(&["https://a.example", "https://b.example"]);
    fixture.access.put_secret(&acme, "one", VALUE, bound.clone()).await.unwrap();
    fixture.clock.advance(5_000);
    fixture.access.put_secret(&acme, "one", VALUE, Vec::new()).await.unwrap();
    fixture.access.delete_secret(&acme, "one").await.unwrap();
    fixture.access.put_secret(&acme, "one", VALUE, bound.clone()).await.unwrap();
    for space in 0..=u8::MAX {
        let range = Key::from_bytes(vec![space])
            ..Key::from_bytes(vec![space, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        for (key, row) in fixture.store.scan(range, Direction::Forward, 1000).await.unwrap() {
            assert!(!row.windows(5).any(|part| part == b"horse"), "{key:?}");
        }
    }
    let scope = AuditScope::Organisation(acme.organisation);
    let filter = AuditFilter { action: Some("secret".into()), ..AuditFilter::default() };
    let log = fixture.access.audit_log(scope, &filter, &PageRequest::first(9)).await.unwrap().items;
    let actions: Vec<_> = log.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["secret.create", "secret.delete", "secret.update", "secret.create"]);
    assert!(log.iter().all(|entry| entry.actor == acme.key.as_str() && entry.target == "one"));
    assert_eq!(log[0].details, [("hosts".into(), "https://a.example, https://b.example".into())]);
    assert!(!format!("{log:?}").contains("horse"));
}

#[tokio::test]
async fn only_an_administrator_changes_secrets() {
    let fixture = Fixture::new().await;
    let admin = principal(&fixture.access, "acme", Role::Admin).await;
    fixture.access.put_secret(&admin, "one", VALUE, Vec::new()).await.unwrap();
    for role in [Role::Read, Role::Write] {
        let other = principal(&fixture.access, "acme", role).await;
        for error in [
            fixture.access.put_secret(&other, "one", "x", Vec::new()).await.unwrap_err(),
            fixture.access.put_secret(&other, "two", "x", Vec::new()).await.unwrap_err(),
            fixture.access.delete_secret(&other, "one").await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Forbidden);
            assert!(error.to_string().contains("admin"), "{error}");
        }
    }
    assert_eq!(
        fixture.access.secret(admin.organisation, "one").await.unwrap().unwrap().value.expose(),
        VALUE
    );
}

#[tokio::test]
async fn a_wrong_secret_is_refused_with_its_field_and_not_repeated() {
    let fixture = Fixture::new().await;
    let acme = principal(&fixture.access, "acme", Role::Admin).await;
    let long = "a".repeat(101);
    let large = "horse".repeat(MAX_SECRET / 5 + 1);
    let many = vec!["a.example".to_owned(); 21];
    let cases = [
        ("", VALUE, Vec::new(), "name"),
        ("Upper", VALUE, Vec::new(), "name"),
        ("a b", VALUE, Vec::new(), "name"),
        ("é", VALUE, Vec::new(), "name"),
        (&long, VALUE, Vec::new(), "name"),
        ("a", "", Vec::new(), "value"),
        ("a", &large, Vec::new(), "value"),
        ("a", VALUE, many, "hosts"),
        ("a", VALUE, hosts(&["https://a.example", ""]), "hosts[1]"),
        ("a", VALUE, hosts(&["a.example"]), "hosts[0]"),
        ("a", VALUE, vec![format!("https://{}aaa", "a.".repeat(130))], "hosts[0]"),
    ];
    for (name, value, hosts, field) in cases {
        match fixture.access.put_secret(&acme, name, value, hosts).await {
            Err(AccessError::Invalid(error)) => {
                assert_eq!(error.field, field, "{error}");
                assert!(!error.to_string().contains("horse"), "{error}");
            }
            other => panic!("{name:?}: {other:?}"),
        }
    }
    let most = ("a".repeat(100), "x".repeat(MAX_SECRET), vec![format!("https://{}aa", "a.".repeat(130)); 20]);
    fixture.access.put_secret(&acme, &most.0, &most.1, most.2).await.unwrap();
    let found = fixture.access.secret(acme.organisation, &most.0).await.unwrap().unwrap();
    assert_eq!(found.value.expose(), most.1);
}

#[tokio::test]
async fn secrets_are_listed_in_pages_by_name() {
    let fixture = Fixture::new().await;
    let acme = principal(&fixture.access, "acme", Role::Admin).await;
    let other = principal(&fixture.access, "other", Role::Admin).await;
    for name in ["b", "a", "c", "a-b"] {
        fixture.access.put_secret(&acme, name, VALUE, hosts(&["https://h"])).await.unwrap();
    }
    fixture.access.put_secret(&other, "bb", VALUE, Vec::new()).await.unwrap();
    fixture.clock.advance(1_000);
    fixture.access.put_secret(&acme, "b", VALUE, Vec::new()).await.unwrap();
    for limit in 1..6 {
        let mut page = PageRequest::first(limit);
        let mut found = Vec::new();
        loop {
            let part = fixture.access.secrets(acme.organisation, &page).await.unwrap();
            assert!(part.items.len() <= limit);
            found.extend(part.items);
            page.cursor = part.next;
            if page.cursor.is_none() {
                break;
            }
        }
        let names: Vec<_> = found.iter().map(|secret| secret.name.as_str()).collect();
        assert_eq!(names, ["a", "a-b", "b", "c"], "limit {limit}");
        assert_eq!((found[2].created, found[2].updated), (seconds(START), seconds(START + 1)));
        assert_eq!((&found[2].hosts, &found[3].hosts), (&Vec::new(), &hosts(&["https://h"])));
    }
    let wrong = PageRequest { limit: 1, cursor: Some(Cursor(vec![0xff])) };
    assert!(matches!(fixture.access.secrets(acme.organisation, &wrong).await, Err(AccessError::Invalid(_))));
}

#[tokio::test]
async fn an_organisation_has_so_many_secrets_and_no_more() {
    let fixture = Fixture::new().await;
    let acme = principal(&fixture.access, "acme", Role::Admin).await;
    for number in 0..MAX_SECRETS {
        fixture.access.put_secret(&acme, &format!("s{number}"), "x", Vec::new()).await.unwrap();
    }
    let error = fixture.access.put_secret(&acme, "more", "x", Vec::new()).await.unwrap_err();
    assert!(matches!(error, AccessError::Limit { limit: MAX_SECRETS, .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    fixture.access.put_secret(&acme, "s0", "another", Vec::new()).await.unwrap();
    fixture.access.delete_secret(&acme, "s0").await.unwrap();
    fixture.access.put_secret(&acme, "more", "x", Vec::new()).await.unwrap();
    assert!(fixture.access.put_secret(&acme, "s0", "x", Vec::new()).await.is_err());
    let page = fixture.access.secrets(acme.organisation, &PageRequest::first(5000)).await.unwrap();
    assert_eq!((page.items.len() as u64, page.next), (MAX_SECRETS, None));
}

#[tokio::test]
async fn a_secret_moved_to_another_place_in_the_store_does_not_open() {
    let fixture = Fixture::new().await;
    let acme = principal(&fixture.access, "acme", Role::Admin).await;
    let other = principal(&fixture.access, "other", Role::Admin).await;
    fixture.access.put_secret(&acme, "one", VALUE, Vec::new()).await.unwrap();
    let place = |principal: &Principal, name: &str| {
        Key::new(Space::Secret).number(principal.organisation.0).text(name)
    };
    let row = fixture.store.get(&place(&acme, "one")).await.unwrap().unwrap();
    let mut batch = Batch::new();
    batch.put(place(&acme, "two"), row.clone()).put(place(&other, "one"), row);
    fixture.store.commit(batch).await.unwrap();
    for (principal, name) in [(&acme, "two"), (&other, "one")] {
        let read = fixture.access.secret(principal.organisation, name).await;
        assert!(matches!(read, Err(AccessError::Store(StoreError::Damaged(_)))), "{read:?}");
    }
}

#[tokio::test]
async fn secrets_are_deleted_and_keys_revoked_on_a_full_disk_under_an_idempotency_key_too() {
    let fixture = Fixture::new().await;
    let (access, store) = (&fixture.access, &fixture.store);
    let admin = principal(access, "acme", Role::Admin).await;
    access.put_secret(&admin, "token", VALUE, Vec::new()).await.unwrap();
    let leaked = access.create_key("host", admin.organisation, key("leaked", Role::Write)).await.unwrap();
    store.set_disk_full(true);
    access.put_secret(&admin, "other", VALUE, Vec::new()).await.unwrap_err();
    access.create_key("host", admin.organisation, key("more", Role::Read)).await.unwrap_err();

    let requests = access.idempotency();
    let begin = async || requests.begin(Some(admin.organisation), "k", [1; 32]).await.unwrap();
    let Begun::New(ticket) = begin().await else { panic!("it is new") };
    access.delete_secret(&admin, "token").await.unwrap();
    let answer = StoredAnswer { status: 204, content_type: String::new(), body: "".into() };
    ticket.finish(&answer).await.unwrap();
    assert!(matches!(begin().await, Begun::Replay(replayed) if replayed == answer));
    assert!(access.secret(admin.organisation, "token").await.unwrap().is_none());

    access.revoke_key("host", Some(admin.organisation), &leaked.key.id).await.unwrap();
    assert!(access.authenticate_token(&leaked.token).is_err());
    let (scope, newest) = (AuditScope::Organisation(admin.organisation), PageRequest::first(2));
    let log = access.audit_log(scope, &AuditFilter::default(), &newest).await.unwrap();
    let actions: Vec<_> = log.items.into_iter().map(|entry| entry.action).collect();
    assert_eq!(actions, ["key.revoke", "secret.delete"]);
    let Begun::New(ticket) = requests.begin(None, "other", [1; 32]).await.unwrap() else {
        panic!("it is new")
    };
    let long = StoredAnswer { body: "x".repeat(2000).into(), ..answer };
    assert!(ticket.finish(&long).await.is_err(), "what takes room waits for it");
}

#[tokio::test]
async fn a_count_of_secrets_that_does_not_read_is_counted_anew() {
    let fixture = Fixture::new().await;
    let acme = principal(&fixture.access, "acme", Role::Admin).await;
    let put = async |name: String| fixture.access.put_secret(&acme, &name, VALUE, Vec::new()).await;
    for number in 0..MAX_SECRETS - 2 {
        put(format!("s{number}")).await.unwrap();
    }
    let damage = async || {
        let mut batch = Batch::new();
        batch.put(rows::secret_count(acme.organisation), "?");
        fixture.store.commit(batch).await.unwrap();
    };
    damage().await;
    assert!(put("one".to_owned()).await.unwrap());
    damage().await;
    fixture.access.delete_secret(&acme, "one").await.unwrap();
    assert!(put("one".to_owned()).await.unwrap() && put("two".to_owned()).await.unwrap());
    assert!(matches!(put("more".to_owned()).await.unwrap_err(), AccessError::Limit { .. }));
}
