//! What an app does happens once per step, however often the step is repeated.
//!
//! A step whose host died before its result was committed, or whose app is tried again, runs its app from the start.
//! So every call with an effect records its answer in the effect's own commit, under the step, what the call is about
//! (its *target*: function, metric, key and explicit times, or key of state) and a number: the how-manieth effect on
//! that target it is in this call of the app. A repeat that comes to the same target for the same time is given the
//! recorded answer and does nothing. Calls that are refused have no effect, are not counted and not recorded.
//!
//! What a repeat wants to write may be other than the first time (it read what the first time wrote): the first time's
//! stands, and the app's log tells. Another target is another effect.

use std::collections::HashMap;
use std::sync::Arc;

use bellwether_access::Principal;
use bellwether_kernel::OrganisationId;
use bellwether_metrics::{Metric, Record};
use bellwether_playbooks::{EffectScope, LogLevel};
use bellwether_records::{Content, RecordKind};
use bellwether_store::{Batch, Key, Precondition, StoreError, Versioned, decode, effects_of_run, encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Call, contract};
use contract::metrics_types::{MetricDefinition, MetricReference};
use contract::metrics_write::Samples;

/// The effects of one call of an app.
#[derive(Debug)]
pub(super) struct Effects {
    scope: EffectScope,
    /// How many effects each target has had.
    counts: HashMap<Hash, u64>,
}

/// A SHA-256 digest.
type Hash = [u8; 32];

/// A call with an effect that is about to happen.
#[derive(Debug)]
pub(super) struct Effect {
    /// What it is about, in words, and as a digest.
    what: String,
    target: Hash,
    /// Where its answer is recorded, and the digest of what it writes.
    record: Record,
}

/// What a call with an effect is answered with.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// `metrics-write.define`.
    Defined {
        /// The metric.
        metric: Metric,
        /// Whether the call made it.
        created: bool,
    },
    /// `metrics-write.delete`.
    Deleted(Metric),
    /// `state.set` and `state.swap`.
    Changed,
    /// `records-write.append`: the first one's id.
    Appended(u64),
    /// A function of `alerts-write`: the id of the monitor or mute it is about, 0 for an incident.
    Alerted(u64),
    /// `alerts-write.put-monitor`.
    Put {
        /// The monitor's id.
        monitor: u64,
        /// Whether the call made it.
        created: bool,
    },
}

/// The answer of an effect that happened.
#[derive(Debug, Serialize, Deserialize)]
struct EffectRow {
    fingerprint: Hash,
    answer: Answer,
}

impl Versioned for EffectRow {
    const NAME: &'static str = "effect of a step";
}

/// What a call is about and what it writes, each put into a digest field by field.
struct Fields(Sha256);

impl Fields {
    fn new(function: &str) -> Self {
        Self(Sha256::new()).text(function)
    }

    /// The length first, so that no two lists of fields are the same bytes.
    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self
    }

    fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    fn optional(self, bytes: Option<&[u8]>) -> Self {
        match bytes {
            Some(bytes) => self.bytes(&[1]).bytes(bytes),
            None => self.bytes(&[0]),
        }
    }

    fn numbers(mut self, numbers: impl ExactSizeIterator<Item = u64>) -> Self {
        self.0.update((numbers.len() as u64).to_be_bytes());
        numbers.for_each(|number| self.0.update(number.to_be_bytes()));
        self
    }

    fn metric(self, metric: &MetricReference) -> Self {
        match metric {
            MetricReference::Id(id) => self.bytes(&[0]).bytes(&id.to_be_bytes()),
            MetricReference::Name(name) => self.bytes(&[1]).text(name),
        }
    }

    fn hash(self) -> Hash {
        self.0.finalize().into()
    }
}

impl Effects {
    pub(super) fn new(scope: EffectScope) -> Self {
        Self { scope, counts: HashMap::new() }
    }

    fn effect(&self, organisation: OrganisationId, what: String, target: Hash, fingerprint: Hash) -> Effect {
        let EffectScope { run, step, item } = &self.scope;
        let number = self.counts.get(&target).map_or(1, |count| count + 1);
        let key = effects_of_run(organisation, *run)
            .text(step)
            .number(item.map_or(0, |item| u64::from(item) + 1))
            .fixed(&target)
            .number(number);
        Effect { what, target, record: Record { key, fingerprint } }
    }
}

impl Effect {
    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    /// The row of an answer that is not of a write.
    fn key(&self) -> &Key {
        &self.record.key
    }

    /// What joins the effect's batch.
    pub(super) fn batch(&self, answer: Answer) -> Batch {
        let row = EffectRow { fingerprint: self.record.fingerprint, answer };
        let mut batch = Batch::new();
        batch.require(self.key().clone(), Precondition::Absent).put(self.key().clone(), encode(&row));
        batch
    }

    /// Whether `error` says that it has happened meanwhile.
    pub(super) fn happened(&self, error: &StoreError) -> bool {
        matches!(error, StoreError::Conflict(key) if key == self.key())
    }
}

