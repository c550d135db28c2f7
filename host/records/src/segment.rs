//! Segments: files of records in order of time, in blocks, with an index at the end.
//!
//! [`MAGIC`], whose segment it is and its number, so that no two are the same object; blocks (`chunk.rs`) one behind the
//! other; the index, postcard's binary form of [`Block`]s; then where the index begins (u64), how long it is (u32), its
//! CRC-32 and [`MAGIC`] again. Numbers are little-endian.

use std::fs::File;
use std::os::unix::fs::FileExt;

use bellwether_store::StoreError;
use serde::{Deserialize, Serialize};

use crate::chunk::{self, WELL};
use crate::layout::Extent;
use crate::limits::BLOCK;
use crate::shelf::Owner;
use crate::{Record, RecordKind};

const MAGIC: [u8; 8] = *b"bwrecrd1";
const FOOTER: u64 = 8 + 4 + 4 + 8;

/// A block of a segment.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Block {
    offset: u64,
    pub(crate) length: u32,
    crc: u32,
    pub(crate) extent: Extent,
}

/// A segment of records that are in order of time and id.
pub(crate) fn build(owner: Owner, number: u64, records: &[Record]) -> Result<Vec<u8>, StoreError> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&owner.0.0.to_le_bytes());
    out.push(match owner.1 {
        RecordKind::Event => 0,
        RecordKind::Log => 1,
    });
    out.extend_from_slice(&number.to_le_bytes());
    let mut blocks = Vec::new();
    for run in chunk::runs(records, BLOCK as u64) {
        let block = chunk::pack(run, WELL)?;
        blocks.push(Block {
            offset: out.len() as u64,
            length: u32::try_from(block.len()).map_err(|_| damaged("a block that is too large"))?,
            crc: crc32fast::hash(&block),
            extent: chunk::extent(run),
        });
        out.extend_from_slice(&block);
    }
    let start = out.len() as u64;
    let index = postcard::to_extend(&blocks, Vec::new())
        .map_err(|error| StoreError::Failed(format!("an index of records: {error}")))?;
    out.extend_from_slice(&index);
    out.extend_from_slice(&start.to_le_bytes());
    let length = u32::try_from(index.len()).map_err(|_| damaged("an index that is too large"))?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(&index).to_le_bytes());
    out.extend_from_slice(&MAGIC);
    Ok(out)
}

/// The blocks of a segment, in order of time.
pub(crate) fn blocks(file: &File) -> Result<Vec<Block>, StoreError> {
    let length = file.metadata().map_err(|error| failed(&error))?.len();
    let at = length.checked_sub(FOOTER).ok_or_else(|| damaged("its length"))?;
    let footer = bytes(file, at, FOOTER)?;
    let start = u64::from_le_bytes(*footer.first_chunk().ok_or_else(|| damaged("its footer"))?);
    let number = |at: usize| footer[at..at + 4].iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
    let (index_length, crc) = (u64::from(number(8)), number(12));
    if footer[16..] != MAGIC || start.checked_add(index_length) != Some(at) {
        return Err(damaged("its footer"));
    }
    let index = bytes(file, start, index_length)?;
    if crc32fast::hash(&index) != crc {
        return Err(damaged("its index"));
    }
    postcard::from_bytes(&index).map_err(|_| damaged("its index"))
}

/// The records of a block.
pub(crate) fn read(file: &File, block: &Block) -> Result<Vec<Record>, StoreError> {
    let packed = bytes(file, block.offset, u64::from(block.length))?;
    if crc32fast::hash(&packed) != block.crc {
        return Err(damaged("a block"));
    }
    chunk::unpack(&packed)
}

/// Every record of a segment.
pub(crate) fn all(file: &File) -> Result<Vec<Record>, StoreError> {
    let mut records = Vec::new();
    for block in blocks(file)? {
        records.extend(read(file, &block)?);
    }
    Ok(records)
}

fn bytes(file: &File, offset: u64, length: u64) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| damaged("a length"))?];
    file.read_exact_at(&mut bytes, offset).map_err(|error| failed(&error))?;
    Ok(bytes)
}

fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(format!("{what} of a segment of records does not read"))
}

fn failed(error: &std::io::Error) -> StoreError {
    StoreError::Failed(format!("a segment of records: {error}"))
}
