//! Restores what `backup.rs` wrote: all of it or nothing.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use bytes::Bytes;

use crate::backup::{
    END, FAILED, LEFT_OUT, LeftOut, MAGIC, MAX_FRAME, OBJECT, PIECE, ROWS, VERSION, frame_head,
};
use crate::checkpoint;
use crate::group::Rows;
use crate::lock::FolderLock;
use crate::migrate;
use crate::objects::{Digest, Objects, make_private, sync_folder};
use crate::rows::split_row;
use crate::sled::{self, failed, io_failed};
use crate::{Key, StoreError};

/// What a restore brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Rows of the store.
    pub rows: u64,
    /// Objects.
    pub objects: u64,
    /// Objects that were lost when the backup was made.
    pub left_out: Vec<LeftOut>,
}

/// Reads a row of what is being restored.
pub type ReadRow<'a> = &'a dyn Fn(&Key) -> Result<Option<Bytes>, StoreError>;

/// Where a restore works until all is there. A folder with this in it and no store has a restore under way, or one that was
/// cut off.
pub const RESTORING: &str = "restoring";

/// What may be in a folder that a backup is restored to: the key of its host, and what a file system makes for itself.
const ALLOWED: [&str; 2] = ["host.key", "lost+found"];

/// Restores a backup into the data folder `into`, which is made for this user alone if it is not there, and must hold
/// nothing but a host key and what a restore that was cut off left, which is removed: `store` and `components` appear
/// in it when all of the backup was read and is durable, and nothing of it otherwise. `fits` looks at its rows before that,
/// and its refusal ends it. Blocks.
///
/// # Errors
/// [`StoreError::Backup`] if the folder is not empty, or the stream is no backup, damaged or cut short;
/// [`StoreError::InUse`] if another process restores to it; [`StoreError::Newer`] if a newer host made it;
/// [`StoreError::Failed`] if the file system fails; what `fits` says.
pub fn restore(
    reader: impl Read,
    into: &Path,
    fits: impl FnOnce(ReadRow<'_>) -> Result<(), StoreError>,
) -> Result<Restored, StoreError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(into);
    made.map_err(|error| io_failed(into, &error))?;
    let partial = into.join(RESTORING);
    let lock = begin(into, &partial)?;
    let restored = restore_into(reader, &partial, fits).and_then(|restored| {
        let place = |name: &str| {
            let (from, to) = (partial.join(name), into.join(name));
            fs::rename(&from, &to).map_err(|error| io_failed(&to, &error))
        };
        // The store last, and once the rest is durable: a folder with a store in it is whole.
        place("components")?;
        sync_folder(into).map_err(|error| io_failed(into, &error))?;
        place("store")?;
        fs::remove_dir_all(&partial).map_err(|error| io_failed(&partial, &error))?;
        sync_folder(into).map_err(|error| io_failed(into, &error))?;
        Ok(restored)
    });
    if restored.is_err() {
        // The store first: what is left of one without its components must not be taken for whole.
        for folder in [into.join("store"), into.join("components"), partial] {
            let _ = fs::remove_dir_all(folder);
        }
    }
    drop(lock);
    restored
}

/// Takes the folder for this restore: one with nothing in it that a restore could take for its own, or harm.
fn begin(into: &Path, partial: &Path) -> Result<FolderLock, StoreError> {
    let cut_off = partial.exists();
    for entry in fs::read_dir(into).map_err(|error| io_failed(into, &error))? {
        let name = entry.map_err(|error| io_failed(into, &error))?.file_name();
        let is_own = cut_off && (name == RESTORING || name == "components");
        if !is_own && !ALLOWED.iter().any(|allowed| name == *allowed) {
            return Err(broken(&format!(
                "{} is not empty: it holds {}; choose another folder",
                into.display(),
                name.to_string_lossy()
            )));
        }
    }
    make_private(partial)?;
    let lock = FolderLock::take(partial)?;
    for left in [partial.join("store"), partial.join("components"), into.join("components")] {
        match fs::remove_dir_all(&left) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(io_failed(&left, &error)),
            _ => {}
        }
    }
    Ok(lock)
}

