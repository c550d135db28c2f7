//! Writes that a call does not wait for.
//!
//! What a call writes is durable before its answer goes out, but no instance has to be held while the disk syncs: the
//! guest goes on, and who called it waits for the write once the guest is done. The guest cannot tell:
//! - Whatever it reads or does afterwards waits for the write first.
//! - Only the first thing that a call does is posted. If that fails, there is nothing else to take back: what the guest
//!   answered is thrown away and the call is done again, where every write waits and the plugin words what is wrong.

use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;

use super::Call;

/// A write on its way; whether it came to pass.
type Write = Pin<Box<dyn Future<Output = bool> + Send>>;

/// Where a call is with what it posts.
#[derive(Default)]
pub(super) enum Posting {
    /// Every write is waited for.
    #[default]
    Waits,
    /// Nothing was done so far: the first write is posted.
    Open,
    /// A write is under way. Locked by nobody: the lock is there for what calls are shared by.
    Posted(Mutex<Write>),
    /// What was posted did not come to pass.
    Lost,
}

/// What became of what a call posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Posted {
    /// It is durable, or there was nothing.
    Kept,
    /// It did not come to pass.
    Lost,
    /// It is not known in time.
    Late,
}

impl Call {
    /// Lets the first write be posted. The call must be one that can be done again.
    pub(crate) fn open_for_posting(&mut self) {
        self.posting = Posting::Open;
    }

    pub(super) fn may_post(&self) -> bool {
        matches!(self.posting, Posting::Open)
    }

    /// Does `write`, and waits for it only where it may not be posted. What shows before anything is on its way, that it
    /// makes no sense or is too much, is told at once.
    pub(super) async fn post<T, E>(
        &mut self,
        write: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<(), E> {
        let mut write = Box::pin(write);
        if !self.may_post() {
            return write.await.map(drop);
        }
        match std::future::poll_fn(|context| Poll::Ready(write.as_mut().poll(context))).await {
            Poll::Ready(done) => {
                done?;
                self.acted();
            }
            Poll::Pending => {
                let write = async move { write.await.is_ok() };
                self.posting = Posting::Posted(Mutex::new(Box::pin(write)));
            }
        }
        Ok(())
    }

    /// Waits for what was posted: what a call reads or does next comes after it.
    pub(super) async fn settle(&mut self) -> Result<(), String> {
        if let Posting::Posted(write) = &mut self.posting {
            self.posting = if write.get_mut().await { Posting::Waits } else { Posting::Lost };
        }
        match self.posting {
            Posting::Lost => Err("what was written before did not come to pass".to_owned()),
            _ => Ok(()),
        }
    }

    /// What comes before anything that shows outside the call.
    pub(super) async fn act(&mut self) -> Result<(), String> {
        self.settle().await?;
        self.acted();
        Ok(())
    }

    /// Something was done that cannot be done again as if for the first time.
    pub(super) fn acted(&mut self) {
        self.posting = Posting::Waits;
    }

    /// What became of what was posted, waited for as long as `left`.
    pub(crate) async fn posted(&mut self, left: Duration) -> Posted {
        if matches!(self.posting, Posting::Waits | Posting::Open) {
            return Posted::Kept;
        }
        match tokio::time::timeout(left, self.settle()).await {
            Ok(Ok(())) => Posted::Kept,
            Ok(Err(_)) => Posted::Lost,
            Err(_) => Posted::Late,
        }
    }
}
