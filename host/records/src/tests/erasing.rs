//! Organisations that are deleted: their events and logs go, and nobody else's.

use std::sync::Arc;

use bellwether_store::{Batch, Crash, Erase, Space, erase};

use super::{DAY, House, OURS, THEIRS, log, search};
use crate::{Content, Limits, RecordKind, Retention};

/// The spaces whose keys say whose they are.
const BY_KEY: [Space; 4] = [Space::RecordChunk, Space::RecordRetention, Space::Counter, Space::Chunk];

impl House {
    /// Events and logs of both in segments and in chunks.
    async fn filled(&self) {
        for (ago, message) in [(3 * DAY, "old"), (0, "new")] {
            for organisation in [OURS, THEIRS] {
                let event = Content { title: "Deployed".to_owned(), ..log(ago, message) };
                for (kind, content) in [(RecordKind::Log, log(ago, message)), (RecordKind::Event, event)] {
                    self.records.append(organisation, kind, vec![content], Batch::new()).await.unwrap();
                }
            }
            if ago > 0 {
                self.records.pack().await.unwrap();
            }
        }
        for organisation in [OURS, THEIRS] {
            let retention = Retention { events_days: Some(9), logs_days: Some(9) };
            self.records.set_retention(organisation, retention, Batch::new()).await.unwrap();
        }
    }

    async fn erase_theirs(&self) {
        while self.records.erase(THEIRS).await.unwrap() + erase(&*self.store, THEIRS, &BY_KEY).await.unwrap()
            > 0
        {}
    }

    async fn rows(&self) -> usize {
        self.store.rows().await.unwrap().len()
    }
}

#[tokio::test]
async fn of_an_organisation_that_is_erased_no_record_is_left_and_its_neighbours_are_as_they_were() {
    let house = House::new().await;
    house.filled().await;
    let (rows, bytes) = (house.rows().await, house.bytes());
    house.erase_theirs().await;
    let mut house = house;
    for restarts in [false, true] {
        if restarts {
            house = house.restarted().await;
        }
        assert_eq!(house.rows().await, rows / 2, "both had the same");
        assert!(house.bytes() <= bytes / 2 + 64);
        assert_eq!(house.all(search("*")).await.0.len(), 2);
        assert!(house.records.search(THEIRS, search("*")).await.unwrap().records.is_empty());
        assert_eq!(house.records.totals(RecordKind::Event).records, 2);
        let state = house.records.shared.state.read();
        assert!(state.shelves.keys().all(|(owner, _)| *owner == OURS));
        assert!(!state.retentions.contains_key(&THEIRS) && !state.next.contains_key(&THEIRS));
    }
    assert_eq!(house.records.erase(THEIRS).await.unwrap(), 0);
}

#[tokio::test]
async fn what_a_crash_cut_off_of_an_erasing_is_gone_on_with() {
    for commits in 1.. {
        let house = House::new().await;
        house.filled().await;
        let rows = house.rows().await;
        let store = Arc::new(house.store.restart_with_crashes(Crash::After(commits)));
        let on =
            |store| House::on(store, Arc::clone(&house.folder), Arc::clone(&house.clock), Limits::default());
        let done = match on(Arc::clone(&store)).await {
            Ok(house) => house.records.erase(THEIRS).await.is_ok(),
            Err(_) => false,
        };
        let after = on(Arc::new(store.restart())).await.unwrap();
        after.erase_theirs().await;
        assert_eq!(after.rows().await, rows / 2, "after {commits} commits");
        assert_eq!(after.all(search("*")).await.0.len(), 2);
        if done {
            assert!(commits > 2, "{commits}");
            return;
        }
    }
}
