//! Organisations that are deleted: their samples go, wherever they are, and their neighbours' stay.

use std::sync::Arc;

use bellwether_kernel::OrganisationId;
use bellwether_store::{Batch, Crash, Erase, Key, Space, StoreError, Walk, erase};

use super::{DAY, House, OURS, entry};
use crate::{Limits, SeriesSamples};

const GONE: OrganisationId = OrganisationId(2);

/// The spaces whose keys say whose they are.
const BY_KEY: [Space; 2] = [Space::TaggedSeries, Space::SeriesMetadata];

impl House {
    async fn write_both(&self, series: &[SeriesSamples]) {
        for organisation in [OURS, GONE] {
            self.series.write(organisation, series, Batch::new()).await.unwrap();
        }
    }

    /// Samples of both organisations in segments of two weeks, in the log and in memory.
    async fn filled(&self) {
        let now = self.now();
        for day in [8, 1, 0] {
            let samples: Vec<_> = (0..50).map(|at| (now - day * DAY + at * 1000, 1.0)).collect();
            // Of theirs there is much less than makes anybody write a segment anew.
            let few = entry("few", &["host:a"], &samples[..2]);
            self.series.write(GONE, &[few], Batch::new()).await.unwrap();
            self.write(&[entry("cpu", &["host:a"], &samples), entry("cpu", &["host:b"], &samples)])
                .await
                .unwrap();
            if day > 0 {
                self.series.pack().await.unwrap();
            }
        }
    }

    /// How many samples there are in segments and in memory, whosever they are.
    fn samples(&self) -> u64 {
        let totals = self.series.totals();
        totals.head_samples + totals.packed_samples
    }

    async fn erase(&self, organisation: OrganisationId) {
        while self.series.erase(organisation).await.unwrap()
            + erase(&*self.store, organisation, &BY_KEY).await.unwrap()
            > 0
        {}
    }
}

#[tokio::test]
async fn of_an_organisation_that_is_erased_no_sample_is_left_and_its_neighbours_are_as_they_were() {
    let house = House::new().await;
    house.filled().await;
    assert_eq!((house.samples(), house.series.series_by_organisation().len()), (306, 2));
    let before = house.all("cpu").await;
    house.erase(GONE).await;
    let mut house = house;
    for restarts in [false, true] {
        if restarts {
            house = house.restarted().await;
        }
        assert_eq!((house.samples(), house.series.series_by_organisation().len()), (300, 1));
        assert_eq!(house.all("cpu").await, before);
        assert!(house.series.shared.state.read().segments.iter().all(|placed| {
            placed.all().unwrap().iter().all(|entry| house.series.shared.kept().first(entry.series).is_some())
        }));
        // The log has nothing of theirs any more: all of it is in segments.
        let rows = Walk::forward(&*house.store, Key::new(Space::SeriesLog).prefix());
        assert_eq!(rows.count().await.unwrap(), 0);
    }
    assert_eq!(house.series.erase(GONE).await.unwrap(), 0);
}

#[tokio::test]
async fn the_numbers_of_series_that_were_erased_are_no_others() {
    let house = House::new().await;
    house.filled().await;
    house.erase(GONE).await;
    let mut house = house;
    for restarts in [false, true] {
        if restarts {
            house = house.restarted().await;
        }
        house.write(&[entry("new", &["host:c"], &[(house.now(), 7.0)])]).await.unwrap();
        assert_eq!(house.one("new").await, [(house.now(), 7.0)]);
    }
}

#[tokio::test]
async fn what_a_crash_cut_off_of_an_erasing_is_gone_on_with() {
    for commits in 1.. {
        let house = House::new().await;
        house.filled().await;
        let before = house.all("cpu").await;
        let store = Arc::new(house.store.restart_with_crashes(Crash::After(commits)));
        let limits = Limits { steady: std::time::Duration::ZERO, ..Limits::default() };
        let on = |store| House::on(store, Arc::clone(&house.folder), Arc::clone(&house.clock), limits);
        let crashing = on(Arc::clone(&store)).await;
        let done = match &crashing {
            Ok(house) => house.series.erase(GONE).await.is_ok(),
            Err(_) => false,
        };
        drop(crashing);
        let after = on(Arc::new(store.restart())).await.unwrap();
        after.erase(GONE).await;
        assert_eq!((after.samples(), after.series.series_by_organisation().len()), (300, 1), "{commits}");
        assert_eq!(after.all("cpu").await, before, "after {commits} commits");
        if done {
            assert!(commits > 5, "{commits}");
            return;
        }
    }
}

#[tokio::test]
async fn a_write_that_was_under_way_is_found_when_it_is_erased_again() {
    let house = House::new().await;
    house.filled().await;
    house.erase(GONE).await;
    house.write_both(&[entry("late", &[], &[(house.now(), 1.0)])]).await;
    house.erase(GONE).await;
    assert_eq!(house.series.series_by_organisation().len(), 1);
    assert_eq!(house.samples(), 301);
}

#[tokio::test]
async fn on_a_full_disk_the_segments_that_are_an_organisations_alone_go_at_once() {
    let house = House::new().await;
    let samples = entry("few", &["host:a"], &[(house.now(), 1.0)]);
    house.series.write(GONE, std::slice::from_ref(&samples), Batch::new()).await.unwrap();
    house.series.pack().await.unwrap();
    house.write(&[samples]).await.unwrap();
    let before = house.all("few").await;
    house.store.set_disk_full(true);
    let erased = house.series.erase(GONE).await;
    assert!(matches!(erased, Err(StoreError::DiskFull { .. })), "ours are not packed: {erased:?}");
    assert_eq!((house.samples(), house.objects.list().unwrap().len()), (1, 0));
    house.store.set_disk_full(false);
    house.erase(GONE).await;
    assert_eq!(house.all("few").await, before);
}
