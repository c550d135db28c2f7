//! Creating, finding and listing metrics.

use bellwether_kernel::PageRequest;
use bellwether_store::given_up;

use super::*;
use crate::ListFilter;

#[tokio::test]
async fn where_the_count_of_metrics_does_not_read_others_are_made_and_no_id_is_given_again() {
    let house = House::new().await;
    for name in ["a", "b", "gone"] {
        house.define(name, DataType::Sum, Interval::Daily, false).await;
    }
    house.metrics.delete(OURS, &by_name("gone")).await.unwrap();
    let counter = crate::layout::last_metric(OURS);
    for others in [["c", "d"], ["e", "f"]] {
        house.damage(counter.clone()).await;
        let before = house.metrics.list(OURS, &ListFilter::default(), &|_| true, 0, 10).await.unwrap();
        let last = before.metrics.iter().map(|metric| metric.id).max().unwrap();
        for name in others {
            house.define(name, DataType::Sum, Interval::Daily, false).await;
        }
        let id = async |name| house.metrics.get(OURS, &by_name(name)).await.unwrap().id;
        let (first, second) = (id(others[0]).await, id(others[1]).await);
        assert!(first.0 > last.0 + 1_000_000 && second.0 == first.0 + 1, "{first:?} and {second:?}");
    }
}

#[tokio::test]
async fn defining_the_same_again_returns_what_is_there_and_another_is_a_conflict() {
    let house = House::new().await;
    let first = Definition {
        description: Some("How many".to_owned()),
        ..definition("logins", DataType::Sum, Interval::Daily, true)
    };
    let created = house.metrics.define(OURS, "Europe/Berlin", first.clone()).await.unwrap();
    assert!(created.created);
    assert_eq!(created.metric.created, at("2024-04-09T14:44:00Z"));
    house.clock.advance(1000);
    // Neither the description nor the zone makes it another metric, and neither is changed by this.
    for (zone, description) in [("Europe/Berlin", first.description.clone()), ("UTC", None)] {
        let again =
            house.metrics.define(OURS, zone, Definition { description, ..first.clone() }).await.unwrap();
        assert!(!again.created);
        assert_eq!(again.metric, created.metric);
    }
    for (other, field, present) in [
        (Definition { data_type: DataType::Max, ..first.clone() }, "data_type", "sum"),
        (Definition { interval: Interval::Hourly, ..first.clone() }, "interval", "daily"),
        (Definition { keyed: false, ..first.clone() }, "keyed", "true"),
    ] {
        match house.metrics.define(OURS, "UTC", other).await {
            Err(MetricError::Conflict { name, field: differs, present: is }) => {
                assert_eq!((name.as_str(), differs, is.as_str()), ("logins", field, present));
            }
            other => panic!("{field}: {other:?}"),
        }
    }
    // Another organisation's metrics are its own.
    assert!(house.metrics.define(OrganisationId(2), "UTC", first).await.unwrap().created);
}

#[tokio::test]
async fn a_wrong_definition_is_refused_by_field() {
    let house = House::new().await;
    let good = definition("a", DataType::Sum, Interval::Daily, false);
    let long = Some("x".repeat(501));
    for (definition, zone, path) in [
        (Definition { name: String::new(), ..good.clone() }, "UTC", "definition.name"),
        (Definition { name: "x".repeat(201), ..good.clone() }, "UTC", "definition.name"),
        (Definition { name: "a\nb".to_owned(), ..good.clone() }, "UTC", "definition.name"),
        (Definition { name: ".".to_owned(), ..good.clone() }, "UTC", "definition.name"),
        (Definition { name: "..".to_owned(), ..good.clone() }, "UTC", "definition.name"),
        (Definition { description: long.clone(), ..good.clone() }, "UTC", "definition.description"),
        (good.clone(), "Europe/Nowhere", "time_zone"),
        (good.clone(), "", "time_zone"),
        (good.clone(), "Etc/Unknown", "time_zone"),
    ] {
        let error = field(house.metrics.define(OURS, zone, definition).await);
        assert_eq!(error.field, path);
    }
    house.metrics.define(OURS, "UTC", good).await.unwrap();
    let changed = house.metrics.update_description(OURS, &by_name("a"), long).await;
    assert_eq!(field(changed).field, "description");
}

