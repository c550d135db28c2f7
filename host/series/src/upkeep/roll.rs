//! Samples that are old enough become roll-ups, a week at a time: all of a week are rolled up together, so that of several
//! at one time the last written still holds. One that comes later is added to what its step amounts to, at the next look.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bellwether_store::{StoreError, blocking};
use hashbrown::DefaultHashBuilder;
use roaring::RoaringBitmap;

use super::merge::{Merging, Target};
use super::{DAY, Kept, digests};
use crate::RollUp;
use crate::layout;
use crate::limits::PARTITION;
use crate::metadata::{Metadata, MetricKind};
use crate::service::{Placed, Shared};

/// What is done, if it panics.
const ROLLING: &str = "rolling samples up";

/// Which series are rolled up, and how.
#[derive(Default)]
pub(crate) struct Rolls {
    policies: Vec<(Vec<RollUp>, bool)>,
    /// Where each policy stands.
    places: HashMap<(Vec<RollUp>, bool), u32>,
    /// The policy of each series that has one: asked for every block, and there may be as many as metrics.
    series: HashMap<u32, u32, DefaultHashBuilder>,
    now: i64,
}

/// What was last looked for: the day, and the policies.
pub(crate) type Looked = (i64, Vec<(Vec<RollUp>, bool)>);

impl Rolls {
    pub(super) fn at(now: i64) -> Self {
        Self { now, ..Self::default() }
    }

    /// Takes in what a metric says of its series; a distribution's become sketches.
    pub(super) fn add(&mut self, metadata: &Metadata, series: &RoaringBitmap) {
        let Metadata { roll_ups, kind, .. } = metadata;
        if roll_ups.is_empty() {
            return;
        }
        let policy = (roll_ups.clone(), *kind == MetricKind::Distribution);
        let place = match self.places.get(&policy) {
            Some(place) => *place,
            None => {
                let place = self.policies.len() as u32;
                self.policies.push(policy.clone());
                self.places.insert(policy, place);
                place
            }
        };
        self.series.extend(series.iter().map(|number| (number, place)));
    }

    /// What samples of a series in a week that begins at `partition` are kept as now.
    fn target(&self, number: u32, partition: i64) -> Target {
        let (roll_ups, sketched) = &self.policies[*self.series.get(&number)? as usize];
        let old = |roll_up: &&RollUp| partition + PARTITION <= self.now - i64::from(roll_up.after_days) * DAY;
        roll_ups.iter().rev().find(old).map(|roll_up| (roll_up.step(), *sketched))
    }

    /// Behind it, nothing is rolled up.
    fn before(&self) -> Option<i64> {
        let days = self.policies.iter().filter_map(|(roll_ups, _)| roll_ups.first());
        days.map(|roll_up| self.now - i64::from(roll_up.after_days) * DAY - PARTITION).max()
    }

    fn looked(&self) -> Looked {
        (self.now.div_euclid(DAY), self.policies.clone())
    }
}

/// A part of a week that is to be rolled up.
struct Due {
    sources: Vec<Arc<Placed>>,
    partition: i64,
    /// Series that stay as they are.
    blocked: RoaringBitmap,
}

impl Shared {
    /// Rolls up what is due, into segments of about `most` bytes; looks once a day, and whenever metrics say otherwise than
    /// before.
    pub(crate) async fn roll_up(self: &Arc<Self>, most: u64) -> Result<(), StoreError> {
        let _turn = self.merging.lock().await;
        let looked = self.to_look_for();
        if self.rolled_up.lock().as_ref() == Some(&looked) {
            return Ok(());
        }
        // Before what is kept, so that no series of theirs is missing there.
        let segments = Arc::clone(&self.state.read().segments);
        let kept = Arc::new(self.kept());
        let before = kept.rolls.before().unwrap_or(i64::MIN);
        let mut partitions: BTreeMap<i64, Vec<Arc<Placed>>> = BTreeMap::new();
        for placed in segments.iter() {
            if let Some(partition) = placed.row.partition.filter(|partition| *partition <= before) {
                partitions.entry(partition).or_default().push(Arc::clone(placed));
            }
        }
        for (partition, placed) in partitions {
            // A week that misses some of its samples stays as it is, for whoever puts them back.
            if placed.iter().any(|placed| self.is_lost(placed)) {
                continue;
            }
            let (all, known) = (Arc::clone(&segments), Arc::clone(&kept));
            let due = match blocking(ROLLING, move || due(partition, &placed, &all, &known)).await {
                Err(StoreError::Lost(_)) => continue,
                due => due?,
            };
            if let Some(due) = due {
                match self.roll_up_week(due, &kept, most).await {
                    Err(StoreError::Lost(_)) => {}
                    done => done?,
                }
            }
        }
        *self.rolled_up.lock() = Some(looked);
        Ok(())
    }

