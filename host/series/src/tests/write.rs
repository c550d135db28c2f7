//! Writing: order, duplicates, limits, joins.

use bellwether_store::{Key, Precondition, Space, Store as _};

use super::*;
use crate::{Hint, Listener, SeriesSlice};

#[tokio::test]
async fn of_several_samples_at_one_time_the_last_written_holds_wherever_they_are() {
    let house = House::new().await;
    house.write(&[entry("m", &["a:1"], &[(10, 1.0), (5, 2.0), (10, 3.0)])]).await.unwrap();
    assert_eq!(house.one("m").await, [(5, 2.0), (10, 3.0)]);
    house.series.pack().await.unwrap();
    assert_eq!(house.one("m").await, [(5, 2.0), (10, 3.0)]);
    house.write(&[entry("m", &["a:1"], &[(7, 4.0), (10, 5.0)])]).await.unwrap();
    assert_eq!(house.one("m").await, [(5, 2.0), (7, 4.0), (10, 5.0)]);
    for round in 6..12 {
        house.series.pack().await.unwrap();
        house.write(&[entry("m", &["a:1"], &[(10, f64::from(round))])]).await.unwrap();
        house.series.tend().await.unwrap();
    }
    let house = house.restarted().await;
    assert_eq!(house.one("m").await, [(5, 2.0), (7, 4.0), (10, 11.0)]);
}

#[tokio::test]
async fn every_bit_of_a_value_is_kept() {
    let house = House::new().await;
    let values =
        [f64::NAN, -0.0, f64::INFINITY, f64::MIN_POSITIVE / 2.0, f64::from_bits(0x7ff4_dead_beef_0001)];
    let samples: Vec<(i64, f64)> = (0..).zip(values).collect();
    house.write(&[entry("m", &[], &samples)]).await.unwrap();
    house.series.pack().await.unwrap();
    let found: Vec<u64> = house.one("m").await.iter().map(|(_, value)| value.to_bits()).collect();
    assert_eq!(found, values.map(f64::to_bits));
}

#[tokio::test]
async fn what_is_wrong_is_named_and_nothing_of_the_write_happens() {
    let limits = Limits { series: 2, metrics: 2, tags: 2, samples: 3, ..Limits::default() };
    let house = House::limited(limits).await;
    let good = entry("m", &["a:1"], &[(1, 1.0)]);
    let uneven = SeriesSamples { samples: Samples { times: vec![1], values: vec![] }, ..good.clone() };
    for (wrong, message) in [
        (entry("", &[], &[(1, 1.0)]), "series[1].metric is \"\""),
        (entry("m", &["a:1", ":b"], &[(1, 1.0)]), "series[1].tags[1] is \":b\""),
        (entry("m", &["a", "b", "c"], &[(1, 1.0)]), "at most 2 tags"),
        (entry("m", &["a:1"], &[(i64::MAX, 1.0)]), "series[1].times[0] is \"9223372036854775807\""),
        (entry("m", &["a:1"], &[]), "series[1] is \"\", expected at least one sample"),
        (uneven, "series[1].values is \"0\", expected as many as times, 1"),
        (entry("m", &["a:1"], &[(1, 1.0), (2, 1.0), (3, 1.0)]), "at most 3 samples of one write"),
    ] {
        let refused = house.write(&[good.clone(), wrong]).await.unwrap_err().to_string();
        assert!(refused.contains(message), "{refused}");
    }
    assert_eq!(house.all("m").await.len(), 0);
    house.write(&[good, entry("n", &[], &[(1, 1.0)])]).await.unwrap();
    let refused = house.write(&[entry("m", &["a:2"], &[(1, 1.0)])]).await.unwrap_err().to_string();
    assert_eq!(refused, "at most 2 series of one organisation");
    house.write(&[entry("m", &["a:1"], &[(2, 1.0)])]).await.unwrap();
}