#[tokio::test]
async fn a_metric_is_found_by_either_name_also_after_a_restart() {
    let house = House::new().await;
    house.define("a", DataType::Sum, Interval::Daily, false).await;
    house.define("b", DataType::Max, Interval::Hourly, true).await;
    let described =
        house.metrics.update_description(OURS, &by_name("b"), Some("The best".to_owned())).await.unwrap();
    // A write right after it does not stumble over the changed row.
    house.add("b", Some("k"), 1.0).await;
    let restarted = House::on(house.store.restart()).await;
    for reference in [by_name("b"), MetricReference::Id(described.id)] {
        assert_eq!(restarted.metrics.get(OURS, &reference).await.unwrap(), described, "{reference:?}");
    }
    for reference in
        [by_name("c"), by_name(&"x".repeat(5000)), MetricReference::Id(bellwether_kernel::MetricId(9))]
    {
        let missing = restarted.metrics.get(OURS, &reference).await;
        assert!(matches!(missing, Err(MetricError::UnknownMetric(_))), "{reference:?}");
    }
}

#[tokio::test]
async fn metrics_are_listed_by_id_a_part_at_a_time() {
    let house = House::new().await;
    for name in ["delta", "alpha", "Alphabet", "gamma"] {
        house.define(name, DataType::Sum, Interval::Daily, false).await;
    }
    let all = ListFilter::default();
    let alpha = ListFilter { name_contains: Some("ALPHA".to_owned()) };
    for (filter, hidden, offset, limit, names, total) in [
        (&all, "", 0, 10, &["delta", "alpha", "Alphabet", "gamma"][..], 4),
        (&all, "", 1, 2, &["alpha", "Alphabet"], 4),
        (&all, "", 4, 2, &[], 4),
        (&all, "", 0, 0, &[], 4),
        (&all, "delta", 0, 2, &["alpha", "Alphabet"], 3),
        (&alpha, "", 0, 10, &["alpha", "Alphabet"], 2),
        (&alpha, "alpha", 0, 10, &["Alphabet"], 1),
    ] {
        let visible = |metric: &crate::Metric| metric.definition.name != hidden;
        let page = house.metrics.list(OURS, filter, &visible, offset, limit).await.unwrap();
        let found: Vec<&str> = page.metrics.iter().map(|metric| metric.definition.name.as_str()).collect();
        assert_eq!((found.as_slice(), page.total), (names, total), "{filter:?} {hidden} {offset} {limit}");
    }
    assert_eq!(house.metrics.list(OrganisationId(2), &all, &|_| true, 0, 10).await.unwrap().total, 0);
}

