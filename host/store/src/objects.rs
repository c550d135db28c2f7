//! Files named by their content, for what is too large for the store: plugins' components, segments of series.
//!
//! An object is synced and renamed into place before [`Objects::put`] returns, so put it before the row that refers
//! to it is committed, and remove it after the row is gone. All calls block on the file system.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::sled::{LEAST_WATERMARK, io_failed};
use crate::{FreeSpace, StoreError};

/// The SHA-256 digest of an object. Written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        data_encoding::HEXLOWER.encode_display(&self.0).fmt(f)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 characters of 0-9 and a-f")]
pub struct InvalidDigest;

impl FromStr for Digest {
    type Err = InvalidDigest;
    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| InvalidDigest)?;
        bytes.try_into().map(Self).map_err(|_| InvalidDigest)
    }
}

/// Text where the format is for people, bytes where it is not.
impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
        } else {
            <[u8; 32]>::deserialize(deserializer).map(Self)
        }
    }
}

/// A folder of objects. Clones share it.
#[derive(Clone, Debug)]
pub struct Objects(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    temporary: AtomicU64,
    held: Mutex<Held>,
    /// Held to put an object in its place, and alone while none may be put there.
    placing: RwLock<()>,
    free_space: FreeSpace,
}

/// While a backup runs nothing is removed, or it would miss what its rows refer to.
#[derive(Debug, Default)]
struct Held {
    holds: usize,
    /// What goes when the last hold is dropped.
    removed: Vec<Digest>,
}

/// Keeps every object in its place until it is dropped.
#[derive(Debug)]
pub(crate) struct Hold(Objects);

impl Objects {
    /// Opens the folder, which is made if it is not there, and clears away what an interrupted [`Self::put`] left.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the file system fails.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Self::open_with(folder, FreeSpace::default())
    }

    fn open_with(folder: &Path, free_space: FreeSpace) -> Result<Self, StoreError> {
        let failed = |error| io_failed(folder, &error);
        make_private(folder)?;
        if let Some(above) = folder.parent() {
            sync_folder(above).map_err(failed)?;
        }
        for entry in fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "partial") {
                fs::remove_file(&path).map_err(|error| io_failed(&path, &error))?;
            }
        }
        Ok(Self(Arc::new(Inner {
            folder: folder.to_owned(),
            temporary: AtomicU64::new(0),
            held: Mutex::default(),
            placing: RwLock::default(),
            free_space,
        })))
    }

    /// Keeps `bytes`, durable when this returns, and says under which digest. Putting what is there is no error.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`] if there is no room for it beside the [`LEAST_WATERMARK`] that a store needs to be opened again,
    /// [`StoreError::Failed`] if the file system fails.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        self.put_under(&digest, bytes).map(|()| digest)
    }

    /// As [`Self::put`], of bytes whose digest is known.
    pub(crate) fn put_under(&self, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        debug_assert_eq!(*digest, Digest::of(bytes));
        let is_there = {
            // Whoever lists what there is finds it there or removed.
            let _placing = self.0.placing.read();
            self.0.held.lock().removed.retain(|removed| removed != digest);
            // What is there may be damaged; writing it again mends it.
            self.get(digest).is_ok_and(|there| there.is_some())
        };
        if is_there {
            // Whoever put it may be about to make its name durable, or died before.
            return sync_folder(&self.0.folder).map_err(|error| io_failed(&self.path(digest), &error));
        }
        let needed = (bytes.len() as u64).saturating_add(LEAST_WATERMARK);
        let free = || self.0.free_space.of(&self.0.folder);
        if let Some(free) = free().filter(|free| *free < needed) {
            return Err(StoreError::DiskFull { free, needed });
        }
        let number = self.0.temporary.fetch_add(1, Ordering::Relaxed);
        let partial = self.0.folder.join(format!("{digest}-{}-{number}.partial", std::process::id()));
        let place = || {
            let _placing = self.0.placing.read();
            fs::rename(&partial, self.path(digest))
        };
        let written =
            write_synced(&partial, bytes).and_then(|()| place()).and_then(|()| sync_folder(&self.0.folder));
        written.map_err(|error| {
            let _ = fs::remove_file(&partial);
            match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                    StoreError::DiskFull { free: free().unwrap_or(0), needed }
                }
                _ => io_failed(&self.path(digest), &error),
            }
        })
    }

    /// The object of that digest, or `None` if there is none.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if its content is not what the digest says, [`StoreError::Failed`] if the file system
    /// fails.
    pub fn get(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.path(digest);
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|mut file| file.read_to_end(&mut bytes)) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_failed(&path, &error)),
        }
        let found = Digest::of(&bytes);
        if found != *digest {
            let path = path.display();
            return Err(StoreError::Damaged(format!("{path} has the digest {found}")));
        }
        Ok(Some(bytes))
    }

    /// The file of an object, to be read in parts; its content is not checked, so it should carry its own sums. It can
    /// be read on while, and after, the object is removed.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if it is not there or the file system fails, [`StoreError::Unavailable`] where the system lets
    /// no more files be open: that says nothing of this one.
    pub fn open_file(&self, digest: &Digest) -> Result<File, StoreError> {
        let path = self.path(digest);
        File::open(&path).map_err(|error| match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE) => StoreError::Unavailable(
                "as many files are open as the system allows; raise the limit of open files",
            ),
            _ => io_failed(&path, &error),
        })
    }

    /// What is wrong with an object of so many bytes, as far as is seen without reading it: "is missing".
    pub(crate) fn wrong(&self, digest: &Digest, bytes: u64) -> Option<String> {
        match fs::metadata(self.path(digest)) {
            Ok(about) if about.is_file() && about.len() == bytes => None,
            Ok(about) if about.is_file() => Some(format!("has {} bytes and not {bytes}", about.len())),
            Ok(_) => Some("is no file".to_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => Some("is missing".to_owned()),
            Err(error) => Some(format!("does not read ({error})")),
        }
    }

    /// The digests of all objects, in order.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the file system fails.
    pub fn list(&self) -> Result<Vec<Digest>, StoreError> {
        let failed = |error| io_failed(&self.0.folder, &error);
        let removed = self.0.held.lock().removed.clone();
        let mut digests = Vec::new();
        for entry in fs::read_dir(&self.0.folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            // Anything else in the folder is not ours.
            digests.extend(name.to_str().and_then(|name| name.parse::<Digest>().ok()));
        }
        digests.retain(|digest| !removed.contains(digest));
        digests.sort_unstable();
        Ok(digests)
    }

    /// Removes an object; no error if it is not there. Gives whether its file is gone: while a backup runs it stays until that
    /// has ended, or for good if the process ends before.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the file system fails.
    pub fn remove(&self, digest: &Digest) -> Result<bool, StoreError> {
        let mut held = self.0.held.lock();
        if held.holds > 0 {
            held.removed.push(*digest);
            return Ok(false);
        }
        self.remove_file(digest).map(|()| true)
    }

    fn remove_file(&self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.path(digest);
        match fs::remove_file(&path).and_then(|()| sync_folder(&self.0.folder)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(io_failed(&path, &error)),
            _ => Ok(()),
        }
    }

    /// Keeps every object that is there, or comes, until the hold is dropped.
    pub(crate) fn hold(&self) -> Hold {
        self.0.held.lock().holds += 1;
        Hold(self.clone())
    }

    /// The file an object is in, if it is there.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.0.folder.join(digest.to_string())
    }
}

