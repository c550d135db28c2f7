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

/// The first row of a record: for most writes the only one.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    fingerprint: [u8; 32],
    /// How many there are in all.
    answers: usize,
    /// The first [`ANSWERS`] of them.
    first: Vec<RecordedAnswer>,
}

/// The interval, and its value.
type RecordedAnswer = (Timestamp, f64);

impl Versioned for Head {
    const NAME: &'static str = "record of a write";
    const VERSION: u8 = 2;

    fn upgrade(version: u8, bytes: &[u8]) -> Option<Self> {
        // All of its answers are in the rows behind it.
        let (fingerprint, answers) = (version == 1).then(|| postcard::from_bytes(bytes).ok()).flatten()?;
        Some(Self { fingerprint, answers, first: Vec::new() })
    }
}

/// Some of a record's answers.
#[derive(Debug, Serialize, Deserialize)]
struct Answers(Vec<RecordedAnswer>);

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

/// What a row of a record is made of.
#[derive(Serialize, Deserialize)]
struct Operand {
    /// The fingerprint and how many answers there are in all, for the first row.
    head: Option<([u8; 32], usize)>,
    answers: Vec<Answer>,
}

impl Versioned for Operand {
    const NAME: &'static str = "answers to record";
}

fn recorded(key: Key, merged: &[Merged], operand: &[u8]) -> Result<Row, MergeError> {
    let derive = || -> Result<Row, StoreError> {
        let Operand { head, answers } = decode(operand)?;
        let value = |answer: &Answer| {
            let merged = merged.get(answer.merge);
            let merged = merged.ok_or_else(|| StoreError::Failed("a merge is missing".to_owned()))?;
            let value = decode::<Partial>(&merged.after)?.value(answer.data_type);
            Ok::<_, StoreError>((answer.interval_start, value))
        };
        let values = answers.iter().map(value).collect::<Result<_, _>>()?;
        let row = match head {
            Some((fingerprint, answers)) => encode(&Head { fingerprint, answers, first: values }),
            None => encode(&Answers(values)),
        };
        Ok((key, row))
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
        let count = answers.len();
        let (first, rest) = answers.split_at(count.min(ANSWERS));
        let operand = Operand { head: Some((self.fingerprint, count)), answers: first.to_vec() };
        batch.require(self.head(), Precondition::Absent).derive(self.head(), encode(&operand), recorded);
        for (number, answers) in (1..).zip(rest.chunks(ANSWERS)) {
            let operand = Operand { head: None, answers: answers.to_vec() };
            batch.derive(self.key.clone().number(number), encode(&operand), recorded);
        }
    }

    /// What the write came to, if it has happened.
    pub(crate) async fn read(&self, store: &SharedStore) -> Result<Option<RecordedWrite>, StoreError> {
        let Some(head) = store.get(&self.head()).await? else { return Ok(None) };
        let Head { fingerprint, answers, first: mut recorded } = decode(&head)?;
        for number in (1..).take(answers.saturating_sub(recorded.len()).div_ceil(ANSWERS)) {
            let row = store.get(&self.key.clone().number(number)).await?;
            let row =
                row.ok_or_else(|| StoreError::Damaged("a recorded write lacks its answers".to_owned()))?;
            let Answers(answers) = decode(&row)?;
            recorded.extend(answers);
        }
        let written = recorded.into_iter();
        let written = written.map(|(interval_start, value)| Written { interval_start, value }).collect();
        Ok(Some(RecordedWrite { written, repeats: Some(fingerprint == self.fingerprint) }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bellwether_store::{Direction, MemoryStore, Space};

    use super::*;

    /// [`Head`] as a host of an earlier version wrote it.
    #[derive(Debug, Serialize, Deserialize)]
    struct Earlier {
        fingerprint: [u8; 32],
        answers: usize,
    }

    impl Versioned for Earlier {
        const NAME: &'static str = "record of a write";
    }

    fn record() -> Record {
        Record { key: Key::new(Space::RunEffect).number(1), fingerprint: [7; 32] }
    }

    #[tokio::test]
    async fn a_record_of_an_earlier_host_is_read() {
        let store: SharedStore = Arc::new(MemoryStore::new());
        let answers: Vec<RecordedAnswer> =
            (0..1_500_u32).map(|number| (Timestamp::default(), f64::from(number))).collect();
        let mut batch = Batch::new();
        let head = Earlier { fingerprint: [7; 32], answers: answers.len() };
        batch.put(record().head(), encode(&head));
        for (number, answers) in (1..).zip(answers.chunks(ANSWERS)) {
            batch.put(record().key.number(number), encode(&Answers(answers.to_vec())));
        }
        store.commit(batch).await.unwrap();
        let read = record().read(&store).await.unwrap().unwrap();
        assert_eq!((read.repeats, read.written.len()), (Some(true), 1_500));
        assert_eq!(read.written[1_499].value, 1_499.0);
    }

    #[tokio::test]
    async fn a_record_takes_one_row_for_each_thousand_answers() {
        for (count, rows) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (2_500, 3)] {
            let store: SharedStore = Arc::new(MemoryStore::new());
            let partial = Partial::of(Timestamp::default(), 2.0, 1.0);
            let mut batch = Batch::new();
            batch.merge(Key::new(Space::Bucket).number(1), encode(&partial), |_, operand| {
                Ok(operand.to_vec())
            });
            let answer = Answer { interval_start: Timestamp::default(), data_type: DataType::Sum, merge: 0 };
            record().join(&mut batch, &vec![answer; count]);
            store.commit(batch).await.unwrap();
            let range = record().key.prefix();
            let stored = store.scan(range, Direction::Forward, usize::MAX).await.unwrap();
            assert_eq!(stored.len(), rows, "{count} answers");
            let read = record().read(&store).await.unwrap().unwrap();
            assert_eq!(read.written.len(), count);
            assert!(read.written.iter().all(|written| written.value == 2.0));
        }
    }
}