#[tokio::test]
async fn a_write_that_would_pass_a_limit_leaves_nothing_listed_or_counted() {
    let house = House::limited(Limits { series: 10, metrics: 2, ..Limits::default() }).await;
    let write = async |metric: &str, range: std::ops::Range<i32>| {
        let entry = |n| entry(metric, &[&format!("pod:{n}")], &[(1, 1.0)]);
        house.write(&range.map(entry).collect::<Vec<_>>()).await
    };
    write("m", 0..8).await.unwrap();
    for metric in ["m", "refused"] {
        let refused = write(metric, 8..13).await.unwrap_err().to_string();
        assert_eq!(refused, "at most 10 series of one organisation");
        let listed = house.series.series(OURS, "m", Filter::All, None, 100).await.unwrap();
        assert_eq!(listed.items.len(), 8);
        assert_eq!(house.series.tag_keys(OURS, "m").await.unwrap()[0].values, 8);
        assert!(house.series.metric(OURS, "refused").is_err());
    }
    write("n", 8..10).await.unwrap();
    assert_eq!(house.restarted().await.series.totals().series, 10);
}

#[tokio::test]
async fn where_every_series_number_is_used_series_go_on_and_new_ones_are_refused() {
    let mut house = House::new().await;
    let write =
        async |house: &House, tag: &str, time| house.write(&[entry("m", &[tag], &[(time, 1.0)])]).await;
    write(&house, "a:1", 1).await.unwrap();
    house.series.shared.next_series.store(u32::MAX - 1, std::sync::atomic::Ordering::Relaxed);
    write(&house, "a:2", 1).await.unwrap();
    for time in [2, 3] {
        for tag in ["a:3", "a:4"] {
            let refused = write(&house, tag, 1).await.unwrap_err();
            assert!(matches!(refused, SeriesError::Limit { limit: 4_294_967_295, .. }), "{refused}");
        }
        write(&house, "a:2", time).await.unwrap();
        let samples: Vec<i64> =
            house.all("m").await.into_values().map(|samples| samples.len() as i64).collect();
        assert_eq!(samples, [1, time]);
        house = house.restarted().await;
    }
}

/// Series with as long tags as there may be.
fn long_series(metric: &str, series: std::ops::Range<usize>) -> Vec<SeriesSamples> {
    let tags = |n: usize| (0..64).map(move |tag| format!("{tag}:{n:0396}"));
    let entry = |n| SeriesSamples { tags: tags(n).collect(), ..entry(metric, &[], &[(1, 1.0)]) };
    series.map(entry).collect()
}

#[tokio::test]
async fn writes_that_make_large_series_do_not_have_others_refused() {
    let house = House::new().await;
    let theirs: Vec<_> = (0..10).map(|write| long_series("m", write * 100..write * 100 + 100)).collect();
    let theirs = theirs.iter().map(|series| house.series.write(OrganisationId(2), series, Batch::new()));
    let (theirs, ours) = (futures::future::join_all(theirs), [entry("m", &[], &[(1, 1.0)])]);
    let (theirs, ours) = tokio::join!(theirs, house.write(&ours));
    ours.unwrap();
    theirs.into_iter().for_each(|done| done.unwrap());
    assert_eq!(house.restarted().await.series.totals().series, 1001);
}

#[tokio::test]
async fn a_write_that_makes_more_than_one_commit_holds_is_told_so_and_nothing_is_kept_of_it() {
    let house = House::new().await;
    let refused = house.write(&long_series("m", 0..700)).await.unwrap_err();
    assert!(matches!(refused, SeriesError::Limit { limit: 15_728_640, .. }), "{refused}");
    assert!(house.series.metric(OURS, "m").is_err());
    house.write(&long_series("m", 0..500)).await.unwrap();
    assert_eq!(house.series.totals().series, 500);
}

#[tokio::test]
async fn of_a_write_that_the_store_refuses_no_series_is_kept_unless_another_writes_it_too() {
    let house = House::new().await;
    let row = Key::new(Space::Meta).text("joined");
    let conflict = || {
        let mut join = Batch::new();
        join.require(row.clone(), Precondition::ValueIs("else".into())).put(row.clone(), "x");
        join
    };
    let [one, two] = ["a:1", "a:2"].map(|tag| entry("m", &[tag], &[(1, 1.0)]));
    let both = [one.clone(), two.clone()];
    let refused = house.series.write(OURS, &both, conflict());
    let (refused, went_on) = tokio::join!(refused, house.write(std::slice::from_ref(&two)));
    assert!(refused.is_err());
    went_on.unwrap();
    assert_eq!(house.series.totals().series, 1);
    assert_eq!(house.series.tag_values(OURS, "m", "a", None, 9).await.unwrap().items, [("2".into(), 1)]);
    house.series.write(OURS, &[two], conflict()).await.unwrap_err();
    assert_eq!(house.series.totals().series, 1, "what is in the store stays");
    house.write(&[one]).await.unwrap();
    assert_eq!(house.restarted().await.all("m").await.len(), 2);
}

