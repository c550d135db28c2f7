//! A backup of a running store and its objects, as one stream; `restore.rs` reads it.
//!
//! Rows are scanned in pages while writes go on, and between pages everything committed meanwhile is added from the
//! writer's tee; restoring applies it all in order. At the end the writer is asked for a barrier and the tee is read
//! out once more, so the result is the store as it was at that barrier: no batch is in it by half.
//!
//! A backup holds `<data>/store` and `<data>/components`. It does not hold `<data>/host.key`, without which the
//! sealed secrets in it cannot be read: keep that file apart, and put it back beside the restored folders.
//! `<data>/cache` is made again by the host.
//!
//! Format: [`MAGIC`], a version byte, then one zstd stream of frames. A frame is its kind (1 byte), the length of its
//! content (u32), the CRC-32 of kind, length and content (u32), the content; numbers are little-endian. The last
//! frame holds the counts of all before, so a stream that was cut short does not pass for a whole one. One that fails on
//! its way ends with a frame that says why; then the receiver gets the error too, and no more.
//!
//! An object that is damaged is left out, and told of in its place: it must not keep everything else from being saved.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use crate::group::Rows;
use crate::objects::{Digest, Hold, Objects};
use crate::queue::Queue;
use crate::rows::put_row;
use crate::sled::{SledStore, guarded};
use crate::tee::{TeeReader, tee};
use crate::view::View;
use crate::writer::{CLOSED, Order, Shared};
use crate::{Direction, Key, Row, StoreError};

/// What a backup begins with.
pub(crate) const MAGIC: &[u8; 8] = b"bellwthr";
/// 2: what was left out is named.
pub(crate) const VERSION: u8 = 2;

/// Puts and deletes, in order (`rows.rs`).
pub(crate) const ROWS: u8 = 1;
/// Part of an object.
pub(crate) const PIECE: u8 = 2;
/// The end of an object: its digest.
pub(crate) const OBJECT: u8 = 3;
/// What is not in it: the digest of an object, and why in words.
pub(crate) const LEFT_OUT: u8 = 5;
/// The end of what is no backup: why it failed, in words.
pub(crate) const FAILED: u8 = 6;
/// The end: how many puts and deletes, and how many objects there were (u64 each).
pub(crate) const END: u8 = 4;

/// A frame of rows ends with the row that reaches this size; pieces of objects are this large.
const FRAME: usize = 1024 * 1024;
/// No frame is larger: a length beyond is damage, not a reason to allocate.
pub(crate) const MAX_FRAME: usize = 2 * FRAME;
/// Rows committed while a slow receiver takes the backup, kept for it; beyond, the backup fails.
const BACKLOG: usize = 64 * 1024 * 1024;
/// Rows of one page of the scan: at most 8 MiB of values.
const PAGE: usize = 256;
/// The size of the parts handed to the receiver, and how many wait for it.
const PART: usize = 64 * 1024;
const PARTS: usize = 16;

/// How long a receiver takes no part before it is taken for gone, though it did not say so: until then objects that nothing
/// refers to any more stay where they are.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// How often is looked whether it has room for another: at this pace it gets 200 MB a second.
const PAUSE: Duration = Duration::from_millis(5);

/// How long the last part of a backup that fails is ahead of the error: whoever sends parts on breaks off at that, and
/// what it has not sent by then is lost.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// Fast, and about a third of the size for rows of numbers.
const COMPRESSION: i32 = 1;

/// An object a backup does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Which.
    pub digest: Digest,
    /// What it was, why it is not there, and what to do.
    pub why: String,
}

/// Backs up `store` and `objects` as they are at some moment before the last part.
///
/// Two sorts of objects are not in the backup, which tells of them instead: those that `left_out` names, and those
/// found damaged on the way. For one that is damaged, `damaged` is called with its digest and what is wrong with it, and
/// gives what is told of it, such as whose samples it held; `None` if it knows nothing of it.
///
/// The parts, put one after the other, are the backup. An error is the last thing received; what came before is then no
/// backup, but says why ([`crate::inspect`]). Runs on a thread of its own until the last part is taken, the receiver dropped,
/// or no part taken for five minutes.
#[must_use]
pub fn backup(
    store: &SledStore,
    objects: &Objects,
    left_out: Vec<LeftOut>,
    damaged: impl Fn(&Digest, &str) -> Option<LeftOut> + Send + 'static,
) -> mpsc::Receiver<Result<Bytes, StoreError>> {
    backup_with(store, objects, left_out, damaged, PATIENCE)
}

