//! A step over a list: so many items at once, each with its own record, attempts and idempotency key. What an item
//! came to is committed before another takes its place, so that a run found after a crash goes on with those that are
//! missing.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bellwether_kernel::Timestamp;
use bellwether_store::{Batch, Direction, Precondition, StoreError, Walk, decode};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde_json::{Map, Value as Json};

use super::component::readable;
use super::fence::Failure;
use super::recall::Recalled;
use super::record::AT_ONCE;
use super::runner::Work;
use super::step::{Settled, Took, Tried, Waits, next_attempt};
use crate::compile::ERRORS;
use crate::rows::{Record, RecordOf};
use crate::secrets::Secrets;
use crate::template::{Variables, size};
use crate::{ItemCounts, OnItemError, PlaybookError, Playbooks, StepKind, StepResult, StepState, rows};

/// How far the items of a step came.
enum Through {
    /// All are through, or no more are begun.
    All,
    /// The rest waits until then.
    Until(Waits),
    /// The run is to end, or is another host's.
    Cut,
}

/// How often it is looked whether a run within that waits goes on, while others are at work.
const LOOKED_AGAIN: Duration = Duration::from_secs(1);

/// An item that waits within a playbook of its own.
struct Held {
    waits: Waits,
    /// What its attempt before came to.
    prior: Option<Box<StepResult>>,
}

/// What the items of a step came to so far.
#[derive(Default)]
struct Items {
    /// Those that wait for another attempt.
    waiting: BTreeMap<u32, StepResult>,
    /// What those that are through gave, nothing masked, or why they failed; `null` of one that was skipped.
    through: BTreeMap<u32, Result<Json, String>>,
    /// Those that were begun and are not through: neither waiting nor to be begun again.
    at_work: BTreeSet<u32>,
    /// Those of them that wait within a playbook of their own.
    held: BTreeMap<u32, Held>,
    /// Those that began and were cut off.
    cut: BTreeSet<u32>,
    /// Bytes of what they gave.
    bytes: usize,
    /// When the first of them began that was recorded.
    began: Option<Timestamp>,
}

impl Items {
    fn add(&mut self, item: u32, result: &StepResult, whole: Json) {
        let through = match result.state {
            StepState::Succeeded => {
                self.bytes += size(&whole);
                Ok(whole)
            }
            StepState::Skipped => Ok(Json::Null),
            _ => Err(result.error.clone().unwrap_or_else(|| "it failed".into())),
        };
        self.through.insert(item, through);
    }

    /// Whether no more items are begun.
    fn is_over(&self, on_item_error: OnItemError) -> bool {
        on_item_error == OnItemError::Fail && self.first_failure().is_some()
    }

    /// Makes a failure of an item that gave what is more than all may give together.
    fn bound(&self, result: &mut StepResult, limit: usize) {
        let bytes: usize = result.outputs.values().map(size).sum();
        if result.state == StepState::Succeeded && self.bytes + bytes > limit {
            result.state = StepState::Failed;
            result.outputs.clear();
            result.error = Some(format!("with what it gave its step has more than {limit} bytes of outputs"));
        }
    }

    /// The item that is next: one whose wait is over, or else the first that was never begun.
    fn next(&self, fresh: &mut Range<usize>, has_waited: impl Fn(&StepResult) -> bool) -> Option<u32> {
        if let Some((item, _)) = self.waiting.iter().find(|(_, result)| has_waited(result)) {
            return Some(*item);
        }
        let mut fresh = fresh.map(|item| u32::try_from(item).expect("lists are bounded below that"));
        let is_known = |item: &u32| {
            self.through.contains_key(item) || self.waiting.contains_key(item) || self.at_work.contains(item)
        };
        fresh.find(|item| !is_known(item))
    }

    /// Makes an item that was held one that is next.
    fn take_up(&mut self, item: u32) {
        self.at_work.remove(&item);
        if let Some(prior) = self.held.remove(&item).and_then(|held| held.prior) {
            self.waiting.insert(item, *prior);
        }
    }

    /// Takes note of when one of them began.
    fn note_began(&mut self, at: Timestamp) {
        self.began = Some(self.began.map_or(at, |began| began.min(at)));
    }

    /// How they stand, of so many.
    fn counts(&self, total: usize) -> ItemCounts {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let failed = self.through.values().filter(|through| through.is_err()).count();
        let succeeded =
            self.through.values().filter(|through| matches!(through, Ok(Json::Object(_)))).count();
        ItemCounts {
            total: number(total),
            succeeded: number(succeeded),
            failed: number(failed),
            cancelled: number(self.cut.len()),
        }
    }

    fn first_failure(&self) -> Option<(u32, &str)> {
        self.through.iter().find_map(|(item, through)| Some((*item, through.as_ref().err()?.as_str())))
    }
}

