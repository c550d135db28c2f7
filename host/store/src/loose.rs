//! Objects that no row may refer to.
//!
//! An object is on the disk before a row refers to it, and removed after none does. Around both a *loose* row names it: a
//! number, whose it is, and its digest. So a start finds what a crash left.

use crate::{Batch, Digest, Key, Objects, Store, StoreError, Walk};

/// The loose row of an object; `all` begins every one of them.
#[must_use]
pub fn loose(all: Key, digest: &Digest) -> Key {
    all.fixed(digest.as_bytes())
}

/// Removes the objects that rows beginning with `all` name, those that `is_used` excepted; and the rows.
///
/// # Errors
/// The store's, and the file system's.
pub async fn remove_loose(
    store: &dyn Store,
    objects: &Objects,
    all: Key,
    is_used: impl Fn(&Digest) -> bool,
) -> Result<(), StoreError> {
    let (mut batch, mut left) = (Batch::new(), Vec::new());
    let mut rows = Walk::forward(store, all.prefix());
    while let Some((key, _)) = rows.next().await? {
        let digest = digest_of(&key)
            .ok_or_else(|| StoreError::Damaged(format!("not the key of a loose object: {key:?}")))?;
        if !is_used(&digest) {
            left.push(digest);
        }
        batch.delete(key);
    }
    left.iter().try_for_each(|digest| objects.remove(digest))?;
    if !batch.is_empty() {
        store.commit(batch).await?;
    }
    Ok(())
}

fn digest_of(key: &Key) -> Option<Digest> {
    let mut fields = key.fields();
    fields.number()?;
    Some(Digest::from_bytes(fields.fixed(32)?.try_into().ok()?))
}