/// What is in a file that a backup was received in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// What is not in it.
    pub left_out: Vec<LeftOut>,
    /// Why it is no backup: what failed where it was made. The end of it is then missing.
    pub failed: Option<String>,
}

/// Reads all of a backup and restores nothing.
///
/// # Errors
/// [`StoreError::Backup`] if the stream is no backup, damaged or cut short without a word; [`StoreError::Newer`] if a newer
/// host made it.
pub fn inspect(reader: impl Read) -> Result<Inspected, StoreError> {
    let mut frames = Frames::begin(reader)?;
    let mut left_out = Vec::new();
    loop {
        match frames.next()? {
            Some(Frame::LeftOut(told)) => left_out.push(told),
            Some(Frame::Rows(content)) => frames.entries += count_rows(&content)?,
            Some(Frame::Object(..)) => {}
            Some(Frame::Failed(why)) => return Ok(Inspected { left_out, failed: Some(why) }),
            None => return Ok(Inspected { left_out, failed: None }),
        }
    }
}

fn restore_into(
    reader: impl Read,
    folder: &Path,
    fits: impl FnOnce(ReadRow<'_>) -> Result<(), StoreError>,
) -> Result<Restored, StoreError> {
    let mut frames = Frames::begin(reader)?;
    let store = folder.join("store");
    make_private(&store)?;
    let objects = Objects::open(&folder.join("components"))?;
    let db = sled::open_sled(&store, sled::SledSettings::default().cache_bytes)?;
    let (mut left_out, mut fits) = (Vec::new(), Some(fits));
    let read = |key: &Key| {
        let row = db.get(key.as_bytes()).map_err(failed)?;
        Ok(row.map(|row| Bytes::copy_from_slice(&row)))
    };
    loop {
        let frame = frames.next()?;
        // All rows are there, and objects may be many: what does not fit is refused before them.
        if !matches!(frame, Some(Frame::Rows(_) | Frame::Failed(_)))
            && let Some(fits) = fits.take()
        {
            fits(&read)?;
        }
        match frame {
            None => break,
            Some(Frame::Rows(content)) => frames.entries += restore_rows(&db, &content)?,
            Some(Frame::Object(digest, object)) => {
                let found = objects.put(&object)?;
                if found != digest {
                    return Err(broken(&format!(
                        "an object has the digest {found}, not the one it is under"
                    )));
                }
            }
            Some(Frame::LeftOut(told)) => left_out.push(told),
            Some(Frame::Failed(why)) => {
                return Err(broken(&format!("it is not whole, for making it failed: {why}")));
            }
        }
    }
    let version = db.get(migrate::version_key().as_bytes()).map_err(failed)?;
    let found = migrate::read_version(&version.ok_or_else(|| broken("it holds no store"))?)?;
    if found > migrate::VERSION {
        return Err(StoreError::Newer { found, supported: migrate::VERSION });
    }
    // The restored store begins a journal of its own.
    db.remove(checkpoint::durable_key().as_bytes()).map_err(failed)?;
    db.flush().map_err(failed)?;
    let restored = Restored { rows: db.len() as u64, objects: frames.objects, left_out };
    drop(db);
    sled::sync_files(&store)?;
    Ok(restored)
}

/// Reads what is before the frames.
fn read_begin<R: Read>(mut reader: R) -> Result<impl Read, StoreError> {
    let mut begin = Vec::new();
    reader.by_ref().take(MAGIC.len() as u64).read_to_end(&mut begin).map_err(not_read)?;
    // Of a backup that was cut short, however soon, there is a beginning.
    if begin.is_empty() || !MAGIC.starts_with(&begin) {
        return Err(broken("it is no backup, for it does not begin as one"));
    }
    let mut version = [0];
    reader.read_exact(&mut version).map_err(not_read)?;
    let [version] = version;
    if version > VERSION {
        return Err(StoreError::Newer { found: u32::from(version), supported: u32::from(VERSION) });
    }
    zstd::stream::read::Decoder::new(reader).map_err(not_read)
}

/// Reads frames, and holds what they say against the counts at their end.
struct Frames<R> {
    frames: R,
    /// Puts and deletes so far: counted by whoever takes rows.
    entries: u64,
    objects: u64,
}

/// What is in a backup.
enum Frame {
    Rows(Vec<u8>),
    Object(Digest, Vec<u8>),
    LeftOut(LeftOut),
    Failed(String),
}

impl Frames<()> {
    fn begin<R: Read>(reader: R) -> Result<Frames<impl Read>, StoreError> {
        Ok(Frames { frames: read_begin(reader)?, entries: 0, objects: 0 })
    }
}

impl<R: Read> Frames<R> {
    /// What comes next; `None` at the end of what is a whole backup.
    fn next(&mut self) -> Result<Option<Frame>, StoreError> {
        let mut object = Vec::new();
        loop {
            let (kind, content) = read_frame(&mut self.frames)?;
            return Ok(Some(match kind {
                ROWS => Frame::Rows(content),
                PIECE => {
                    object.extend_from_slice(&content);
                    continue;
                }
                OBJECT => {
                    let digest = content.try_into().map_err(|_| broken("an object has no digest"))?;
                    self.objects += 1;
                    Frame::Object(Digest::from_bytes(digest), object)
                }
                LEFT_OUT => {
                    let (digest, why) =
                        content.split_first_chunk().ok_or_else(|| broken("what was left out has no name"))?;
                    let why = String::from_utf8_lossy(why).into_owned();
                    Frame::LeftOut(LeftOut { digest: Digest::from_bytes(*digest), why })
                }
                FAILED => Frame::Failed(String::from_utf8_lossy(&content).into_owned()),
                END => {
                    self.end(content)?;
                    return Ok(None);
                }
                other => return Err(broken(&format!("it has a frame of the unknown kind {other}"))),
            }));
        }
    }

    fn end(&mut self, counts: Vec<u8>) -> Result<(), StoreError> {
        let counts: [u8; 16] = counts.try_into().map_err(|_| broken("its last frame has no counts"))?;
        let expected = u128::from(self.objects) << 64 | u128::from(self.entries);
        if u128::from_le_bytes(counts) != expected {
            return Err(broken("its last frame counts other rows and objects than there are"));
        }
        if self.frames.read(&mut [0]).map_err(not_read)? != 0 {
            return Err(broken("there is more behind its end"));
        }
        Ok(())
    }
}

fn read_frame(frames: &mut impl Read) -> Result<(u8, Vec<u8>), StoreError> {
    let mut head = [0; 9];
    frames.read_exact(&mut head).map_err(not_read)?;
    let [kind, a, b, c, d, ..] = head;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    if length > MAX_FRAME {
        return Err(broken("a frame is longer than any can be"));
    }
    let mut content = vec![0; length];
    frames.read_exact(&mut content).map_err(not_read)?;
    if frame_head(kind, &content) != head {
        return Err(broken("a frame does not fit its checksum"));
    }
    Ok((kind, content))
}

/// Applies a frame of rows, each key of which is in it once, and says how many they are.
fn restore_rows(db: &::sled::Db, content: &[u8]) -> Result<u64, StoreError> {
    let mut rows = Rows::new();
    let entries = each_row(content, |key, value| {
        rows.insert(Key::from_bytes(key.to_vec()), value.map(Bytes::copy_from_slice));
    })?;
    sled::apply(db, &rows)?;
    Ok(entries)
}

fn count_rows(content: &[u8]) -> Result<u64, StoreError> {
    each_row(content, |_, _| ())
}

fn each_row(content: &[u8], mut take: impl FnMut(&[u8], Option<&[u8]>)) -> Result<u64, StoreError> {
    let (mut entries, mut rest) = (0, content);
    while !rest.is_empty() {
        let (key, value, after) = split_row(rest).ok_or_else(|| broken("a row has the wrong length"))?;
        take(key, value);
        entries += 1;
        rest = after;
    }
    Ok(entries)
}

fn broken(why: &str) -> StoreError {
    StoreError::Backup(why.to_owned())
}

#[expect(clippy::needless_pass_by_value, reason = "what map_err hands over")]
fn not_read(error: io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::UnexpectedEof => broken("it ends too soon; it was cut short"),
        _ => broken(&error.to_string()),
    }
}