impl Hold {
    /// Every object there is, those removed since the hold was taken too, and what `then` gives, which is done before another
    /// is put. An object is announced by a row before it is put, and referred to after: so of what is committed by when `then`
    /// ends there is a row of each that is listed, and each that is referred to is listed.
    pub(crate) fn list_before<T>(
        &self,
        then: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<(Vec<Digest>, T), StoreError> {
        let _placing = self.0.0.placing.write();
        Ok((self.list()?, then()?))
    }

    fn list(&self) -> Result<Vec<Digest>, StoreError> {
        let mut digests = self.0.list()?;
        digests.extend(self.0.0.held.lock().removed.iter().copied());
        digests.sort_unstable();
        digests.dedup();
        Ok(digests)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.0.0.held.lock();
        held.holds -= 1;
        if held.holds == 0 {
            for digest in std::mem::take(&mut held.removed) {
                if let Err(error) = self.0.remove_file(&digest) {
                    tracing::warn!(%digest, %error, "an object that nothing refers to could not be removed");
                }
            }
        }
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes durable what a folder, or a file, holds.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes a folder of the store where it is not there, for this user alone, whatever the one around it admits. One that is
/// there is closed to everybody else; its group keeps what it has, by which volumes are handed from one user to the next.
pub(crate) fn make_private(folder: &Path) -> Result<(), StoreError> {
    const OTHERS: u32 = 0o007;
    let close = || {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut permissions = fs::metadata(folder)?.permissions();
        if permissions.mode() & OTHERS == 0 {
            return Ok(());
        }
        permissions.set_mode(permissions.mode() & !OTHERS);
        match fs::set_permissions(folder, permissions) {
            // Another user's, who lets this one in by its group, as before.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                tracing::warn!(folder = %folder.display(), "every user may read this folder; its owner can close it");
                Ok(())
            }
            done => done,
        }
    };
    close().map_err(|error: io::Error| io_failed(folder, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_users_see_into_no_folder_of_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let (new, open) = (folder.path().join("new"), folder.path().join("open"));
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        make_private(&new).unwrap();
        make_private(&open).unwrap();
        assert_eq!((mode(&new), mode(&open)), (0o700, 0o750));
    }

    #[test]
    fn an_object_is_kept_under_its_digest_and_verified() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(&folder.path().join("components")).unwrap();
        let digest = objects.put(b"abc").unwrap();
        // FIPS 180-2, appendix B.1.
        assert_eq!(digest.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(objects.put(b"abc").unwrap(), digest);
        let other = objects.put(b"").unwrap();
        assert_eq!(objects.get(&digest).unwrap().as_deref(), Some(&b"abc"[..]));
        assert_eq!(objects.list().unwrap(), {
            let mut both = vec![digest, other];
            both.sort_unstable();
            both
        });

        fs::write(objects.path(&digest), b"abd").unwrap();
        assert!(matches!(objects.get(&digest), Err(StoreError::Damaged(_))));
        objects.put(b"abc").unwrap();
        assert_eq!(objects.get(&digest).unwrap().as_deref(), Some(&b"abc"[..]));

        assert!(objects.remove(&digest).unwrap() && objects.remove(&digest).unwrap());
        assert_eq!(objects.get(&digest).unwrap(), None);
        assert_eq!(objects.list().unwrap(), [other]);
    }

    #[test]
    fn what_an_interrupted_put_left_is_cleared_away_and_strange_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("00ff-1-0.partial"), b"half").unwrap();
        fs::write(folder.path().join("README"), b"not an object").unwrap();
        let objects = Objects::open(folder.path()).unwrap();
        assert_eq!(objects.list().unwrap(), []);
        let names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["README"]);
    }

