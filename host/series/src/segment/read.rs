//! Reads a segment: the directory at once, pages and blocks where they are asked for.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bellwether_store::{Digest, Objects, StoreError};

use super::{Cache, Cursor, Entry, FOOTER, LINE, MAGIC, STEPS};
use crate::codec::varint;
use crate::sample::Samples;

/// A segment that was opened. Its file is open only while it is among the last that were used.
pub(crate) struct Segment {
    objects: Objects,
    digest: Digest,
    /// The file's bytes.
    pub(super) length: u64,
    /// Unique among the segments of a process.
    number: u64,
    base: i64,
    directory: Vec<Line>,
    cache: Cache,
}

struct Line {
    series: u32,
    offset: u64,
    length: u32,
    blocks: u64,
}

impl Drop for Segment {
    /// Closes its file behind its last reader, who may have opened it when its segment had given way already.
    fn drop(&mut self) {
        self.cache.close(self.number);
    }
}

impl Segment {
    /// Opens a segment whose times are kept relative to `base`.
    pub(crate) fn open(
        (objects, digest): (Objects, Digest),
        number: u64,
        base: i64,
        cache: Cache,
    ) -> Result<Self, StoreError> {
        let mut segment = Self { objects, digest, length: 0, number, base, directory: Vec::new(), cache };
        let file = segment.file()?;
        let length = file.metadata().map_err(|error| failed(&error))?.len();
        let read = |offset: u64, length: u64| -> Result<Vec<u8>, StoreError> {
            let mut bytes = vec![0; usize::try_from(length).map_err(|_| damaged("a length"))?];
            file.read_exact_at(&mut bytes, offset).map_err(|error| failed(&error))?;
            Ok(bytes)
        };
        let at = length.checked_sub(FOOTER as u64).ok_or_else(|| damaged("its length"))?;
        let footer = read(at, FOOTER as u64)?;
        let mut footer = footer.as_slice();
        let start = number_of(&mut footer, 8);
        let pages_count = number_of(&mut footer, 4);
        let crc = number_of(&mut footer, 4);
        if footer != MAGIC || start.checked_add(pages_count * LINE as u64) != Some(at) {
            return Err(damaged("its footer"));
        }
        let directory = read(start, at - start)?;
        if u64::from(crc32fast::hash(&directory)) != crc {
            return Err(damaged("its directory"));
        }
        let line = |mut line: &[u8]| Line {
            series: number_of(&mut line, 4) as u32,
            offset: number_of(&mut line, 8),
            length: number_of(&mut line, 4) as u32,
            blocks: number_of(&mut line, 8),
        };
        segment.directory = directory.chunks_exact(LINE).map(line).collect();
        segment.length = length;
        Ok(segment)
    }

    fn file(&self) -> Result<Arc<File>, StoreError> {
        self.cache.file(self.number, || self.objects.open_file(&self.digest))
    }

    /// Adds the blocks of a series, in order of time.
    pub(crate) fn entries(
        &self,
        cursor: &mut Cursor,
        series: u32,
        mut add: impl FnMut(&Entry),
    ) -> Result<(), StoreError> {
        // The page before the first that begins behind the series may end with it; and so may those before, if it
        // goes on over several.
        let first = self.directory.partition_point(|line| line.series < series).saturating_sub(1);
        for at in first..self.directory.len() {
            if self.directory[at].series > series {
                break;
            }
            let page = match &mut cursor.page {
                Some((present, page)) if *present == at => page,
                other => &mut other.insert((at, self.page(at)?)).1,
            };
            let begin = page.partition_point(|entry| entry.series < series);
            page[begin..].iter().take_while(|entry| entry.series == series).for_each(&mut add);
        }
        Ok(())
    }

    /// Every block, in order of series and time. Not through the cache.
    pub(crate) fn all(&self) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::new();
        for line in &self.directory {
            entries.extend(self.read_page(line)?);
        }
        Ok(entries)
    }

    /// The samples of a block that somebody unpacked not long ago.
    pub(crate) fn unpacked(&self, entry: &Entry) -> Option<Arc<Samples>> {
        self.cache.block(self.number, entry)
    }

    /// Keeps the samples of a block that [`Entry::is_kept`] for [`Self::unpacked`].
    pub(crate) fn keep_unpacked(&self, entry: &Entry, samples: &Arc<Samples>) {
        self.cache.keep_block(self.number, entry, samples);
    }

    /// The bytes of a block.
    pub(crate) fn block(&self, entry: &Entry) -> Result<Vec<u8>, StoreError> {
        self.bytes(entry.offset, u64::from(entry.length))
    }

    /// The bytes of blocks that lie behind each other.
    pub(crate) fn bytes(&self, offset: u64, length: u64) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        self.read(offset, length, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads into `bytes`, which is empty.
    pub(super) fn read(&self, offset: u64, length: u64, bytes: &mut Vec<u8>) -> Result<(), StoreError> {
        bytes.resize(usize::try_from(length).map_err(|_| damaged("a length"))?, 0);
        self.file()?.read_exact_at(bytes, offset).map_err(|error| failed(&error))
    }

    fn page(&self, at: usize) -> Result<Arc<Vec<Entry>>, StoreError> {
        if let Some(page) = self.cache.page(self.number, at as u32) {
            return Ok(page);
        }
        let page = Arc::new(self.read_page(&self.directory[at])?);
        self.cache.keep_page(self.number, at as u32, &page);
        Ok(page)
    }

    fn read_page(&self, line: &Line) -> Result<Vec<Entry>, StoreError> {
        let bytes = self.bytes(line.offset, u64::from(line.length))?;
        let (content, crc) = bytes.split_last_chunk::<4>().ok_or_else(|| damaged("a page"))?;
        if crc32fast::hash(content) != u32::from_le_bytes(*crc) {
            return Err(damaged("a page"));
        }
        let (mut rest, mut entries) = (content, Vec::new());
        let (mut series, mut offset) = (line.series, line.blocks);
        while !rest.is_empty() {
            let entry = (|| {
                let further = u32::try_from(varint::take(&mut rest)?).ok()?;
                let length = u32::try_from(varint::take(&mut rest)?).ok()?;
                let samples = u32::try_from(varint::take(&mut rest)?).ok()?;
                let (samples, step) = (samples % STEPS, i64::from(samples / STEPS) * 1000);
                let first = self.base.checked_add(varint::take_signed(&mut rest)?)?;
                let last = first.checked_add_unsigned(varint::take(&mut rest)?)?;
                let series = series.checked_add(further)?;
                Some(Entry { series, offset, length, samples, step, first, last })
            })()
            .ok_or_else(|| damaged("a page"))?;
            (series, offset) = (entry.series, offset + u64::from(entry.length));
            entries.push(entry);
        }
        Ok(entries)
    }
}

/// A little-endian number of `length` bytes, which are there.
fn number_of(bytes: &mut &[u8], length: usize) -> u64 {
    let taken = varint::take_bytes(bytes, length).unwrap_or_default();
    taken.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

pub(crate) fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(format!("{what} of a segment of series does not read"))
}

fn failed(error: &std::io::Error) -> StoreError {
    StoreError::Failed(format!("a segment of series: {error}"))
}
