//! Finding series by a filter, and what tags they have, a piece at a time: who writes waits for a piece, and not for all
//! values of a tag there are.
//!
//! What is found is so of no one moment. A series is in it that was there all the time and is meant; one that came or went
//! meanwhile may be or not, as by a question a moment earlier or later.

use std::ops::Bound;
use std::sync::Arc;

use parking_lot::RwLock;
use roaring::RoaringBitmap;

use super::{Filter, Index, TagPattern};
use crate::SeriesError;

/// Values of a tag's key, or series, that are taken or looked up before the index is let go of: some milliseconds or less.
const PIECE: usize = 4096;

/// Keys of tags: of each, how many values and how many series.
type Keys = Vec<(Arc<str>, u64, u64)>;

/// Values of a key, each with how many series.
type Values = Vec<(Arc<str>, u64)>;

/// Asked between two pieces: whether to go on.
pub(crate) type GoOn<'a> = &'a dyn Fn() -> Result<(), SeriesError>;

impl Index {
    /// Whether all tags there are are gone through in a piece.
    pub(crate) fn has_few_tags(&self) -> bool {
        self.tags.len() <= PIECE
    }
}

/// Series, a piece at a time.
pub(crate) fn pieces(series: RoaringBitmap) -> impl Iterator<Item = RoaringBitmap> {
    let mut series = series.into_iter();
    std::iter::from_fn(move || {
        let piece: RoaringBitmap = series.by_ref().take(PIECE).collect();
        (!piece.is_empty()).then_some(piece)
    })
}

/// The series of a metric that `filter` means; `None` if there is no such metric.
pub(crate) fn select(
    index: &RwLock<Index>,
    metric: &str,
    filter: &Filter,
    go_on: GoOn<'_>,
) -> Result<Option<RoaringBitmap>, SeriesError> {
    let all = {
        let index = index.read();
        if filter.is_exact() {
            return Ok(index.select(metric, filter));
        }
        index.select(metric, &Filter::All)
    };
    let tagged =
        |all: &RoaringBitmap, key: &str, pattern: &TagPattern| tagged(index, all, key, pattern, go_on);
    all.map(|all| filter.within(&all, &tagged)).transpose()
}

/// The keys of tags that a metric's series have: for each, how many values and how many series. `None` if there is no such
/// metric.
pub(crate) fn keys_of(
    index: &RwLock<Index>,
    metric: &str,
    go_on: GoOn<'_>,
) -> Result<Option<Keys>, SeriesError> {
    let Some(all) = index.read().select(metric, &Filter::All) else { return Ok(None) };
    let mut keys = Vec::new();
    let mut behind: Option<Arc<str>> = None;
    loop {
        let from = behind.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let next = index
            .read()
            .keys
            .range::<str, _>((from, Bound::Unbounded))
            .next()
            .map(|(key, _)| Arc::clone(key));
        let Some(key) = next else { return Ok(Some(keys)) };
        let (mut count, mut series) = (0, RoaringBitmap::new());
        each_value(index, &key, None, go_on, |_, tagged| {
            let set = tagged & &all;
            count += u64::from(!set.is_empty());
            series |= set;
            true
        })?;
        if count > 0 {
            keys.push((Arc::clone(&key), count, series.len()));
        }
        behind = Some(key);
    }
}

/// The first `most` values of a key that a metric's series have, behind `after`, in order, each with how many series. `None`
/// if there is no such metric.
pub(crate) fn values_of(
    index: &RwLock<Index>,
    metric: &str,
    key: &str,
    after: Option<&str>,
    most: usize,
    go_on: GoOn<'_>,
) -> Result<Option<Values>, SeriesError> {
    let Some(all) = index.read().select(metric, &Filter::All) else { return Ok(None) };
    let mut values = Vec::new();
    each_value(index, key, after, go_on, |value, tagged| {
        let series = tagged.intersection_len(&all);
        if series > 0 {
            values.push((Arc::clone(value), series));
        }
        values.len() < most
    })?;
    Ok(Some(values))
}

/// Hands over the values of a key behind `after`, in order, with the series that have each, as long as `each` says.
fn each_value(
    index: &RwLock<Index>,
    key: &str,
    after: Option<&str>,
    go_on: GoOn<'_>,
    mut each: impl FnMut(&Arc<str>, &RoaringBitmap) -> bool,
) -> Result<(), SeriesError> {
    let mut behind: Option<Arc<str>> = after.map(Arc::from);
    loop {
        go_on()?;
        let index = index.read();
        let Some(values) = index.keys.get(key) else { return Ok(()) };
        let from = behind.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut last = None;
        for (value, tag) in values.range::<str, _>((from, Bound::Unbounded)).take(PIECE) {
            if !each(value, &index.tags[*tag as usize].series) {
                return Ok(());
            }
            last = Some(Arc::clone(value));
        }
        match last {
            Some(last) => behind = Some(last),
            None => return Ok(()),
        }
    }
}