    #[test]
    fn a_held_object_is_removed_when_the_hold_ends_unless_it_was_put_again() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(folder.path()).unwrap();
        let (gone, again) = (objects.put(b"gone").unwrap(), objects.put(b"again").unwrap());
        let hold = objects.hold();
        assert!(!objects.remove(&gone).unwrap() && !objects.remove(&again).unwrap());
        objects.put(b"again").unwrap();
        assert!(hold.list_before(|| Ok(())).unwrap().0.contains(&gone));
        assert_eq!(objects.list().unwrap(), [again]);
        drop(hold);
        assert_eq!(objects.get(&gone).unwrap(), None);
        assert!(objects.get(&again).unwrap().is_some());
    }

    #[test]
    fn no_object_takes_the_room_that_the_store_needs_to_be_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let free = Arc::new(AtomicU64::new(LEAST_WATERMARK + 4));
        let told = Arc::clone(&free);
        let probe = FreeSpace::new(move |_| Ok(told.load(Ordering::Relaxed)));
        let objects = Objects::open_with(folder.path(), probe).unwrap();
        let refused = objects.put(b"large").unwrap_err();
        let StoreError::DiskFull { free: 25_165_828, needed: 25_165_829 } = refused else {
            panic!("{refused}")
        };
        assert_eq!(objects.list().unwrap(), []);
        let fits = objects.put(b"fits").unwrap();
        free.store(0, Ordering::Relaxed);
        assert_eq!(objects.put(b"fits").unwrap(), fits, "what is there takes none");
        assert!(objects.remove(&fits).unwrap());
    }

    #[test]
    fn nothing_is_put_between_the_list_of_a_hold_and_what_is_done_then() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(folder.path()).unwrap();
        let there = objects.put(b"there").unwrap();
        let (hold, other) = (objects.hold(), Digest::of(b"other"));
        let mut putting = None;
        let listed = hold.list_before(|| {
            let objects = objects.clone();
            putting = Some(std::thread::spawn(move || objects.put(b"other")));
            assert!(hold.0.0.placing.try_read().is_none());
            Ok(())
        });
        assert_eq!(listed.unwrap().0, [there]);
        assert_eq!(putting.unwrap().join().unwrap().unwrap(), other);
        assert!(hold.list_before(|| Ok(())).unwrap().0.contains(&other));
    }

    #[test]
    fn a_digest_is_read_back_as_written() {
        let digest = Digest::of(b"x");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(digest.to_string().to_uppercase().parse(), Ok(digest));
        let bytes = postcard::to_stdvec(&digest).unwrap();
        assert_eq!(bytes.len(), 32);
        assert_eq!(postcard::from_bytes::<Digest>(&bytes).unwrap(), digest);
        for text in ["", "ab", &"g".repeat(64), &"a".repeat(66)] {
            assert_eq!(text.parse::<Digest>(), Err(InvalidDigest), "{text}");
        }
    }
}
