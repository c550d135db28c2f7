//! Series of whatever metric, by matchers of its name and tags: what languages ask for that name no metric first.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bellwether_kernel::{FieldError, OrganisationId, Timestamp};
use bellwether_store::StoreError;
use roaring::RoaringBitmap;

use super::{SeriesRaw, TimeRange, Visible, evaluate};
use crate::index::{Index, pieces, select};
use crate::service::Series;
use crate::{Filter, SeriesError, TagPattern, split_tag};

/// How a matcher holds a value against its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// They are the same.
    Equal,
    /// They are not.
    NotEqual,
    /// The matcher's is a regular expression of the whole value.
    Matches,
    /// It is, and does not match.
    NotMatches,
}

/// What a series must be like. A tag that is not there has the empty value; of a key with several values any may be
/// the one.
#[derive(Clone, Debug, PartialEq)]
pub struct Matcher {
    key: Option<String>,
    pattern: TagPattern,
    negative: bool,
}

impl Matcher {
    /// A matcher of a tag's key, or of the metric's name where there is none.
    ///
    /// # Errors
    /// [`SeriesError::Invalid`] for a regular expression that does not read; `field` names it.
    pub fn new(
        key: Option<String>,
        comparison: Comparison,
        value: &str,
        field: impl FnOnce() -> String,
    ) -> Result<Self, SeriesError> {
        let pattern = match comparison {
            Comparison::Equal | Comparison::NotEqual => TagPattern::Exact(value.to_owned()),
            Comparison::Matches | Comparison::NotMatches => TagPattern::regex(value).map_err(|error| {
                FieldError::new(field(), value, format!("a regular expression of moderate size: {error}"))
            })?,
        };
        let negative = matches!(comparison, Comparison::NotEqual | Comparison::NotMatches);
        Ok(Self { key, pattern, negative })
    }

    /// Whether a metric of this name is meant; a matcher of tags means all.
    fn names(&self, metric: &str) -> bool {
        self.key.is_some() || self.pattern.matches(metric) != self.negative
    }

    /// The tags it means; a matcher of the metric's name means all.
    fn filter(&self) -> Filter {
        let Some(key) = &self.key else { return Filter::All };
        let mut filter = Filter::Tag(key.clone(), self.pattern.clone());
        if self.pattern.matches("") {
            let absent = Filter::Not(Box::new(Filter::Tag(key.clone(), TagPattern::Present)));
            filter = Filter::Or(vec![filter, absent]);
        }
        if self.negative { Filter::Not(Box::new(filter)) } else { filter }
    }
}

/// A metric and the tags of one of its series, in order.
pub type SeriesIdentity = (Arc<str>, Vec<Arc<str>>);

impl Series {
    /// The samples of each series that all matchers mean, of a metric that is `visible`; from `start` to `end`, both
    /// included, those without any left out. In order of metrics, then tags.
    ///
    /// # Errors
    /// [`SeriesError::Invalid`] for a range that is none; [`SeriesError::Limit`] if it would read too much, or has more
    /// than `limit` samples in all.
    pub async fn matching(
        &self,
        organisation: OrganisationId,
        matchers: &[Matcher],
        (start, end): (Timestamp, Timestamp),
        limit: usize,
        visible: Visible<'_>,
    ) -> Result<Vec<(Arc<str>, SeriesRaw)>, SeriesError> {
        TimeRange { start, end, step: None }.check()?;
        let (metrics, filter) = self.named(organisation, matchers, visible)?;
        let (shared, matchers) = (Arc::clone(&self.shared), matchers.to_vec());
        self.work(organisation, move |cancelled| {
            let (mut all, mut samples) = (Vec::new(), 0);
            for metric in metrics.into_iter().filter(|metric| are_named(metric, &matchers)) {
                check_wanted(cancelled)?;
                let found = evaluate::raw(&shared, organisation, &metric, &filter, (start, end), cancelled)?;
                samples += found.iter().map(|series| series.samples.len()).sum::<usize>();
                if samples > limit {
                    return Err(SeriesError::limit("samples in one answer; ask for less time", limit as u64));
                }
                all.extend(found.into_iter().map(|series| (Arc::clone(&metric), series)));
            }
            Ok(all)
        })
        .await
    }

    /// The first `limit` series that all matchers mean, of a metric that is `visible`; in order of metrics, within one
    /// in that of their first samples.
    ///
    /// # Errors
    /// The store's, if it is closing.
    pub async fn identities(
        &self,
        organisation: OrganisationId,
        matchers: &[Matcher],
        limit: usize,
        visible: Visible<'_>,
    ) -> Result<Vec<SeriesIdentity>, SeriesError> {
        self.walk(organisation, matchers, visible, Vec::new(), move |all, index, _, found| {
            let left = limit - all.len();
            all.extend(found.iter().filter_map(|number| index.identity(number)).take(left));
            all.len() < limit
        })
        .await
    }