fn backup_with(
    store: &SledStore,
    objects: &Objects,
    left_out: Vec<LeftOut>,
    damaged: impl Fn(&Digest, &str) -> Option<LeftOut> + Send + 'static,
    patience: Duration,
) -> mpsc::Receiver<Result<Bytes, StoreError>> {
    // And a place for an error.
    let (sender, receiver) = mpsc::channel(PARTS + 1);
    let (source, hold) = (store.source(), objects.hold());
    let objects = objects.clone();
    let run = {
        let sender = sender.clone();
        move || {
            let parts = Parts { sender: sender.clone(), part: BytesMut::with_capacity(PART), patience };
            let written = write_backup(&source, &objects, &hold, &left_out, &damaged, parts);
            drop((source, hold));
            if let Err(error) = written {
                std::thread::sleep(LAST_WORDS);
                // Without a receiver there is nobody to tell.
                let _ = sender.try_send(Err(error));
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("store-backup".to_owned()).spawn(run) {
        let error = StoreError::Failed(format!("the backup's thread does not start: {error}"));
        let _ = sender.try_send(Err(error));
    }
    receiver
}

/// What a backup needs of a store.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) view: View,
    pub(crate) orders: Arc<Queue<Order>>,
    pub(crate) shared: Arc<Shared>,
}

impl Source {
    fn order(&self, order: Order) -> Result<(), StoreError> {
        if self.orders.put(order) { Ok(()) } else { Err(CLOSED) }
    }

    /// Returns when everything applied before is durable and has gone to the tees.
    fn barrier(&self) -> Result<(), StoreError> {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        self.order(Order::Barrier(sender))?;
        receiver.recv().map_err(|_| CLOSED)
    }
}

fn write_backup(
    source: &Source,
    objects: &Objects,
    hold: &Hold,
    left_out: &[LeftOut],
    damaged: &dyn Fn(&Digest, &str) -> Option<LeftOut>,
    parts: Parts,
) -> Result<(), StoreError> {
    let mut out = Frames::begin(parts)?;
    match guarded(|| write_all(source, objects, hold, left_out, damaged, &mut out)) {
        Ok(()) => out.end(),
        Err(error) => {
            // Without a receiver there is nobody to tell.
            let _ = out.fail(&error);
            Err(error)
        }
    }
}

fn write_all(
    source: &Source,
    objects: &Objects,
    hold: &Hold,
    left_out: &[LeftOut],
    damaged: &dyn Fn(&Digest, &str) -> Option<LeftOut>,
    out: &mut Frames,
) -> Result<(), StoreError> {
    let (tee, committed) = tee(BACKLOG);
    source.order(Order::Subscribe(tee))?;
    // A group applied before the tee was there is seen by the scan only if the scan begins after it.
    source.barrier()?;

    let mut left = Some(Key::from_bytes(Vec::new())..Key::from_bytes(vec![0xff]));
    while let Some(range) = left {
        if source.shared.closed.load(Ordering::SeqCst) {
            return Err(CLOSED);
        }
        let mut page: Vec<Row> = Vec::new();
        left = source.view.scan_stretch(&range, Direction::Forward, PAGE, &mut page)?;
        out.rows(page.iter().map(|(key, value)| (key, Some(value))))?;
        write_committed(&committed, out)?;
    }
    // Whatever the scan saw was applied by now: with the groups up to here, all of each of them is in the backup, and a row of
    // each object that is there by now: one that refers to it, or a loose one.
    let (there, last) = hold.list_before(|| {
        source.barrier()?;
        // As far as this: what is committed later may refer to an object that is put later.
        std::iter::from_fn(|| committed.next().transpose()).collect::<Result<Vec<_>, _>>()
    })?;
    drop(committed);
    last.iter().try_for_each(|rows| write_group(rows, out))?;

    let mut named: BTreeMap<Digest, &LeftOut> =
        left_out.iter().map(|left_out| (left_out.digest, left_out)).collect();
    for digest in there {
        let how = match objects.get(&digest) {
            Ok(Some(bytes)) => {
                // Whatever is said of it: it may have been put back.
                named.remove(&digest);
                out.object(&digest, &bytes)?;
                continue;
            }
            // One of before the hold, just gone, nobody refers to.
            Ok(None) => continue,
            Err(StoreError::Damaged(how) | StoreError::Failed(how)) => how,
            Err(error) => return Err(error),
        };
        if named.contains_key(&digest) {
            continue;
        }
        tracing::error!(%digest, how, "an object is damaged and left out of the backup");
        let left_out = damaged(&digest, &how).unwrap_or(LeftOut { digest, why: how });
        out.left_out(&left_out)?;
    }
    named.into_values().try_for_each(|left_out| out.left_out(left_out))
}

fn write_committed(committed: &TeeReader, out: &mut Frames) -> Result<(), StoreError> {
    while let Some(rows) = committed.next()? {
        write_group(&rows, out)?;
    }
    Ok(())
}

fn write_group(rows: &Rows, out: &mut Frames) -> Result<(), StoreError> {
    out.rows(rows.iter().map(|(key, row)| (key, row.as_ref())))
}

/// Writes frames and counts what is in them.
struct Frames {
    out: zstd::stream::write::Encoder<'static, Parts>,
    entries: u64,
    objects: u64,
    content: Vec<u8>,
}

impl Frames {
    fn begin(mut parts: Parts) -> Result<Self, StoreError> {
        parts.write_all(MAGIC).and_then(|()| parts.write_all(&[VERSION])).map_err(not_taken)?;
        let out = zstd::stream::write::Encoder::new(parts, COMPRESSION).map_err(not_taken)?;
        Ok(Self { out, entries: 0, objects: 0, content: Vec::with_capacity(MAX_FRAME) })
    }

    fn rows<'a>(
        &mut self,
        rows: impl Iterator<Item = (&'a Key, Option<&'a Bytes>)>,
    ) -> Result<(), StoreError> {
        for (key, value) in rows {
            put_row(&mut self.content, key, value);
            self.entries += 1;
            if self.content.len() >= FRAME {
                self.rows_end()?;
            }
        }
        self.rows_end()
    }

    fn rows_end(&mut self) -> Result<(), StoreError> {
        if !self.content.is_empty() {
            let content = std::mem::take(&mut self.content);
            self.frame(ROWS, &content)?;
            self.content = content;
            self.content.clear();
        }
        Ok(())
    }

    fn object(&mut self, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        for piece in bytes.chunks(FRAME) {
            self.frame(PIECE, piece)?;
        }
        self.objects += 1;
        self.frame(OBJECT, digest.as_bytes())
    }

    fn left_out(&mut self, LeftOut { digest, why }: &LeftOut) -> Result<(), StoreError> {
        self.frame(LEFT_OUT, &[digest.as_bytes(), why.as_bytes()].concat())
    }

    /// Says why there is no more, instead of an end.
    fn fail(mut self, error: &StoreError) -> Result<(), StoreError> {
        self.frame(FAILED, error.to_string().as_bytes())?;
        self.out.finish().and_then(|mut parts| parts.flush()).map_err(not_taken)
    }

    fn end(mut self) -> Result<(), StoreError> {
        let mut counts = [0; 16];
        counts[..8].copy_from_slice(&self.entries.to_le_bytes());
        counts[8..].copy_from_slice(&self.objects.to_le_bytes());
        self.frame(END, &counts)?;
        self.out.finish().and_then(|mut parts| parts.flush()).map_err(not_taken)
    }

    fn frame(&mut self, kind: u8, content: &[u8]) -> Result<(), StoreError> {
        let head = frame_head(kind, content);
        self.out.write_all(&head).and_then(|()| self.out.write_all(content)).map_err(not_taken)
    }
}

/// Kind, length and checksum of a frame.
pub(crate) fn frame_head(kind: u8, content: &[u8]) -> [u8; 9] {
    let mut head = [0; 9];
    head[0] = kind;
    head[1..5].copy_from_slice(&u32::try_from(content.len()).expect("frames are limited").to_le_bytes());
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&head[..5]);
    checksum.update(content);
    head[5..].copy_from_slice(&checksum.finalize().to_le_bytes());
    head
}

