//! Brings rows from the journal into sled and makes them durable there: off the path of commits, by a thread of its
//! own, and at an opening.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::journal::Table;
use crate::sled::failed;
use crate::view::{View, read};
use crate::{Key, Space, StoreError};

/// Where sled keeps the number of the last record whose rows it has.
pub(crate) fn durable_key() -> Key {
    Key::new(Space::Meta).text("journal")
}

/// The number of the last record whose rows are durable in sled; 0 before the first.
pub(crate) fn durable(db: &sled::Db) -> Result<u64, StoreError> {
    let Some(bytes) = read(db, &durable_key())? else { return Ok(0) };
    let number = bytes[..].try_into().map_err(|_| {
        StoreError::Damaged(format!("the number of the journal's record is {}", bytes.escape_ascii()))
    })?;
    Ok(u64::from_be_bytes(number))
}

/// Puts `rows`, which records up to `through` left, into sled. Row by row: a batch would keep readers out, and what
/// a crash leaves by half the journal completes.
pub(crate) fn settle(db: &sled::Db, rows: &Table, through: u64) -> Result<(), StoreError> {
    for (key, row) in rows {
        match row {
            Some(value) => db.insert(key.as_bytes(), &value[..]),
            None => db.remove(key.as_bytes()),
        }
        .map_err(failed)?;
    }
    db.flush().map_err(failed)?;
    // Only now, so that the number is never there without the rows.
    db.insert(durable_key().as_bytes(), &through.to_be_bytes()).map_err(failed)?;
    db.flush().map_err(failed)?;
    Ok(())
}

/// The thread, as the writer sees it: at most one checkpoint is under way.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    work: Option<Sender<(Arc<Table>, u64)>>,
    finished: Receiver<Result<(), StoreError>>,
    under_way: bool,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    pub(crate) fn start(db: sled::Db, view: View) -> Result<Self, StoreError> {
        let (work, queued) = bounded::<(Arc<Table>, u64)>(1);
        let (finish, finished) = bounded(1);
        let run = move || {
            for (rows, through) in queued {
                let settled = catch_unwind(AssertUnwindSafe(|| settle(&db, &rows, through)))
                    .unwrap_or_else(|_| Err(StoreError::Failed("the checkpoint panicked".to_owned())));
                if settled.is_ok() {
                    view.settled();
                }
                if finish.send(settled).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("store-checkpoint".to_owned())
            .spawn(run)
            .map_err(not_started)?;
        Ok(Self { work: Some(work), finished, under_way: false, thread: Some(thread) })
    }

    /// Whether one is under way, as far as it is known without waiting.
    ///
    /// # Errors
    /// What it failed with: sled is not to be used any more.
    pub(crate) fn is_under_way(&mut self) -> Result<bool, StoreError> {
        if let (true, Ok(finished)) = (self.under_way, self.finished.try_recv()) {
            self.under_way = false;
            finished?;
        }
        Ok(self.under_way)
    }

    /// Waits for the one under way, if one is.
    ///
    /// # Errors
    /// As [`Self::is_under_way`].
    pub(crate) fn wait(&mut self) -> Result<(), StoreError> {
        if std::mem::take(&mut self.under_way) {
            return self.finished.recv().unwrap_or_else(|_| Err(gone()));
        }
        Ok(())
    }

    /// Begins one; none is under way.
    pub(crate) fn begin(&mut self, rows: Arc<Table>, through: u64) -> Result<(), StoreError> {
        let work = self.work.as_ref().ok_or_else(gone)?;
        work.send((rows, through)).map_err(|_| gone())?;
        self.under_way = true;
        Ok(())
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "what map_err hands over")]
fn not_started(error: std::io::Error) -> StoreError {
    StoreError::Failed(format!("the checkpoint's thread does not start: {error}"))
}

fn gone() -> StoreError {
    StoreError::Failed("the checkpoint's thread is gone".to_owned())
}
