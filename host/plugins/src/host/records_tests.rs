//! That calls on events and logs are held against the caller's role and the grant's scope.

use std::sync::Arc;

use bellwether_access::{Principal, Role};

use super::contract::records_read::{self, Host as _, Order, Search};
use super::contract::records_types::{Content, RecordError, RecordKind};
use super::contract::records_write::Host as _;
use super::{Call, Scope, Shared};
use crate::LimitOverrides;
use crate::grant::Grant;
use crate::testing::{House, principal};

async fn shared() -> (House, Arc<Shared>) {
    let house = House::new().await;
    let (services, limits) = (house.services.clone(), house.limits);
    (house, Arc::new(Shared::new(services, limits)))
}

fn call(shared: &Arc<Shared>, grants: &[&str], principal: Arc<Principal>) -> Call {
    let grants: Vec<Grant> = grants.iter().map(|text| text.parse().unwrap()).collect();
    let scope = Scope::new(Arc::clone(shared), "p".to_owned(), &grants, &LimitOverrides::default());
    Call::new(Arc::new(scope), Some(principal), None)
}

fn log(message: &str) -> Content {
    Content {
        time: 1_000,
        title: String::new(),
        message: message.to_owned(),
        status: "error".to_owned(),
        priority: String::new(),
        service: "web".to_owned(),
        source: String::new(),
        host: String::new(),
        aggregation_key: String::new(),
        tags: vec!["env:prod".to_owned()],
        attributes: r#"{"code": 500}"#.to_owned(),
    }
}

fn search(kind: RecordKind, query: &str) -> Search {
    let (query, order) = (query.to_owned(), Order::Newest);
    Search { kind, query, start: 0, end: 5_000, order, limit: 10, cursor: None }
}

fn forbidden<T>(result: Result<T, RecordError>, part: &str) -> bool {
    matches!(result, Err(RecordError::Forbidden(text)) if text.contains(part))
}

#[tokio::test]
async fn a_caller_appends_and_searches_what_the_grants_cover() {
    let (_house, shared) = shared().await;
    let mut call =
        call(&shared, &["records-read=events,logs", "records-write=logs"], principal(1, Role::Write));
    assert_eq!(call.append(RecordKind::Log, vec![log("one"), log("two")]).await.unwrap(), 1);
    let found = call.find(search(RecordKind::Log, "service:web @code:>=500 one")).await.unwrap();
    assert_eq!((found.records.len(), found.next, found.stopped_early), (1, None, false));
    assert_eq!(found.records[0].content.tags, ["env:prod"]);
    let page = call.find(Search { limit: 1, ..search(RecordKind::Log, "") }).await.unwrap();
    let next = Search { cursor: page.next, ..search(RecordKind::Log, "") };
    assert_eq!(call.find(next).await.unwrap().records[0].id, 1);
    assert_eq!(records_read::Host::get(&mut call, RecordKind::Log, 2).await.unwrap().content.message, "two");
    let unknown = records_read::Host::get(&mut call, RecordKind::Event, 2).await;
    assert!(matches!(unknown, Err(RecordError::Unknown(2))));
    assert!(forbidden(call.append(RecordKind::Event, vec![log("x")]).await, "events"));
}

#[tokio::test]
async fn other_kinds_roles_and_organisations_see_and_change_nothing() {
    let (_house, shared) = shared().await;
    let mut writer = call(&shared, &["records-write=events,logs"], principal(1, Role::Write));
    writer.append(RecordKind::Log, vec![log("x")]).await.unwrap();
    let mut events = call(&shared, &["records-read=events"], principal(1, Role::Read));
    assert!(forbidden(events.find(search(RecordKind::Log, "")).await, "logs"));
    assert!(forbidden(records_read::Host::get(&mut events, RecordKind::Log, 1).await, "logs"));
    assert!(events.find(search(RecordKind::Event, "")).await.unwrap().records.is_empty());
    let mut reader = call(&shared, &["records-write=logs"], principal(1, Role::Read));
    assert!(forbidden(reader.append(RecordKind::Log, vec![log("x")]).await, "role"));
    let mut stranger = call(&shared, &["records-read=logs"], principal(2, Role::Read));
    assert!(stranger.find(search(RecordKind::Log, "")).await.unwrap().records.is_empty());
}

#[tokio::test]
async fn what_is_wrong_is_told_by_its_field_or_place() {
    let (_house, shared) = shared().await;
    let grants = ["records-read=logs", "records-write=logs"];
    let mut call = call(&shared, &grants, principal(1, Role::Write));
    let wrong = Content { time: i64::MAX, ..log("x") };
    let answer = call.append(RecordKind::Log, vec![log("x"), wrong]).await;
    assert!(matches!(answer, Err(RecordError::Invalid(error)) if error.field == "records[1].time"));
    match call.find(search(RecordKind::Log, "service:(a")).await {
        Err(RecordError::Syntax(error)) => {
            assert_eq!((error.line, error.column), (1, 11), "{}", error.message);
        }
        other => panic!("{:?}", other.map(|found| found.records.len())),
    }
    for (field, wrong) in [
        ("limit", Search { limit: 0, ..search(RecordKind::Log, "") }),
        ("end", Search { end: i64::MAX, ..search(RecordKind::Log, "") }),
        ("cursor", Search { cursor: Some("!".to_owned()), ..search(RecordKind::Log, "") }),
    ] {
        let answer = call.find(wrong).await;
        assert!(matches!(answer, Err(RecordError::Invalid(error)) if error.field == field), "{field}");
    }
}