impl Call {
    /// `metrics-write.define` as an effect, where effects are recorded.
    pub(super) fn effect_of_define(
        &self,
        organisation: OrganisationId,
        wanted: &MetricDefinition,
    ) -> Option<Effect> {
        let effects = self.effects.as_ref()?;
        let target = Fields::new("metrics-write.define").text(&wanted.name).hash();
        let fingerprint = Fields::new("")
            .bytes(&[wanted.data_type as u8, wanted.interval as u8, u8::from(wanted.keyed)])
            .optional(wanted.description.as_deref().map(str::as_bytes))
            .hash();
        let what = format!("the definition of the metric {:?}", wanted.name);
        Some(effects.effect(organisation, what, target, fingerprint))
    }

    /// `metrics-write.delete` as an effect.
    pub(super) fn effect_of_delete(
        &self,
        organisation: OrganisationId,
        metric: &MetricReference,
    ) -> Option<Effect> {
        let effects = self.effects.as_ref()?;
        let target = Fields::new("metrics-write.delete").metric(metric).hash();
        Some(effects.effect(organisation, "the deletion of a metric".to_owned(), target, [0; 32]))
    }

    /// `metrics-write.write` as an effect: which series and which explicit times are its target, values and weights
    /// what it writes there.
    pub(super) fn effect_of_write(
        &self,
        organisation: OrganisationId,
        samples: &[Samples],
    ) -> Option<Effect> {
        let effects = self.effects.as_ref()?;
        let (mut target, mut written) = (Fields::new("metrics-write.write"), Fields::new(""));
        for entry in samples {
            target = target.metric(&entry.metric).optional(entry.key.as_deref().map(str::as_bytes));
            target = target.numbers(entry.times.iter().map(|time| time.cast_unsigned()));
            written = written.numbers(entry.values.iter().map(|value| value.to_bits()));
            written = written.numbers(entry.weights.iter().map(|weight| weight.to_bits()));
        }
        let what = match samples.first().map(|entry| &entry.metric) {
            Some(MetricReference::Name(name)) => format!("the write to the metric {name:?}"),
            Some(MetricReference::Id(id)) => format!("the write to the metric {id}"),
            None => "the write of nothing".to_owned(),
        };
        Some(effects.effect(organisation, what, target.hash(), written.hash()))
    }

    /// `records-write.append` as an effect: its target is the kind of record, so that it is the how-manieth append of the
    /// step that tells one from another. When records happened is not compared: a repeat reads another clock.
    pub(super) fn effect_of_append(
        &self,
        organisation: OrganisationId,
        kind: RecordKind,
        contents: &[Content],
    ) -> Option<Effect> {
        let effects = self.effects.as_ref()?;
        let target = Fields::new("records-write.append").text(kind.name()).hash();
        let mut written = Fields::new("");
        for content in contents {
            written = content.texts().into_iter().fold(written, Fields::text);
            written = written.numbers([content.tags.len() as u64].into_iter());
            written = content.tags.iter().fold(written, |written, tag| written.text(tag));
        }
        let what = format!("the append of {}", kind.plural());
        Some(effects.effect(organisation, what, target, written.hash()))
    }

    /// `state.set` or `state.swap` (then with what is expected) as an effect.
    pub(super) fn effect_of_state(
        &self,
        function: &str,
        organisation: OrganisationId,
        key: &str,
        expected: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Option<Effect> {
        let effects = self.effects.as_ref()?;
        let target = Fields::new(function).text(&self.scope.state).text(key).hash();
        let fingerprint = Fields::new("").optional(expected).optional(value).hash();
        let what = format!("the change of the state {key:?}");
        Some(effects.effect(organisation, what, target, fingerprint))
    }

    /// A function of `alerts-write` as an effect: what it is about, and what is given to that.
    pub(super) fn effect_on_alerts(
        &self,
        principal: &Principal,
        function: &str,
        about: &str,
        given: Option<&str>,
    ) -> Option<Arc<Effect>> {
        let effects = self.effects.as_ref()?;
        let target = Fields::new("alerts-write").text(function).text(about).hash();
        let fingerprint = Fields::new("").optional(given.map(str::as_bytes)).hash();
        let what = format!("{function} of {about:?}");
        Some(Arc::new(effects.effect(principal.organisation, what, target, fingerprint)))
    }

    /// The answer of an effect that is not a write, if it has happened.
    pub(super) async fn repeated(&mut self, effect: Option<&Effect>) -> Result<Option<Answer>, StoreError> {
        let Some(effect) = effect else { return Ok(None) };
        let Some(row) = self.services().store.get(effect.key()).await? else { return Ok(None) };
        let EffectRow { fingerprint, answer } = decode(&row)?;
        self.counted(Some(effect));
        if fingerprint != effect.record.fingerprint {
            self.differs(effect);
        }
        Ok(Some(answer))
    }

    /// Takes note that an effect has happened, now or before.
    pub(super) fn counted(&mut self, effect: Option<&Effect>) {
        if let (Some(effects), Some(effect)) = (&mut self.effects, effect) {
            *effects.counts.entry(effect.target).or_default() += 1;
        }
    }

    /// Tells the app's log that a repeat wanted something else.
    pub(super) fn differs(&mut self, effect: &Effect) {
        let message = format!(
            "{} happened before, when this step was run the first time, with other values: those stand, and what \
             was given now is not written",
            effect.what
        );
        self.log(LogLevel::Warn, message);
    }
}
