//! Objects that come and go while rows refer to them.
//!
//! An object is on the disk before a row refers to it, and removed after none does. Around both a *loose* row names it: a
//! number, whose it is, and its digest. So a start finds what a crash left, and what could not be removed while a backup ran.

use serde::{Deserialize, Serialize};

use crate::{Batch, Digest, Key, Objects, SharedStore, StoreError, Versioned, Walk, blocking, encode};

/// What a loose row holds.
#[derive(Serialize, Deserialize)]
struct LooseRow;

impl Versioned for LooseRow {
    const NAME: &'static str = "loose object";
}

/// The objects of one owner, with the loose rows of those that no other row may refer to.
#[derive(Clone)]
pub struct Loose {
    store: SharedStore,
    objects: Objects,
    /// What begins every row.
    all: Key,
}

impl Loose {
    /// Those whose loose rows begin with `all`: a space and a number.
    #[must_use]
    pub fn new(store: SharedStore, objects: Objects, all: Key) -> Self {
        Self { store, objects, all }
    }

    fn row(&self, digest: &Digest) -> Key {
        self.all.clone().fixed(digest.as_bytes())
    }

    /// Puts objects on the disk; they are loose until [`Self::swap`] commits what refers to them. Where one cannot be put,
    /// none is left.
    ///
    /// # Errors
    /// The store's, and the file system's.
    pub async fn put(&self, new: Vec<(Digest, Vec<u8>)>) -> Result<(), StoreError> {
        if new.is_empty() {
            return Ok(());
        }
        let digests: Vec<Digest> = new.iter().map(|(digest, _)| *digest).collect();
        let mut announced = Batch::new();
        for digest in &digests {
            announced.put(self.row(digest), encode(&LooseRow));
        }
        self.store.commit(announced).await?;
        let objects = self.objects.clone();
        let putting =
            move || new.into_iter().try_for_each(|(digest, bytes)| objects.put_under(&digest, &bytes));
        let done = blocking("putting objects", putting).await;
        if done.is_err() {
            self.discard(digests).await;
        }
        done
    }

    /// Commits a batch with which rows begin to refer to `new`, and cease to refer to `old`; without new ones it frees space.
    /// The old ones are to be removed next. Where the disk is too full for it, the new ones are removed, as the room is needed
    /// for the next attempt. After another failure they stay: they may be referred to, and a start tells.
    ///
    /// # Errors
    /// The store's.
    pub async fn swap(&self, mut batch: Batch, new: Vec<Digest>, old: &[Digest]) -> Result<(), StoreError> {
        if new.is_empty() {
            batch.frees();
        }
        self.join(&mut batch, &new, old);
        match self.store.commit(batch).await {
            Err(error @ StoreError::DiskFull { .. }) => {
                self.discard(new).await;
                Err(error)
            }
            done => done.map(drop),
        }
    }

    /// What joins a batch with which rows begin to refer to `new`, and cease to refer to `old`, where somebody else commits
    /// it than [`Self::swap`].
    pub fn join(&self, batch: &mut Batch, new: &[Digest], old: &[Digest]) {
        for digest in new {
            batch.delete(self.row(digest));
        }
        for digest in old {
            batch.put(self.row(digest), encode(&LooseRow));
        }
    }

    /// Removes objects that no row refers to; who has one open reads on. While a backup runs they stay, and so do their loose
    /// rows: their files go with the end of the backup, or with the next start if the process ends before; the rows go then.
    ///
    /// # Errors
    /// The store's, and the file system's.
    pub async fn remove(&self, digests: Vec<Digest>) -> Result<(), StoreError> {
        if digests.is_empty() {
            return Ok(());
        }
        let objects = self.objects.clone();
        let removing = move || {
            let mut gone = Vec::with_capacity(digests.len());
            for digest in digests {
                if objects.remove(&digest)? {
                    gone.push(digest);
                }
            }
            Ok(gone)
        };
        let gone = blocking("removing objects", removing).await?;
        if gone.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        for digest in &gone {
            batch.delete(self.row(digest));
        }
        self.store.commit(batch).await.map(drop)
    }

    /// Removes objects that were put in vain. What fails is told in the log, and a start does it again.
    pub async fn discard(&self, digests: Vec<Digest>) {
        if let Err(error) = self.remove(digests).await {
            tracing::warn!(%error, "objects that nothing refers to could not be removed; the next start does it");
        }
    }

    /// Removes what a crash left: every loose object, those excepted that are used; and the rows.
    ///
    /// # Errors
    /// The store's, and the file system's.
    pub async fn clear(&self, is_used: impl Fn(&Digest) -> bool) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        let mut rows = Walk::forward(&*self.store, self.all.prefix());
        while let Some((key, _, digest)) = rows.next_read(|key, _| digest_of(key)).await? {
            if is_used(&digest) || self.objects.remove(&digest)? {
                batch.delete(key);
            }
        }
        if !batch.is_empty() {
            self.store.commit(batch).await?;
        }
        Ok(())
    }
}