fn tagged(
    index: &RwLock<Index>,
    all: &RoaringBitmap,
    key: &str,
    pattern: &TagPattern,
    go_on: GoOn<'_>,
) -> Result<RoaringBitmap, SeriesError> {
    go_on()?;
    {
        let index = index.read();
        let few = index.keys.get(key).is_none_or(|values| values.len() <= PIECE);
        // A regular expression may take long for each.
        if matches!(pattern, TagPattern::Exact(_)) || few && !matches!(pattern, TagPattern::Regex(_)) {
            return Ok(index.tagged(all, key, pattern));
        }
    }
    let start = match pattern {
        TagPattern::Wildcard(wildcard) => wildcard.split('*').next().unwrap_or_default(),
        _ => "",
    };
    let mut found = RoaringBitmap::new();
    let mut behind: Option<Arc<str>> = None;
    loop {
        go_on()?;
        let mut values: Vec<Arc<str>> = {
            let index = index.read();
            let Some(values) = index.keys.get(key) else { break };
            let from = behind.as_deref().map_or(Bound::Included(start), Bound::Excluded);
            let range = values.range::<str, _>((from, Bound::Unbounded)).map(|(value, _)| value);
            range.take_while(|value| value.starts_with(start)).take(PIECE).cloned().collect()
        };
        let Some(last) = values.last().cloned() else { break };
        behind = Some(last);
        values.retain(|value| pattern.matches(value));
        let index = index.read();
        if let Some(there) = index.keys.get(key) {
            let tags = values.iter().filter_map(|value| there.get(value));
            tags.for_each(|tag| found |= &index.tags[*tag as usize].series);
        }
    }
    found &= all;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeriesNumber;

    /// Series of so many values of a key.
    fn index(values: u32) -> RwLock<Index> {
        let mut index = Index::default();
        for number in 1..=values {
            let (own, even) = (format!("n:{number}"), format!("even:{}", number % 2 == 0));
            index.add(SeriesNumber(number), "m", &[&even, &own], true);
        }
        index.add(SeriesNumber(values + 1), "other", &["n:1"], true);
        RwLock::new(index)
    }

    fn tag(key: &str, pattern: TagPattern) -> Filter {
        Filter::Tag(key.to_owned(), pattern)
    }

    #[test]
    fn what_is_found_a_piece_at_a_time_is_what_is_found_at_once() {
        let index = index(3 * PIECE as u32 + 7);
        let even = || tag("even", TagPattern::Exact("true".to_owned()));
        let (wildcard, regex) = (TagPattern::wildcard("1*2*"), TagPattern::regex("[0-9]*7").unwrap());
        for filter in [
            Filter::All,
            even(),
            tag("n", TagPattern::Present),
            tag("none", TagPattern::Present),
            tag("n", wildcard.clone()),
            tag("n", regex.clone()),
            Filter::Not(Box::new(tag("n", regex.clone()))),
            Filter::And(vec![even(), tag("n", wildcard.clone()), tag("even", TagPattern::wildcard("t*"))]),
            Filter::Or(vec![tag("n", regex), Filter::And(vec![even(), tag("n", wildcard)])]),
        ] {
            let found = select(&index, "m", &filter, &|| Ok(())).unwrap();
            assert_eq!(found, index.read().select("m", &filter), "{filter:?}");
        }
        assert!(select(&index, "unknown", &even(), &|| Ok(())).unwrap().is_none());
    }

    #[test]
    fn tags_are_counted_the_same_a_piece_at_a_time_and_only_for_the_metric() {
        let many = 2 * PIECE as u32 + 7;
        let index = index(many);
        let on: GoOn<'_> = &|| Ok(());
        let keys = keys_of(&index, "m", on).unwrap().unwrap();
        let keys: Vec<_> = keys.iter().map(|(key, values, series)| (&**key, *values, *series)).collect();
        assert_eq!(keys, [("even", 2, u64::from(many)), ("n", u64::from(many), u64::from(many))]);
        let all = values_of(&index, "m", "n", None, usize::MAX, on).unwrap().unwrap();
        assert!(all.len() == many as usize && all.is_sorted() && all.iter().all(|(_, series)| *series == 1));
        let mut paged = Vec::new();
        loop {
            let after: Option<Arc<str>> = paged.last().map(|(value, _): &(Arc<str>, u64)| Arc::clone(value));
            let page = values_of(&index, "m", "n", after.as_deref(), 3000, on).unwrap().unwrap();
            if page.is_empty() {
                break;
            }
            paged.extend(page);
        }
        assert_eq!(paged, all);
        let other = values_of(&index, "other", "n", None, 10, on).unwrap();
        assert_eq!(other, Some(vec![("1".into(), 1)]));
        assert_eq!(keys_of(&index, "unknown", on).unwrap(), None);
        assert_eq!(values_of(&index, "unknown", "n", None, 1, on).unwrap(), None);
    }

    #[test]
    fn a_writer_has_the_index_between_two_pieces_and_who_is_gone_ends_the_search() {
        let index = index(3 * PIECE as u32);
        let filter = tag("n", TagPattern::regex("[0-9]*").unwrap());
        let pieces = std::cell::Cell::new(0);
        let let_go = || {
            assert!(index.try_write().is_some());
            pieces.set(pieces.get() + 1);
            Ok(())
        };
        select(&index, "m", &filter, &let_go).unwrap();
        assert!(pieces.take() >= 4);
        keys_of(&index, "m", &let_go).unwrap();
        assert!(pieces.take() >= 4);
        values_of(&index, "m", "n", None, usize::MAX, &let_go).unwrap();
        assert!(pieces.take() >= 4);
        let gone = || Err(bellwether_store::StoreError::Unavailable("nobody waits").into());
        select(&index, "m", &filter, &gone).unwrap_err();
    }
}