    /// What a look now would look for: found without the series, as it is asked every minute.
    fn to_look_for(&self) -> Looked {
        let (now, trusted) = self.now();
        let mut rolls = Rolls::at(now.as_milliseconds());
        if trusted {
            let none = RoaringBitmap::new();
            for (_, index) in self.all_indexes() {
                index.read().each_metric(|_, metadata| rolls.add(metadata, &none));
            }
        }
        rolls.looked()
    }

    async fn roll_up_week(self: &Arc<Self>, due: Due, kept: &Arc<Kept>, most: u64) -> Result<(), StoreError> {
        let Due { sources, partition, blocked } = due;
        let low = sources.iter().map(|placed| placed.row.low).min().unwrap_or(0);
        let high = sources.iter().map(|placed| placed.row.high).max().unwrap_or(0);
        let old = sources.clone();
        let merging = blocking(ROLLING, move || Merging::new(sources)).await?;
        let mut opened = Vec::new();
        let target = (partition, blocked, most);
        match self.put_week(&mut opened, merging, (low, high), target, kept).await {
            Ok(()) => self.swap(opened, &old, None).await,
            Err(error) => {
                // Nothing refers to them; the next look makes others.
                layout::loose(&self.parts).discard(digests(&opened)).await;
                Err(error)
            }
        }
    }

    /// Puts what a week amounts to on the disk, a segment after the other into `opened`.
    async fn put_week(
        self: &Arc<Self>,
        opened: &mut Vec<Arc<Placed>>,
        mut merging: Merging,
        written: (u64, u64),
        (partition, blocked, most): (i64, RoaringBitmap, u64),
        kept: &Arc<Kept>,
    ) -> Result<(), StoreError> {
        loop {
            // One after the other: a week may be more than memory holds.
            let (all, stay) = (Arc::clone(kept), blocked.clone());
            let (next, back) = blocking(ROLLING, move || {
                let target = |number: u32| {
                    if stay.contains(number) { None } else { all.rolls.target(number, partition) }
                };
                Ok((merging.next(&all, &target, most)?, merging))
            })
            .await?;
            merging = back;
            let Some(built) = next else { return Ok(()) };
            opened.extend(self.put(vec![built], written).await?);
        }
    }
}

/// What of a week is to be rolled up: its segments from the first to the last with something that is due.
fn due(
    partition: i64,
    placed: &[Arc<Placed>],
    all: &[Arc<Placed>],
    kept: &Kept,
) -> Result<Option<Due>, StoreError> {
    // Scattered samples may be of any week and stay samples; so what shares its times with them does.
    let mut blocked = RoaringBitmap::new();
    let end = partition + PARTITION;
    let scattered =
        |other: &&Arc<Placed>| other.row.partition.is_none() && other.is_within(partition, end - 1);
    let scattered: Vec<&Arc<Placed>> = all.iter().filter(scattered).collect();
    for placed in &scattered {
        let entries = placed.all()?;
        let within = entries.iter().filter(|entry| entry.first < end && entry.last >= partition);
        blocked.extend(within.map(|entry| entry.series));
    }
    let (mut first, mut last) = (None, 0);
    for (at, placed) in placed.iter().enumerate() {
        let is_due = |entry: &crate::segment::Entry| {
            let target = kept.rolls.target(entry.series, partition);
            !blocked.contains(entry.series)
                && target
                    .is_some_and(|(step, _)| entry.step < step && (entry.step == 0 || step % entry.step == 0))
        };
        if placed.all()?.iter().any(is_due) {
            first.get_or_insert(at);
            last = at;
        }
    }
    let Some(first) = first else { return Ok(None) };
    let sources = placed[first..=last].to_vec();
    // What was scattered between two must stay between them.
    let range = sources[0].row.high..sources[sources.len() - 1].row.high;
    if scattered.iter().any(|other| range.contains(&other.row.high)) {
        return Ok(None);
    }
    Ok(Some(Due { sources, partition, blocked }))
}
