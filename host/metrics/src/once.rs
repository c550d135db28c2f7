//! Writes that happen once, however often they are asked for: the answer is kept in the write's own commit.

use bellwether_kernel::Timestamp;
use bellwether_store::{
    Batch, Key, MergeError, Merged, Precondition, Row, SharedStore, StoreError, Versioned, decode, encode,
};
use serde::{Deserialize, Serialize};

use crate::{DataType, Partial, Written};

/// Answers in one row of a record: with their operands' growth well below what a row may hold.
const ANSWERS: usize = 1000;

/// Where a write that must not happen twice is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Every row of the record begins with this key; the caller frees them when they are of no more use.
    pub key: Key,
    /// What tells a repeat from another write that is asked for under the same record: a digest of its values.
    pub fingerprint: [u8; 32],
}

/// What a write under a [`Record`] came to.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedWrite {
    /// The answers, the first time's if it is repeated. Those of a repeat are of what this host wrote.
    pub written: Vec<Written>,
    /// Whether it had happened before, so that nothing was written now; and if so, whether with the same fingerprint.
    pub repeats: Option<bool>,
}

/// The first row of a record.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    fingerprint: [u8; 32],
    answers: usize,
}

impl Versioned for Head {
    const NAME: &'static str = "record of a write";
}

/// Some of a record's answers.
#[derive(Debug, Serialize, Deserialize)]
struct Answers(Vec<(Timestamp, f64)>);

impl Versioned for Answers {
    const NAME: &'static str = "recorded answers of a write";
}

/// What one answer is derived from: the interval, what its value is, and which merge of the batch made it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) interval_start: Timestamp,
    pub(crate) data_type: DataType,
    pub(crate) merge: usize,
}

#[derive(Serialize, Deserialize)]
struct Operand(Vec<Answer>);

impl Versioned for Operand {
    const NAME: &'static str = "answers to record";
}

fn recorded(key: Key, merged: &[Merged], operand: &[u8]) -> Result<Row, MergeError> {
    let derive = || -> Result<Row, StoreError> {
        let Operand(answers) = decode(operand)?;
        let value = |answer: &Answer| {
            let merged = merged.get(answer.merge);
            let merged = merged.ok_or_else(|| StoreError::Failed("a merge is missing".to_owned()))?;
            let value = decode::<Partial>(&merged.after)?.value(answer.data_type);
            Ok::<_, StoreError>((answer.interval_start, value))
        };
        let answers = answers.iter().map(value).collect::<Result<_, _>>()?;
        Ok((key, encode(&Answers(answers))))
    };
    derive().map_err(|error| MergeError(error.to_string()))
}

impl Record {
    /// The row that is there if and only if the write has happened.
    pub(crate) fn head(&self) -> Key {
        self.key.clone().number(0)
    }

    /// Adds the record to its write's batch, behind the merges the answers are about.
    pub(crate) fn join(&self, batch: &mut Batch, answers: &[Answer]) {
        let head = Head { fingerprint: self.fingerprint, answers: answers.len() };
        batch.require(self.head(), Precondition::Absent).put(self.head(), encode(&head));
        for (number, answers) in (1..).zip(answers.chunks(ANSWERS)) {
            batch.derive(self.key.clone().number(number), encode(&Operand(answers.to_vec())), recorded);
        }
    }

    /// What the write came to, if it has happened.
    pub(crate) async fn read(&self, store: &SharedStore) -> Result<Option<RecordedWrite>, StoreError> {
        let Some(head) = store.get(&self.head()).await? else { return Ok(None) };
        let Head { fingerprint, answers } = decode(&head)?;
        let mut written = Vec::with_capacity(answers);
        for number in (1..).take(answers.div_ceil(ANSWERS)) {
            let row = store.get(&self.key.clone().number(number)).await?;
            let row =
                row.ok_or_else(|| StoreError::Damaged("a recorded write lacks its answers".to_owned()))?;
            let Answers(answers) = decode(&row)?;
            written
                .extend(answers.into_iter().map(|(interval_start, value)| Written { interval_start, value }));
        }
        Ok(Some(RecordedWrite { written, repeats: Some(fingerprint == self.fingerprint) }))
    }
}
