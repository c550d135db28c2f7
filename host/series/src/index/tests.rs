//! What finding series promises: the same as trying each.

use proptest::prelude::*;

use super::*;

fn filled(series: &[Vec<String>]) -> Index {
    let mut index = Index::default();
    for (at, tags) in series.iter().enumerate() {
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        if index.find("m", &tags).is_none() {
            index.add(SeriesNumber(at as u32 + 1), "m", &tags, true);
        }
    }
    index.add(SeriesNumber(1_000_000), "other", &["a:1"], true);
    index
}

fn tags() -> impl Strategy<Value = Vec<String>> {
    prop::collection::btree_set("[abc](:[xy]{0,2})?", 0..4).prop_map(|tags| {
        let mut tags: Vec<String> = tags.iter().map(|tag| tag.trim_end_matches(':').to_owned()).collect();
        tags.sort();
        tags.dedup();
        tags
    })
}

fn filter() -> impl Strategy<Value = Filter> {
    let pattern = prop_oneof![
        Just(TagPattern::Present),
        "[xy]{0,2}".prop_map(TagPattern::Exact),
        "[xy*]{1,3}".prop_map(|text| TagPattern::wildcard(&text)),
        "[xy](\\|[xy]{1,2}|[+*])?".prop_map(|text| TagPattern::regex(&text).unwrap()),
    ];
    let leaf = prop_oneof![
        Just(Filter::All),
        ("[abcd]", pattern).prop_map(|(key, pattern)| Filter::Tag(key, pattern))
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|filter| Filter::Not(Box::new(filter))),
            prop::collection::vec(inner.clone(), 0..3).prop_map(Filter::And),
            prop::collection::vec(inner, 0..3).prop_map(Filter::Or),
        ]
    })
}

proptest! {
    #[test]
    fn a_filter_finds_what_trying_each_series_finds(series in prop::collection::vec(tags(), 0..30), filter in filter()) {
        let index = filled(&series);
        let found = index.select("m", &filter);
        let expected: Vec<u32> = index.series.iter().filter_map(|(number, entry)| {
            let tags: Vec<&str> = entry.tags.iter().map(|tag| &*index.tags[*tag as usize].text).collect();
            (&*index.metrics[entry.metric as usize].name == "m" && filter.matches(&tags)).then_some(*number)
        }).collect();
        let found: Vec<u32> = found.unwrap_or_default().iter().collect();
        prop_assert_eq!(found, { let mut expected = expected; expected.sort_unstable(); expected });
    }

    #[test]
    fn what_is_removed_is_gone_and_the_rest_is_found(series in prop::collection::vec(tags(), 1..30)) {
        let mut index = filled(&series);
        let all: Vec<u32> = index.select("m", &Filter::All).unwrap().iter().collect();
        for number in all.iter().step_by(2) {
            index.remove(SeriesNumber(*number));
        }
        for number in &all {
            let identity = index.identity(*number);
            prop_assert_eq!(identity.is_some(), all.iter().step_by(2).all(|removed| removed != number));
            if let Some((metric, tags)) = identity {
                let tags: Vec<&str> = tags.iter().map(|tag| &**tag).collect();
                prop_assert_eq!(index.find(&metric, &tags).map(|found| found.number), Some(SeriesNumber(*number)));
            }
        }
    }
}

#[test]
fn keys_and_values_are_counted_per_metric() {
    let series: Vec<Vec<String>> = [&["host:a", "env:prod"][..], &["host:b", "env:prod"], &["host:c"]]
        .iter()
        .map(|tags| {
            let mut tags: Vec<String> = tags.iter().map(ToString::to_string).collect();
            tags.sort();
            tags
        })
        .collect();
    let index = parking_lot::RwLock::new(filled(&series));
    let keys = keys_of(&index, "m", &|| Ok(())).unwrap().unwrap();
    let keys: Vec<_> = keys.iter().map(|(key, values, series)| (&**key, *values, *series)).collect();
    assert_eq!(keys, [("env", 1, 2), ("host", 3, 3)]);
    let values = values_of(&index, "m", "host", Some("a"), 10, &|| Ok(())).unwrap().unwrap();
    assert_eq!(
        values.iter().map(|(value, series)| (&**value, *series)).collect::<Vec<_>>(),
        [("b", 1), ("c", 1)]
    );
    assert_eq!(keys_of(&index, "none", &|| Ok(())).unwrap(), None);
    let index = index.read();
    let metrics: Vec<_> = index.metrics_like(Some("OTH"), None).collect();
    assert_eq!((&*metrics[0].0, metrics[0].1, metrics.len()), ("other", 1, 1));
}

#[test]
fn limits_are_told_with_what_and_how_many() {
    let mut index = filled(&[vec!["a".to_owned()], vec!["b".to_owned()]]);
    let limits = Limits { series: 3, metrics: 2, ..Limits::default() };
    let refused = index.check_room("m", &limits).unwrap_err().to_string();
    assert_eq!(refused, "at most 3 series of one organisation");
    let limits = Limits { series: 4, ..limits };
    index.check_room("m", &limits).unwrap();
    assert!(index.check_room("new", &limits).unwrap_err().to_string().contains("at most 2 metrics"));
    for metric in ["said", "more"] {
        index.check_said(metric, &limits).unwrap();
        index.set_metadata(metric, Metadata::default());
    }
    assert!(index.check_said("new", &limits).unwrap_err().to_string().contains("at most 2 metrics without"));
    index.check_said("m", &limits).unwrap();
    index.remove(SeriesNumber(1_000_000));
    index.check_room("said", &limits).unwrap();
}

#[test]
fn series_that_come_and_go_leave_no_tags_behind() {
    let mut index = Index::default();
    for number in 0..1_000 {
        let pod = format!("pod:{number}");
        index.add(SeriesNumber(number), "m", &["env:prod", &pod], true);
        if let Some(before) = number.checked_sub(10) {
            index.remove(SeriesNumber(before));
        }
    }
    assert_eq!((index.len(), index.tags.len(), index.tag_texts.len()), (10, 12, 11));
    (1_000..2_000)
        .for_each(|number| index.add(SeriesNumber(number), "new", &[&format!("pod:{number}")], true));
    (1_000..2_000).for_each(|number| index.remove(SeriesNumber(number)));
    index.shrink();
    assert!(index.metadata("new").is_none());
    let room = [index.series.capacity(), index.by_identity.capacity(), index.tag_texts.capacity()];
    assert!(room.iter().all(|room| *room < 40), "{room:?}");
    assert_eq!((index.metrics.len(), index.tags.len(), index.free_tags.len()), (1, 11, 0));
    let texts = index.identity(999).unwrap().1;
    assert_eq!(texts.iter().map(|text| &**text).collect::<Vec<_>>(), ["env:prod", "pod:999"]);
    assert_eq!(index.find("m", &["env:prod", "pod:995"]).unwrap().number, SeriesNumber(995));
    assert_eq!(index.find("m", &["env:prod", "pod:5"]), None);
}
