//! Series of whatever metric, by matchers.

use bellwether_store::Turn;
use futures::FutureExt as _;

use super::*;
use crate::Comparison::{Equal, Matches, NotEqual, NotMatches};
use crate::{Comparison, Matcher};

/// `up` of two jobs, one of them without an instance; `up.time` of the first; a metric of nobody's.
async fn house() -> House {
    let house = House::new().await;
    let written = [
        entry("up", &["job:api", "instance:a:1"], &[(1000, 1.0), (2000, 0.0)]),
        entry("up", &["job:db"], &[(1000, 1.0)]),
        entry("up.time", &["job:api", "zone:x", "zone:y"], &[(3000, 7.0)]),
        entry("other", &[], &[(1000, 5.0)]),
    ];
    house.write(&written).await.unwrap();
    house
}

fn matchers(texts: &[(Option<&str>, Comparison, &str)]) -> Vec<Matcher> {
    let matcher = |(key, comparison, value): &(Option<&str>, Comparison, &str)| {
        Matcher::new(key.map(str::to_owned), *comparison, value, || "value".to_owned()).unwrap()
    };
    texts.iter().map(matcher).collect()
}

fn shown((metric, tags): (Arc<str>, Vec<Arc<str>>)) -> String {
    let tags: Vec<&str> = tags.iter().map(|tag| &**tag).collect();
    format!("{metric} {}", tags.join(" ")).trim_end().to_owned()
}

#[tokio::test]
async fn matchers_mean_the_series_whose_name_and_tags_all_of_them_match() {
    let house = house().await;
    let (api, db, time, other) =
        ("up instance:a:1 job:api", "up job:db", "up.time job:api zone:x zone:y", "other");
    for (texts, expected) in [
        (&[][..], &[other, api, db, time][..]),
        (&[(None, Equal, "up")], &[api, db]),
        (&[(None, Equal, "up"), (None, NotEqual, "up")], &[]),
        (&[(None, NotEqual, "up")], &[other, time]),
        (&[(None, Matches, "up.*")], &[api, db, time]),
        (&[(None, Matches, "p")], &[]),
        (&[(None, NotMatches, "up.+")], &[other, api, db]),
        (&[(Some("job"), Equal, "api")], &[api, time]),
        (&[(Some("job"), NotEqual, "api")], &[other, db]),
        (&[(Some("job"), Matches, "a.i|d")], &[api, time]),
        (&[(Some("job"), NotMatches, "a.*")], &[other, db]),
        (&[(Some("instance"), Equal, "a:1")], &[api]),
        // What is not there is empty.
        (&[(Some("instance"), Equal, "")], &[other, db, time]),
        (&[(Some("instance"), NotEqual, "")], &[api]),
        (&[(Some("instance"), Matches, ".*")], &[other, api, db, time]),
        (&[(Some("instance"), Matches, ".+")], &[api]),
        (&[(Some("instance"), NotMatches, ".+"), (Some("job"), NotEqual, "")], &[db, time]),
        (&[(Some("nothing"), NotEqual, "x"), (None, Equal, "other")], &[other]),
        // Of several values any may be the one.
        (&[(Some("zone"), Equal, "y")], &[time]),
        (&[(Some("zone"), NotEqual, "x")], &[other, api, db]),
    ] {
        let matchers = matchers(texts);
        let found = house.series.identities(OURS, &matchers, 100, &|_| true).await.unwrap();
        let found: Vec<String> = found.into_iter().map(shown).collect();
        assert_eq!(found, expected, "{texts:?}");
        let range = (at("1970-01-01T00:00:00Z"), at("1970-01-01T00:00:10Z"));
        let with_samples = house.series.matching(OURS, &matchers, range, 100, &|_| true).await.unwrap();
        let mut names: Vec<String> =
            with_samples.into_iter().map(|(metric, series)| shown((metric, series.tags))).collect();
        names.sort();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(names, expected, "{texts:?}");
    }
}