impl Playbooks {
    /// Takes a step over its list, as far as it goes now.
    pub(super) async fn take_items(
        &self,
        work: &mut Work,
        recalled: &mut Recalled,
        position: usize,
        mut result: StepResult,
    ) -> Result<Took, Failure> {
        let loaded = Arc::clone(&work.loaded);
        let step = &loaded.compiled.steps[position];
        let each = step.each.as_ref().expect("a step over a list");
        let list = match self.list_of(work, recalled, position).await {
            Ok(Json::Array(list)) => list,
            Ok(other) => {
                let kind = match other {
                    Json::Null => "null",
                    Json::Bool(_) => "a boolean",
                    Json::Number(_) => "a number",
                    Json::String(_) => "a text",
                    _ => "an object",
                };
                return Ok(self.failed(result, format!("each is {kind}, expected a list")));
            }
            Err(error) => return Ok(self.failed(result, error)),
        };
        if list.len() > self.limits.items {
            let limit = self.limits.items;
            let error = format!("each is a list of {} items, at most {limit} are taken", list.len());
            return Ok(self.failed(result, error));
        }
        let mut items = match self.read_items(work, position).await {
            Ok(items) => items,
            Err(PlaybookError::Store(error)) => return Err(error.into()),
            Err(error) => return Ok(self.failed(result, error.to_string())),
        };
        result.started = items.began.map_or(result.started, |began| began.min(result.started));
        let mut secrets = recalled.secrets.clone();
        let through = self.work_through(work, recalled, &mut secrets, position, &list, &mut items).await;
        recalled.secrets = secrets;
        match through? {
            Through::All => {}
            Through::Until(waits) => return Ok(Took::Wait(waits)),
            Through::Cut => return Ok(Took::Cut),
        }
        let result = self.gather(result, recalled, position, list.len(), items, each.on_item_error);
        Ok(Settled::took(result))
    }

    /// What a step goes over.
    async fn list_of(&self, work: &Work, recalled: &Recalled, position: usize) -> Result<Json, String> {
        self.render_value(work, recalled, position, "each", |step| step.each.as_ref().map(|each| &each.list))
            .await
    }

    /// Reads what is recorded of a step's items.
    async fn read_items(&self, work: &Work, position: usize) -> Result<Items, PlaybookError> {
        let mut items = Items::default();
        let range = rows::items(work.organisation, work.id, position).prefix();
        let mut found = Walk::forward(&*self.store, range);
        while let Some((key, row)) = found.next().await? {
            let RecordOf::Item(_, item) = rows::record_of(&key)? else { continue };
            let result: StepResult = decode::<Record>(&row)?.read(&*self.store, &key).await?;
            if !result.copied {
                items.note_began(result.started);
            }
            match result.state {
                StepState::Waiting => {
                    items.waiting.insert(item, result);
                }
                // Its host died before it had recorded the same of the step.
                StepState::Cancelled => {
                    items.cut.insert(item);
                }
                _ => {
                    let of = RecordOf::Item(position, item);
                    let whole = self.read_whole(work.organisation, work.id, of).await?;
                    items.add(item, &result, whole.unwrap_or_default());
                }
            }
        }
        Ok(items)
    }

    /// Takes the items that are missing, so many at once.
    async fn work_through(
        &self,
        work: &Work,
        recalled: &Recalled,
        secrets: &mut Secrets,
        position: usize,
        list: &[Json],
        items: &mut Items,
    ) -> Result<Through, Failure> {
        let step = &work.loaded.compiled.steps[position];
        let each = step.each.as_ref().expect("a step over a list");
        let mut at_work = FuturesUnordered::new();
        let mut fresh = 0..list.len();
        let mut is_suspended = false;
        loop {
            while items.at_work.len() < each.parallel && !items.is_over(each.on_item_error) && !is_suspended {
                let Some(item) = items.next(&mut fresh, |result| self.has_waited(result)) else { break };
                is_suspended = self.access.is_suspended(work.organisation);
                if is_suspended {
                    break;
                }
                let prior = items.waiting.remove(&item);
                items.at_work.insert(item);
                let of = &list[item as usize];
                at_work.push(self.take_item(work, recalled, position, (item, of), prior));
            }
            let next = tokio::select! {
                biased;
                next = at_work.next() => next,
                item = self.goes_on(&items.held), if !at_work.is_empty() && !items.held.is_empty() => {
                    items.take_up(item);
                    fresh = 0..list.len();
                    continue;
                }
            };
            let Some((item, taken)) = next else { break };
            let (mut result, learned) = match taken? {
                Ok(taken) => taken,
                Err(held) => {
                    items.held.insert(item, held);
                    continue;
                }
            };
            items.at_work.remove(&item);
            learned.iter().for_each(|secret| secrets.learn(secret));
            items.bound(&mut result, self.limits.outputs);
            let mut batch = Batch::new();
            let (variables, recorded) = (&recalled.secret_variables, secrets.recorded());
            let whole = self.write_result(&mut batch, work, secrets, variables, position, &mut result);
            if !self.commit_as(work, &batch).await? {
                secrets.unrecord(recorded);
                return Ok(Through::Cut);
            }
            work.begun.lock().remove(&item);
            if result.state == StepState::Waiting {
                items.waiting.insert(item, result);
            } else {
                items.add(item, &result, whole);
            }
        }
        if items.is_over(each.on_item_error) {
            if step.action.kind() == StepKind::Playbook {
                self.end_within(work, "another item of the step it is failed").await?;
            }
            let given = (&mut *secrets, &recalled.secret_variables);
            let cut = self.cut_begun(work, given, position, list.len(), items, "another item failed").await?;
            return Ok(if cut { Through::All } else { Through::Cut });
        }
        let waiting = items.waiting.values().filter_map(|result| result.waits_until);
        // Whoever takes the step again begins what is missing then.
        let waiting = waiting.chain(is_suspended.then(|| self.clock.now()));
        let until = waiting.chain(items.held.values().map(|held| held.waits.until)).min();
        let on = std::mem::take(&mut items.held).into_values().flat_map(|held| held.waits.on).collect();
        Ok(until.map_or(Through::All, |until| Through::Until(Waits { until, on })))
    }