#[tokio::test]
async fn organisations_do_not_see_each_other() {
    let house = House::new().await;
    house.write(&[entry("m", &["a:1"], &[(1, 1.0)])]).await.unwrap();
    let theirs = OrganisationId(2);
    house.series.write(theirs, &[entry("m", &["a:1"], &[(1, 2.0)])], Batch::new()).await.unwrap();
    assert_eq!(house.one("m").await, [(1, 1.0)]);
    house.series.delete(theirs, "m", Filter::All, Batch::new()).await.unwrap();
    let house = house.restarted().await;
    assert_eq!(house.one("m").await, [(1, 1.0)]);
    assert!(house.series.metric(theirs, "m").is_err());
}

#[tokio::test]
async fn what_is_joined_to_a_write_happens_with_it_or_neither_does() {
    let house = House::new().await;
    let row = Key::new(Space::Meta).text("joined");
    let join = || {
        let mut join = Batch::new();
        join.require(row.clone(), Precondition::Absent).put(row.clone(), &b"x"[..]);
        join
    };
    let samples = [entry("m", &[], &[(1, 1.0)])];
    house.series.write(OURS, &samples, join()).await.unwrap();
    assert!(house.store.get(&row).await.unwrap().is_some());
    let others = [entry("m", &["b"], &[(2, 2.0)])];
    let later = [entry("m", &[], &[(3, 3.0)])];
    let refused = house.series.write(OURS, &others, join());
    let (refused, went_on) = tokio::join!(refused, house.write(&later));
    assert!(matches!(refused, Err(SeriesError::Store(bellwether_store::StoreError::Conflict(_)))));
    went_on.unwrap();
    for house in [house.restarted().await, house] {
        assert_eq!(house.one("m").await, [(1, 1.0), (3, 3.0)]);
    }
}

