//! Series whose rows a write brings along, until it is known what became of it.

use std::sync::Arc;

use bellwether_store::StoreError;
use parking_lot::RwLock;

use crate::SeriesNumber;
use crate::index::Index;

/// What became of the rows that a write brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// They are in the store.
    Durable,
    /// Nothing of the write is.
    Refused,
    /// Nobody knows.
    Unsure,
}

impl Fate {
    /// What a commit's answer says.
    pub(crate) fn of<T>(answer: &Result<T, StoreError>) -> Self {
        match answer {
            Ok(_) => Self::Durable,
            Err(
                StoreError::Conflict(_)
                | StoreError::Merge(_)
                | StoreError::TooLarge { .. }
                | StoreError::DiskFull { .. },
            ) => Self::Refused,
            Err(_) => Self::Unsure,
        }
    }
}

/// The series of one write that may not be in the store yet. Dropped, it tells the index what became of them: refused, if
/// nobody said otherwise, as where the write never came to the writer.
pub(crate) struct Brought {
    index: Arc<RwLock<Index>>,
    numbers: Vec<SeriesNumber>,
    pub(crate) fate: Fate,
}

impl Brought {
    pub(crate) fn none(index: &Arc<RwLock<Index>>) -> Self {
        Self { index: Arc::clone(index), numbers: Vec::new(), fate: Fate::Refused }
    }

    /// Adds a series of the index, which is looked at.
    pub(crate) fn add(&mut self, index: &Index, number: SeriesNumber) {
        index.bring(number);
        self.numbers.push(number);
    }
}

impl Drop for Brought {
    fn drop(&mut self) {
        if !self.numbers.is_empty() {
            self.index.write().settle(&self.numbers, self.fate);
        }
    }
}