    /// Whether any item of a step over a list is known to have begun.
    pub(super) async fn has_begun_items(&self, work: &Work, position: usize) -> Result<bool, StoreError> {
        if work.loaded.compiled.steps[position].each.is_none() || work.row.started.is_none() {
            return Ok(false);
        }
        let recorded = rows::items(work.organisation, work.id, position).prefix();
        Ok(!self.store.scan(recorded, Direction::Forward, 1).await?.is_empty()
            || self.begun_within(work, position, Some(0), 1).await?.is_some())
    }

    /// Records that the items of a step were cut off which began and are not through. Gives how all of them stand, and when
    /// the first began; nothing for a step without a list.
    ///
    /// # Errors
    /// [`Failure::Moved`] if something about the run changed before all of them were recorded.
    pub(super) async fn cut_items(
        &self,
        work: &Work,
        recalled: &mut Recalled,
        position: usize,
        reason: &str,
    ) -> Result<(Option<ItemCounts>, Option<Timestamp>), Failure> {
        if work.loaded.compiled.steps[position].each.is_none() {
            return Ok((None, None));
        }
        let mut items = readable(work.id, self.read_items(work, position).await)?;
        let total = match self.list_of(work, recalled, position).await {
            Ok(Json::Array(list)) => list.len(),
            _ => 0,
        };
        let Recalled { secrets, secret_variables, .. } = recalled;
        let given = (secrets, &*secret_variables);
        if !self.cut_begun(work, given, position, total, &mut items, reason).await? {
            return Err(Failure::Moved);
        }
        let total = total.max(items.through.len() + items.cut.len());
        Ok((Some(items.counts(total)), items.began))
    }

    /// Records that those of so many items were cut off which began and are not through: some at a time, for all that they
    /// were given may be more than one commit takes. Gives whether that is so; otherwise something about the run changed, or one
    /// of them is through: what it came to was about to be recorded when the step was cut off.
    async fn cut_begun(
        &self,
        work: &Work,
        (secrets, variables): (&mut Secrets, &Variables),
        position: usize,
        total: usize,
        items: &mut Items,
        reason: &str,
    ) -> Result<bool, Failure> {
        let step = &work.loaded.compiled.steps[position];
        let mut begun = std::mem::take(&mut items.waiting);
        begun.extend(work.begun.lock().clone());
        let is_settled = |item: &u32| items.through.contains_key(item) || items.cut.contains(item);
        begun.retain(|item, _| !is_settled(item));
        // Those that waited within playbooks of their own when a host took the run up.
        let parallel = step.each.as_ref().map_or(0, |each| each.parallel);
        let fresh = (0..u32::try_from(total).unwrap_or(u32::MAX)).filter(|item| !is_settled(item));
        for item in fresh.take(parallel) {
            if begun.contains_key(&item) {
                continue;
            }
            let Some(run) = self.begun_within(work, position, Some(item), 1).await? else { break };
            begun.insert(
                item,
                StepResult { item: Some(item), started: run.created, ..self.blank(step, None) },
            );
        }
        let (mut batch, mut recorded) = (Batch::new(), secrets.recorded());
        while let Some((item, mut result)) = begun.pop_first() {
            if !self.require_open(&mut batch, work, position, item).await? {
                secrets.unrecord(recorded);
                return Ok(false);
            }
            let run = self.begun_within(work, position, Some(item), result.attempt).await?;
            result.run = run.map(|run| run.id).or(result.run);
            result.state = StepState::Cancelled;
            (result.ended, result.waits_until) = (self.clock.now(), None);
            result.error = Some(reason.to_owned());
            items.note_began(result.started);
            self.write_result(&mut batch, work, secrets, variables, position, &mut result);
            items.cut.insert(item);
            if batch.bytes() > AT_ONCE || begun.is_empty() {
                if !self.commit_as(work, &batch).await? {
                    secrets.unrecord(recorded);
                    return Ok(false);
                }
                (batch, recorded) = (Batch::new(), secrets.recorded());
            }
        }
        Ok(true)
    }