#[tokio::test]
async fn keys_and_values_are_those_of_the_series_that_are_meant() {
    let house = house().await;
    for (texts, limit, expected) in [
        (&[][..], 10, &["instance", "job", "zone"][..]),
        (&[], 2, &["instance", "job"]),
        (&[(Some("job"), Equal, "db")], 10, &["job"]),
    ] {
        let keys = house.series.keys_matching(OURS, &matchers(texts), limit, &|_| true).await.unwrap();
        assert_eq!(keys.iter().map(|key| &**key).collect::<Vec<_>>(), expected, "{texts:?}");
    }
    for (texts, key, hidden, expected) in [
        (&[][..], Some("job"), "", &["api", "db"][..]),
        (&[(None, Equal, "up.time")], Some("zone"), "", &["x", "y"]),
        (&[], None, "", &["other", "up", "up.time"]),
        (&[(Some("job"), Equal, "api")], None, "up.time", &["up"]),
        (&[(Some("job"), Equal, "db")], Some("job"), "up", &[]),
    ] {
        let visible = |metric: &str| metric != hidden;
        let values = house.series.values_matching(OURS, &matchers(texts), key, 10, &visible).await.unwrap();
        assert_eq!(values.iter().map(|value| &**value).collect::<Vec<_>>(), expected, "{texts:?} {key:?}");
    }
}

#[tokio::test]
async fn what_is_hidden_too_much_or_no_expression_is_not_answered() {
    let house = house().await;
    let range = (Timestamp::MIN, Timestamp::MAX);
    let all = house.series.matching(OURS, &[], range, 4, &|metric| metric != "other").await.unwrap();
    assert_eq!(all.len(), 3);
    let error = house.series.matching(OURS, &[], range, 4, &|_| true).await.unwrap_err();
    assert!(matches!(error, SeriesError::Limit { limit: 4, .. }), "{error}");
    let error = Matcher::new(None, Matches, "a(", || "matchers[0].value".to_owned()).unwrap_err();
    assert!(error.to_string().contains("matchers[0].value"), "{error}");
    let backwards = house.series.matching(OURS, &[], (range.1, range.0), 4, &|_| true).await;
    assert!(matches!(backwards, Err(SeriesError::Invalid(_))));
}

/// Takes every turn for queries.
fn every_turn(house: &House) -> Vec<Turn> {
    let take = |organisation| house.series.shared.queries.take(organisation).now_or_never();
    let turns = [OURS, OrganisationId(77)].into_iter().flat_map(|one| std::iter::from_fn(move || take(one)));
    turns.map(Result::unwrap).collect()
}

#[tokio::test]
async fn a_list_by_pattern_waits_its_turn_beside_queries_and_one_of_exact_tags_is_quick() {
    let house = house().await;
    let listed = async |filter: &str| {
        let filter = crate::parse_filter(filter).unwrap();
        house.series.series(OURS, "up", filter, None, 10).await.unwrap().items.len()
    };
    let turns = every_turn(&house);
    assert_eq!(listed("job:api").await, 1);
    assert_eq!(listed("job:*").now_or_never(), None, "every turn is taken");
    drop(turns);
    assert_eq!(listed("job:*").await, 2);
}

#[tokio::test]
async fn the_tags_of_an_organisation_with_many_are_listed_in_turn_beside_queries() {
    let house = house().await;
    let keys = async || house.series.tag_keys(OURS, "up").await.unwrap();
    let pods = async |after| house.series.tag_values(OURS, "up", "pod", after, 2).await.unwrap();
    let turns = every_turn(&house);
    let few = keys().await;
    let entries: Vec<_> = (0..5000).map(|n| entry("up", &[&format!("pod:{n:04}")], &[(1, 1.0)])).collect();
    house.write(&entries).await.unwrap();
    assert_eq!((keys().now_or_never(), pods(None).now_or_never()), (None, None), "every turn is taken");
    drop(turns);
    let many = keys().await;
    let pod = many.iter().find(|key| &*key.key == "pod").expect("it is listed");
    assert_eq!((pod.values, pod.series, many.len()), (5000, 5000, few.len() + 1));
    let found = pods(Some("4997")).await;
    assert_eq!((found.items, found.more), (vec![("4998".into(), 1), ("4999".into(), 1)], false));
    let up = [Matcher::new(None, Equal, "up", String::new).unwrap()];
    let everybody = |_: &str| true;
    for limit in [10_000, 5001, 3] {
        let listed = house.series.identities(OURS, &up, limit, &everybody).await.unwrap();
        assert_eq!(listed.len(), limit.min(5002));
        let values = house.series.values_matching(OURS, &up, Some("pod"), limit, &everybody).await.unwrap();
        assert_eq!(values.len(), limit.min(5000));
    }
}