    /// The first `limit` keys of the tags that those series have, in order.
    ///
    /// # Errors
    /// As [`Self::identities`].
    pub async fn keys_matching(
        &self,
        organisation: OrganisationId,
        matchers: &[Matcher],
        limit: usize,
        visible: Visible<'_>,
    ) -> Result<Vec<Arc<str>>, SeriesError> {
        let keys = BTreeSet::<Arc<str>>::new();
        let keys = self.walk(organisation, matchers, visible, keys, |keys, index, _, found| {
            index.tags_of(found).for_each(|tag| insert(keys, split_tag(tag).0));
            true
        });
        Ok(keys.await?.into_iter().take(limit).collect())
    }

    /// The first `limit` values that those series have of a tag's key, in order; of none, the names of their metrics.
    ///
    /// # Errors
    /// As [`Self::identities`].
    pub async fn values_matching(
        &self,
        organisation: OrganisationId,
        matchers: &[Matcher],
        key: Option<&str>,
        limit: usize,
        visible: Visible<'_>,
    ) -> Result<Vec<Arc<str>>, SeriesError> {
        let (values, key) = (BTreeSet::<Arc<str>>::new(), key.map(str::to_owned));
        let values =
            self.walk(organisation, matchers, visible, values, move |values, index, metric, found| {
                let Some(key) = &key else {
                    values.insert(Arc::clone(metric));
                    return values.len() < limit;
                };
                let own = index.tags_of(found).map(|tag| split_tag(tag)).filter(|(own, _)| own == key);
                own.for_each(|(_, value)| insert(values, value));
                true
            });
        Ok(values.await?.into_iter().take(limit).collect())
    }

    /// The metrics that are visible, of which matchers may mean some by their names, in order, and which of their series.
    fn named(
        &self,
        organisation: OrganisationId,
        matchers: &[Matcher],
        visible: Visible<'_>,
    ) -> Result<(Vec<Arc<str>>, Filter), SeriesError> {
        let filter = filter_of(matchers);
        filter.check()?;
        let index = self.shared.index(organisation);
        let index = index.read();
        Ok((metrics_of(&index, matchers).filter(|name| visible(name)).collect(), filter))
    }

    /// Adds to `all` what `each` finds of the series that all matchers mean, metric by metric and of each a piece at a time,
    /// until it says that this is enough.
    async fn walk<T: Send + 'static>(
        &self,
        organisation: OrganisationId,
        matchers: &[Matcher],
        visible: Visible<'_>,
        mut all: T,
        each: impl Fn(&mut T, &Index, &Arc<str>, &RoaringBitmap) -> bool + Send + 'static,
    ) -> Result<T, SeriesError> {
        let (metrics, filter) = self.named(organisation, matchers, visible)?;
        let (index, matchers) = (self.shared.index(organisation), matchers.to_vec());
        self.work(organisation, move |cancelled| {
            for metric in metrics.iter().filter(|metric| are_named(metric, &matchers)) {
                let found = select(&index, metric, &filter, &|| check_wanted(cancelled))?;
                for piece in pieces(found.unwrap_or_default()) {
                    check_wanted(cancelled)?;
                    if !each(&mut all, &index.read(), metric, &piece) {
                        return Ok(all);
                    }
                }
            }
            Ok(all)
        })
        .await
    }
}

/// Refuses to go on where nobody waits for the answer.
pub(crate) fn check_wanted(cancelled: &AtomicBool) -> Result<(), SeriesError> {
    if cancelled.load(Ordering::Relaxed) {
        return Err(StoreError::Unavailable("nobody waits for the answer").into());
    }
    Ok(())
}

/// Whether all matchers mean a metric of this name.
fn are_named(metric: &str, matchers: &[Matcher]) -> bool {
    matchers.iter().all(|matcher| matcher.names(metric))
}

fn insert(texts: &mut BTreeSet<Arc<str>>, text: &str) {
    if !texts.contains(text) {
        texts.insert(text.into());
    }
}

fn filter_of(matchers: &[Matcher]) -> Filter {
    match matchers.iter().map(Matcher::filter).filter(|filter| *filter != Filter::All).collect::<Vec<_>>() {
        filters if filters.is_empty() => Filter::All,
        filters => Filter::And(filters),
    }
}

/// The metrics among which those are that all matchers mean, in order: one where it is named, else all. An expression is held
/// against their names later, when nobody waits for the index.
fn metrics_of<'a>(index: &'a Index, matchers: &'a [Matcher]) -> Box<dyn Iterator<Item = Arc<str>> + 'a> {
    let exact = matchers.iter().find_map(|matcher| match matcher {
        Matcher { key: None, pattern: TagPattern::Exact(name), negative: false } => Some(name),
        _ => None,
    });
    match exact {
        Some(name) => Box::new(std::iter::once(Arc::from(name.as_str()))),
        None => Box::new(index.metrics_like(None, None).map(|(name, _)| name)),
    }
}
