//! Organisations that are deleted: what is known of their metrics goes, and nobody else's.

use bellwether_store::{Erase, erase};

use super::*;
use crate::NamePattern;

const GONE: OrganisationId = OrganisationId(2);

#[tokio::test]
async fn an_organisation_that_is_erased_leaves_nothing_behind_and_its_neighbours_log_is_read_on() {
    let house = House::new().await;
    for organisation in [OURS, GONE] {
        house.metrics.watch(organisation, vec!["*".parse::<NamePattern>().unwrap()]);
        for name in ["watched", "deleted"] {
            let keyed = definition(name, DataType::Sum, Interval::Hourly, true);
            house.metrics.define(organisation, "UTC", keyed).await.unwrap();
        }
    }
    // By turns, so that the log has gaps of one entry.
    for value in [1.0, 2.0, 3.0] {
        for organisation in [GONE, OURS] {
            for name in ["watched", "deleted"] {
                let samples = [sample(name, Some("a"), value)];
                house.metrics.write(organisation, &samples, Batch::new()).await.unwrap();
            }
        }
    }
    for organisation in [OURS, GONE] {
        house.metrics.delete(organisation, &by_name("deleted")).await.unwrap();
    }
    let is_of = |row: &Row, id: OrganisationId| row.0.organisation() == Some(id.0);
    let before = house.store.rows().await.unwrap();
    let ours: Vec<_> = before.iter().filter(|row| is_of(row, OURS)).cloned().collect();
    assert_eq!(house.metrics.erase(GONE).await.unwrap(), 6, "the entries of its log");
    erase(&*house.store, GONE, Space::ALL).await.unwrap();
    assert_eq!(house.metrics.erase(GONE).await.unwrap(), 0);

    let after = house.store.rows().await.unwrap();
    assert!(!after.iter().any(|row| is_of(row, GONE)));
    assert_eq!(after.iter().filter(|row| is_of(row, OURS)).cloned().collect::<Vec<_>>(), ours);
    let mut read = Vec::new();
    while let Some(last) = {
        let entries = house.metrics.log_after(read.last().map_or(0, |(last, _)| *last), 2).await.unwrap();
        read.extend(entries.iter().map(|entry| (entry.sequence, entry.organisation)));
        entries.last().map(|entry| entry.sequence)
    } {
        assert!(last <= 12);
    }
    assert_eq!(read, [3, 4, 7, 8, 11, 12].map(|sequence| (sequence, OURS)));
    let mut house = house;
    for restarts in [false, true] {
        if restarts {
            house = House::on(house.store.restart()).await;
        }
        let unknown = house.metrics.get(GONE, &by_name("watched")).await;
        assert!(matches!(unknown, Err(MetricError::UnknownMetric(_))));
        assert_eq!(house.values("watched").await, [(Some("a".to_owned()), vec![6.0])]);
    }
}