#[tokio::test]
async fn a_metric_that_is_deleted_between_two_pages_hides_no_other() {
    let house = House::new().await;
    for name in ["a", "other", "b", "c", "d", "e"] {
        house.define(name, DataType::Sum, Interval::Daily, false).await;
    }
    let short = ListFilter::default();
    let mut request = PageRequest::first(2);
    let mut names = Vec::new();
    loop {
        let page = house.metrics.page(OURS, &short, &request).await.unwrap();
        for metric in &page.items {
            house.metrics.delete(OURS, &MetricReference::Id(metric.id)).await.unwrap();
            names.push(metric.definition.name.clone());
        }
        let Some(next) = page.next else { break };
        request = PageRequest { cursor: Some(next), ..request };
    }
    assert_eq!(names, ["a", "other", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn a_thousand_metrics_and_one_are_all_there_after_a_restart() {
    let house = House::new().await;
    for number in 0..=1000 {
        house.define(&format!("metric {number}"), DataType::Sum, Interval::Daily, false).await;
    }
    let restarted = House::on(house.store.restart()).await;
    let page = restarted.metrics.list(OURS, &ListFilter::default(), &|_| true, 0, 2000).await.unwrap();
    let ids: Vec<u64> = page.metrics.iter().map(|metric| metric.id.0).collect();
    assert_eq!((ids, page.total), ((1..=1001).collect(), 1001));
}

#[tokio::test]
async fn a_metric_in_a_time_zone_this_host_does_not_know_harms_no_other() {
    let house = House::new().await;
    house.define("lost", DataType::Sum, Interval::Daily, false).await;
    house.define("fine", DataType::Sum, Interval::Daily, false).await;
    let mut lost = crate::Metric::clone(&*house.metrics.get(OURS, &by_name("lost")).await.unwrap());
    lost.time_zone = "Atlantis/Poseidonis".to_owned();
    let mut batch = Batch::new();
    batch.put(crate::layout::metric(OURS, lost.id), bellwether_store::encode(&lost));
    house.store.commit(batch).await.unwrap();
    let house = House::on(house.store.restart()).await;
    assert_eq!(house.add("fine", None, 1.0).await, 1.0);
    let refused = house.write(&[sample("lost", None, 1.0)]).await.unwrap_err();
    assert!(refused.to_string().contains("Atlantis/Poseidonis"), "{refused}");
    assert_eq!(*house.metrics.delete(OURS, &by_name("lost")).await.unwrap(), lost);
}

#[tokio::test]
async fn an_organisation_has_only_so_many_metrics() {
    let house = House::limited(Limits { metrics: 2, ..Limits::default() }).await;
    house.define("a", DataType::Sum, Interval::Daily, false).await;
    house.define("b", DataType::Sum, Interval::Daily, false).await;
    let third = definition("c", DataType::Sum, Interval::Daily, false);
    let refused = house.metrics.define(OURS, "UTC", third.clone()).await;
    assert!(matches!(refused, Err(MetricError::Limit { limit: 2, .. })), "{refused:?}");
    house.metrics.delete(OURS, &by_name("a")).await.unwrap();
    assert!(house.metrics.define(OURS, "UTC", third).await.unwrap().created);
}

#[tokio::test]
async fn another_host_sees_what_was_defined_deleted_and_described_here() {
    let house = House::new().await;
    let other = House::with(Arc::clone(&house.store), HostId(2), Limits::default()).await;
    // Both have loaded the organisation's metrics before anything happens.
    for metrics in [&house.metrics, &other.metrics] {
        assert_eq!(metrics.list(OURS, &ListFilter::default(), &|_| true, 0, 10).await.unwrap().total, 0);
    }
    house.define("a", DataType::Sum, Interval::Daily, false).await;
    assert_eq!(other.add("a", None, 1.0).await, 1.0);
    let b = definition("b", DataType::Sum, Interval::Daily, false);
    assert!(other.metrics.define(OURS, "UTC", b.clone()).await.unwrap().created);
    assert!(!house.metrics.define(OURS, "UTC", b).await.unwrap().created);
    house.metrics.update_description(OURS, &by_name("a"), Some("x".to_owned())).await.unwrap();
    assert_eq!(other.add("a", None, 1.0).await, 2.0);
    house.metrics.delete(OURS, &by_name("a")).await.unwrap();
    // The other host still remembers it, and cannot write to it.
    let refused = other.write(&[sample("a", None, 1.0)]).await;
    assert!(matches!(refused, Err(MetricError::UnknownMetric(_))), "{refused:?}");
    assert!(other.metrics.get(OURS, &by_name("a")).await.is_err());
}

#[tokio::test]
async fn what_is_known_of_a_metric_is_what_is_durable_when_a_change_is_given_up() {
    let (new, there) = (definition("new", DataType::Sum, Interval::Daily, false), by_name("there"));
    let described = Some("described".to_owned());
    for change in 0..3 {
        for polls in 1.. {
            let house = House::new().await;
            house.define("there", DataType::Sum, Interval::Daily, false).await;
            house.store.answer_late();
            let metrics = &house.metrics;
            let ended = match change {
                0 => given_up(metrics.define(OURS, "UTC", new.clone()), polls).await,
                1 => given_up(metrics.update_description(OURS, &there, described.clone()), polls).await,
                _ => given_up(metrics.delete(OURS, &there), polls).await,
            };
            let listed = async |metrics: &Metrics| {
                let page = metrics.list(OURS, &ListFilter::default(), &|_| true, 0, 10).await;
                page.unwrap().metrics
            };
            // Whoever changes something else waits for what is under way.
            house.define("next", DataType::Sum, Interval::Daily, false).await;
            let known = listed(metrics).await;
            let restarted = House::on(house.store.restart()).await;
            assert_eq!(
                known,
                listed(&restarted.metrics).await,
                "change {change}, given up at the poll {polls}"
            );
            if ended {
                break;
            }
        }
    }
}