#[tokio::test]
async fn concurrent_writers_of_new_series_make_each_once() {
    let house = Arc::new(House::new().await);
    let writers: Vec<_> = (0..20_i32)
        .map(|writer| {
            let house = Arc::clone(&house);
            tokio::spawn(async move {
                for round in 0..10 {
                    let tag = format!("n:{round}");
                    let time = i64::from(writer * 100 + round);
                    house.write(&[entry("m", &[&tag], &[(time, f64::from(writer))])]).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let house = house.restarted().await;
    let all = house.all("m").await;
    assert_eq!(all.len(), 10);
    assert!(all.values().all(|samples| samples.len() == 20));
}

#[tokio::test]
async fn memory_is_packed_when_it_holds_enough_and_refused_writes_when_it_cannot_be() {
    let limits = Limits { head_samples: 100, ..Limits::default() };
    let house = House::limited(limits).await;
    for round in 0..100_i64 {
        let samples: Vec<(i64, f64)> = (0..20).map(|n| (round * 20 + n, n as f64)).collect();
        house.write(&[entry("m", &[], &samples)]).await.unwrap();
        let totals = house.series.totals();
        assert!(totals.head_samples <= 2 * (2 * 100 + 20), "{totals:?}");
    }
    assert_eq!(house.one("m").await.len(), 2000);
    house.store.set_disk_full(true);
    assert!(house.write(&[entry("m", &[], &[(1, 1.0)])]).await.is_err());
    house.store.set_disk_full(false);
    house.write(&[entry("m", &[], &[(2000, 1.0)])]).await.unwrap();
    assert_eq!(house.one("m").await.len(), 2001);
}

#[tokio::test]
async fn a_listener_is_told_of_what_can_be_read_and_of_nothing_that_was_refused() {
    type Told = parking_lot::Mutex<Vec<(String, Vec<i64>)>>;
    #[derive(Default)]
    struct Keeps(Told);
    impl Listener for Keeps {
        fn hint(self: Arc<Self>, organisation: OrganisationId, series: &[SeriesSlice<'_>]) -> Option<Hint> {
            assert_eq!(organisation, OURS);
            let series = series.iter().map(|slice| (slice.tags.join(","), slice.times.to_vec()));
            let series: Vec<_> = series.collect();
            Some(Box::new(move || self.0.lock().extend(series)))
        }
    }
    let house = House::new().await;
    let keeps = Arc::new(Keeps::default());
    let listener: Arc<dyn Listener> = keeps.clone();
    house.series.tell(&listener);
    house
        .write(&[entry("m", &["a:1"], &[(1, 1.0), (2, 1.0)]), entry("m", &["b:1"], &[(3, 1.0)])])
        .await
        .unwrap();
    house.write(&[entry("m", &[":"], &[(4, 1.0)])]).await.unwrap_err();
    house.store.set_disk_full(true);
    house.write(&[entry("m", &["a:1"], &[(5, 1.0)])]).await.unwrap_err();
    house.store.set_disk_full(false);
    assert_eq!(*keeps.0.lock(), [("a:1".to_owned(), vec![1, 2]), ("b:1".to_owned(), vec![3])]);
    drop((listener, keeps));
    house.write(&[entry("m", &["a:1"], &[(6, 1.0)])]).await.unwrap();
}

/// What is acknowledged before the sync.
async fn early() -> House {
    let house = House::new().await;
    House { series: house.series.acknowledge_before_sync(true), ..house }
}

#[tokio::test]
async fn what_is_acknowledged_before_the_sync_is_on_the_disk_after_a_flush() {
    let house = early().await;
    for round in 0..50_i32 {
        house.write(&[entry("m", &["a:1"], &[(i64::from(round), f64::from(round))])]).await.unwrap();
    }
    assert_eq!(house.series.shared.state.read().applied, 0, "nobody waited for the writer");
    house.series.flush().await;
    for house in [house.restarted().await, house] {
        assert_eq!(house.one("m").await.len(), 50);
    }
}

#[tokio::test]
async fn after_a_write_was_lost_callers_wait_and_are_told_until_one_succeeds() {
    let house = early().await;
    let write = async |time| house.write(&[entry("m", &[], &[(time, 1.0)])]).await;
    write(1).await.unwrap();
    house.series.flush().await;
    house.store.set_disk_full(true);
    write(2).await.expect("it is acknowledged before anybody knows");
    house.series.flush().await;
    for time in 3..6 {
        assert!(write(time).await.is_err());
    }
    house.store.set_disk_full(false);
    write(6).await.unwrap();
    assert_eq!(house.one("m").await, [(1, 1.0), (6, 1.0)], "the first that succeeds was waited for");
    write(7).await.unwrap();
    house.series.flush().await;
    assert_eq!(house.one("m").await.len(), 3);
}

#[tokio::test]
async fn of_a_write_under_way_when_its_series_are_deleted_the_others_are_kept() {
    for house in [House::new().await, early().await] {
        house.write(&[entry("m", &["a:1"], &[(1, 1.0)]), entry("m", &["a:2"], &[(1, 1.0)])]).await.unwrap();
        house.series.flush().await;
        let filter = Filter::Tag("a".to_owned(), crate::TagPattern::Exact("1".to_owned()));
        let delete = house.series.delete(OURS, "m", filter.clone(), Batch::new());
        // The delete is the writer's first order; this write was worked out before it happened.
        let samples = ["a:1", "a:2", "a:3"].map(|tag| entry("m", &[tag], &[(2, 2.0)]));
        let (deleted, written) = tokio::join!(delete, house.write(&samples));
        assert_eq!((deleted.unwrap(), written.unwrap()), (1, ()));
        house.series.flush().await;
        let kept = BTreeMap::from([
            (vec!["a:2".to_owned()], vec![(1, 1.0), (2, 2.0)]),
            (vec!["a:3".to_owned()], vec![(2, 2.0)]),
        ]);
        assert_eq!(house.all("m").await, kept);
        let house = house.restarted().await;
        assert_eq!(house.all("m").await, kept);
        house.write(&samples[..1]).await.unwrap();
        assert_eq!(house.all("m").await.len(), 3, "a later write makes it anew");
        let delete = house.series.delete(OURS, "m", filter, Batch::new());
        let (deleted, written) = tokio::join!(delete, house.write(&samples[..1]));
        assert_eq!((deleted.unwrap(), written.unwrap()), (1, ()), "nothing is left to write");
        assert_eq!(house.all("m").await, kept);
    }
}