/// Writing into memory fails only when nobody takes it any more.
#[expect(clippy::needless_pass_by_value, reason = "what map_err hands over")]
fn not_taken(error: io::Error) -> StoreError {
    StoreError::Failed(format!("the backup was not taken: {error}"))
}

/// Hands what is written to the receiver in parts, and waits while it has enough.
struct Parts {
    sender: mpsc::Sender<Result<Bytes, StoreError>>,
    part: BytesMut,
    /// [`PATIENCE`], until that is at its end.
    patience: Duration,
}

impl Parts {
    fn send(&mut self, part: Bytes) -> io::Result<()> {
        let began = Instant::now();
        // The last place is the error's.
        while self.sender.capacity() == 1 && !self.sender.is_closed() {
            if began.elapsed() >= self.patience {
                // Its last words wait for nobody.
                self.patience = Duration::ZERO;
                let why = format!("nobody took a part of it for {} seconds", began.elapsed().as_secs());
                return Err(io::Error::new(ErrorKind::TimedOut, why));
            }
            std::thread::sleep(PAUSE);
        }
        self.sender.try_send(Ok(part)).map_err(|_| ErrorKind::BrokenPipe.into())
    }
}

impl Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PART - self.part.len());
        self.part.extend_from_slice(&bytes[..taken]);
        if self.part.len() == PART {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.part.is_empty() {
            return Ok(());
        }
        let part = std::mem::replace(&mut self.part, BytesMut::with_capacity(PART)).freeze();
        self.send(part)
    }
}

#[cfg(test)]
#[path = "backup/tests.rs"]
mod tests;
