//! Sessions that are left. Whoever is in a session holds it, sealed; all that is kept of it here is that it was left, until it
//! would have ended anyway.

use bellwether_kernel::Timestamp;
use bellwether_store::{Batch, Direction, StoreError};
use sha2::{Digest, Sha256};

use crate::{Access, Sealed, rows};

/// Rows forgotten as one is made: more than one, so that none are left over in the end.
const FORGOTTEN: usize = 64;

impl Access {
    /// Ends a session, a copy of which may be about, before it `ends` by itself. Forgets some that have by now, if the clock is
    /// [steady](bellwether_kernel::Clock::steady): by a wrong one they have ended that are to go on.
    ///
    /// # Errors
    /// The store's.
    pub async fn leave_session(&self, session: &Sealed, ends: Timestamp) -> Result<(), StoreError> {
        let store = &self.inner.store;
        let mut batch = Batch::new();
        if let Some(now) = self.inner.clock.steady() {
            let left = rows::sessions_left();
            let over = left.clone().prefix().start..left.signed(now.as_milliseconds());
            for (key, _) in store.scan(over, Direction::Forward, FORGOTTEN).await? {
                batch.delete(key);
            }
        }
        batch.put(rows::session_left(ends, &Sha256::digest(&session.0).into()), Vec::new());
        // A session that was left must not go on because the disk is full.
        batch.frees();
        store.commit(batch).await?;
        Ok(())
    }

    /// Whether a session that `ends` then was left.
    ///
    /// # Errors
    /// The store's.
    pub async fn was_left(&self, session: &Sealed, ends: Timestamp) -> Result<bool, StoreError> {
        let row = rows::session_left(ends, &Sha256::digest(&session.0).into());
        Ok(self.inner.store.get(&row).await?.is_some())
    }
}