    /// Has `batch` hold only while what is recorded of an item stays as it is. Gives whether it is not through.
    async fn require_open(
        &self,
        batch: &mut Batch,
        work: &Work,
        position: usize,
        item: u32,
    ) -> Result<bool, Failure> {
        let key = rows::item(work.organisation, work.id, position, item);
        let stored = self.store.get(&key).await?;
        if let Some(row) = &stored {
            let result: StepResult = decode::<Record>(row)?.read(&*self.store, &key).await?;
            if result.state != StepState::Waiting {
                return Ok(false);
            }
        }
        batch.require(key, stored.map_or(Precondition::Absent, Precondition::ValueIs));
        Ok(true)
    }

    /// Gives the first item that was held whose time has come, or of whose runs within one changed; without any it
    /// never does.
    async fn goes_on(&self, held: &BTreeMap<u32, Held>) -> u32 {
        loop {
            let first = held.values().map(|held| self.until(held.waits.until)).min();
            let sleep = first.map_or(LOOKED_AGAIN, |first| first.min(LOOKED_AGAIN));
            tokio::time::sleep(sleep.max(Duration::from_millis(1))).await;
            for (item, Held { waits, .. }) in held {
                if waits.until <= self.clock.now() {
                    return *item;
                }
                for (key, seen) in &waits.on {
                    // Where that cannot be read, it is before long.
                    if self.store.get(key).await.is_ok_and(|row| row.as_ref() != Some(seen)) {
                        return *item;
                    }
                }
            }
        }
    }

    /// Makes one attempt at one item. Gives what it came to and which secrets it was given, or until when it waits.
    async fn take_item(
        &self,
        work: &Work,
        recalled: &Recalled,
        position: usize,
        (item, of): (u32, &Json),
        prior: Option<StepResult>,
    ) -> (u32, Result<Result<(StepResult, Vec<Json>), Held>, Failure>) {
        let step = &work.loaded.compiled.steps[position];
        let attempt = next_attempt(prior.as_ref());
        let mut result = self.blank(step, prior.as_ref());
        result.item = Some(item);
        let began = self.clock.now();
        let as_begun = StepResult { attempt, ..prior.clone().unwrap_or_else(|| result.clone()) };
        work.begun.lock().insert(item, as_begun);
        let tried = self.attempt(work, recalled, position, Some((item, of)), attempt).await;
        let taken = tried.map(|tried| match tried {
            Tried::Until(waits) => Err(Held { waits, prior: prior.map(Box::new) }),
            Tried::Done(mut attempted) => {
                let learned = std::mem::take(&mut attempted.secrets);
                learned.iter().for_each(|secret| work.learned.lock().learn(secret));
                Ok((self.conclude(step, result, prior, began, attempt, *attempted), learned))
            }
        });
        (item, taken)
    }

    /// What the items make of their step: of each output a list, in the items' order.
    fn gather(
        &self,
        mut result: StepResult,
        recalled: &Recalled,
        position: usize,
        count: usize,
        items: Items,
        on_item_error: OnItemError,
    ) -> StepResult {
        result.ended = self.clock.now();
        result.items = Some(items.counts(count));
        let problem = match items.first_failure() {
            Some((item, error)) if on_item_error == OnItemError::Fail => {
                Some(format!("item {item}: {error}"))
            }
            _ => None,
        };
        if let Some(problem) = problem {
            result.state = StepState::Failed;
            result.error = Some(problem);
            return result;
        }
        let names: Vec<String> = recalled.nothing(position).keys().cloned().collect();
        let mut lists: Map<String, Json> =
            names.iter().map(|name| (name.clone(), Json::Array(Vec::with_capacity(count)))).collect();
        let mut errors = Vec::with_capacity(count);
        for through in items.through.into_values() {
            let (mut gave, error) = match through {
                Ok(gave) => (gave, Json::Null),
                Err(error) => (Json::Null, error.into()),
            };
            for (name, list) in &mut lists {
                if let Json::Array(list) = list {
                    list.push(gave.get_mut(name).map_or(Json::Null, Json::take));
                }
            }
            errors.push(error);
        }
        // An app's own output of that name stands.
        lists.entry(ERRORS).or_insert(Json::Array(errors));
        result.outputs = lists;
        result
    }
}