fn digest_of(key: &Key) -> Result<Digest, StoreError> {
    let mut fields = key.fields();
    let digest = fields.number().and_then(|_| fields.fixed(32)?.try_into().ok());
    digest
        .map(Digest::from_bytes)
        .ok_or_else(|| StoreError::Damaged(format!("not the key of a loose object: {key:?}")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{MemoryStore, Space, Store};

    struct House {
        loose: Loose,
        store: Arc<MemoryStore>,
        objects: Objects,
        folder: tempfile::TempDir,
    }

    impl House {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (store, objects) = (Arc::<MemoryStore>::default(), Objects::open(folder.path()).unwrap());
            let all = Key::new(Space::RecordLoose).number(1);
            let loose = Loose::new(Arc::clone(&store) as _, objects.clone(), all);
            Self { loose, store, objects, folder }
        }

        /// How many objects there are, and how many loose rows.
        async fn counts(&self) -> (usize, usize) {
            let rows = Key::new(Space::RecordLoose).prefix();
            let rows = self.store.scan(rows, crate::Direction::Forward, usize::MAX).await.unwrap();
            (self.objects.list().unwrap().len(), rows.len())
        }
    }

    fn objects(texts: &[&str]) -> (Vec<Digest>, Vec<(Digest, Vec<u8>)>) {
        let digests: Vec<Digest> = texts.iter().map(|text| Digest::of(text.as_bytes())).collect();
        let bytes = texts.iter().map(|text| text.as_bytes().to_vec());
        (digests.clone(), digests.into_iter().zip(bytes).collect())
    }

    #[tokio::test]
    async fn objects_take_the_place_of_others() {
        let house = House::new();
        let ((old, first), (new, second)) = (objects(&["a", "b"]), objects(&["c"]));
        house.loose.put(first).await.unwrap();
        assert_eq!(house.counts().await, (2, 2));
        house.loose.swap(Batch::new(), old.clone(), &[]).await.unwrap();
        assert_eq!(house.counts().await, (2, 0));
        house.loose.put(second).await.unwrap();
        house.loose.swap(Batch::new(), new.clone(), &old).await.unwrap();
        assert_eq!(house.counts().await, (3, 2));
        house.loose.remove(old).await.unwrap();
        assert_eq!((house.counts().await, house.objects.list().unwrap()), ((1, 0), new));
    }

    #[tokio::test]
    async fn a_full_disk_keeps_nothing_that_was_put_in_vain() {
        let house = House::new();
        for commits in [0, 1] {
            let (digests, new) = objects(&["a", "b"]);
            house.store.fill_after(commits);
            let done = match house.loose.put(new).await {
                Ok(()) => {
                    let mut batch = Batch::new();
                    batch.put(Key::new(Space::Meta), "refers to them");
                    house.loose.swap(batch, digests, &[]).await
                }
                full => full,
            };
            assert!(matches!(done, Err(StoreError::DiskFull { .. })), "{done:?}");
            assert_eq!(house.counts().await, (0, 0), "after {commits} commits");
        }
    }

    #[tokio::test]
    async fn where_nobody_knows_whether_a_row_refers_to_it_an_object_stays_until_a_start() {
        let house = House::new();
        let (digests, new) = objects(&["a", "b"]);
        house.loose.put(new).await.unwrap();
        house.store.take_only(Some(0));
        assert!(house.loose.swap(Batch::new(), digests.clone(), &[]).await.is_err());
        house.store.take_only(None);
        assert_eq!(house.counts().await, (2, 2));
        house.loose.clear(|digest| *digest == digests[0]).await.unwrap();
        assert_eq!(house.counts().await, (1, 0));
    }

    #[tokio::test]
    async fn what_is_removed_while_a_backup_runs_is_removed_by_a_start_if_the_backup_never_ends() {
        let house = House::new();
        let (old, first) = objects(&["a", "b"]);
        house.loose.put(first).await.unwrap();
        house.loose.swap(Batch::new(), old.clone(), &[]).await.unwrap();
        let hold = house.objects.hold();
        house.loose.swap(Batch::new(), Vec::new(), &old).await.unwrap();
        house.loose.remove(old.clone()).await.unwrap();
        assert_eq!(house.counts().await, (0, 2));
        // The process is killed: nobody drops the hold.
        std::mem::forget(hold);
        let killed = House { objects: Objects::open(house.folder.path()).unwrap(), ..house };
        assert_eq!(killed.counts().await, (2, 2));
        let loose = Loose { objects: killed.objects.clone(), ..killed.loose.clone() };
        // And a start that finds a backup at work leaves it to the next.
        let hold = killed.objects.hold();
        loose.clear(|_| false).await.unwrap();
        assert_eq!(killed.counts().await, (0, 2));
        drop(hold);
        loose.clear(|_| false).await.unwrap();
        assert_eq!(killed.counts().await, (0, 0));
        assert!(old.iter().all(|digest| !killed.objects.path(digest).exists()));
    }

    #[tokio::test]
    async fn a_key_that_is_no_objects_keeps_no_start_from_removing_what_is() {
        let house = House::new();
        let (_, new) = objects(&["a"]);
        house.loose.put(new).await.unwrap();
        let mut batch = Batch::new();
        batch.put(Key::new(Space::RecordLoose).number(1).fixed(b"?"), "?");
        house.store.commit(batch).await.unwrap();
        house.loose.clear(|_| false).await.unwrap();
        assert_eq!((house.counts().await, house.store.unread().count()), ((0, 1), 1));
    }
}
