//! Records, and how those of one turn are told from whatever else a file holds.
//!
//! A file's turn begins with a header: [`MAGIC`], the turn's [`Salt`], and the CRC-32 of both (u32). It is written twice, a
//! page apart, because no record reads without it. Records follow: the CRC-32 of what comes after it (u32), the length of
//! the content (u32), the number (u64), and the content. Salt goes into the checksum and the number. Numbers are
//! little-endian.

use bellwether_kernel::{Randomness, SystemRandomness};

use crate::StoreError;

/// Bytes of a record before its content.
pub(super) const HEAD: usize = 16;

/// What a header begins with.
const MAGIC: &[u8; 8] = b"bwjrnl\x00\x01";
/// Bytes of a header.
const HEADER: usize = MAGIC.len() + 16;
/// How far the header's second copy is behind the first: what a disk damages is a page.
const PAGE: usize = 4096;
/// Where the records of a turn begin.
pub(super) const RECORDS: usize = PAGE + HEADER;

/// Chance that is drawn for each turn and that nobody outside knows: a value that looks like a record, wherever in a file
/// it comes to lie, is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Salt {
    /// Laid over the records' numbers.
    mask: u64,
    /// What their checksums begin with.
    seed: u32,
}

impl Salt {
    /// Of the files of hosts that drew none, which have no header either.
    pub(super) const NONE: Self = Self { mask: 0, seed: 0 };

    /// That of a new turn; from the system, as content must not know it.
    pub(super) fn draw() -> Self {
        let (mut mask, mut seed) = ([0; 8], [0; 4]);
        SystemRandomness.fill(&mut mask);
        SystemRandomness.fill(&mut seed);
        Self { mask: u64::from_le_bytes(mask), seed: u32::from_le_bytes(seed) }
    }

    /// The salt in the header that a file begins with, if one of its copies is whole.
    pub(super) fn of_header(file: &[u8]) -> Option<Self> {
        [0, PAGE].into_iter().find_map(|at| {
            let (header, _) = file.get(at..)?.split_first_chunk::<HEADER>()?;
            let (checked, checksum) = header.split_last_chunk::<4>()?;
            let (mask, seed) = checked.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
            let salt =
                Self { mask: u64::from_le_bytes(*mask), seed: u32::from_le_bytes(seed.try_into().ok()?) };
            (crc32fast::hash(checked) == u32::from_le_bytes(*checksum)).then_some(salt)
        })
    }

    /// What stands before a turn's records.
    pub(super) fn header(self) -> [u8; RECORDS] {
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(MAGIC);
        header[8..16].copy_from_slice(&self.mask.to_le_bytes());
        header[16..20].copy_from_slice(&self.seed.to_le_bytes());
        let checksum = crc32fast::hash(&header[..20]);
        header[20..].copy_from_slice(&checksum.to_le_bytes());
        let mut copies = [0; RECORDS];
        copies[..HEADER].copy_from_slice(&header);
        copies[PAGE..].copy_from_slice(&header);
        copies
    }

    /// Where the records of a turn with this salt begin.
    pub(super) fn begin(self) -> usize {
        if self == Self::NONE { 0 } else { RECORDS }
    }

    /// Makes a record of `record`, which is room for the head and then the content.
    pub(super) fn seal(self, record: &mut [u8], number: u64) {
        let length = u32::try_from(record.len() - HEAD).expect("groups are limited");
        record[4..8].copy_from_slice(&length.to_le_bytes());
        record[8..HEAD].copy_from_slice(&(number ^ self.mask).to_le_bytes());
        let checksum = self.checksum(&record[4..]);
        record[..4].copy_from_slice(&checksum.to_le_bytes());
    }

    /// Number and content of the record that `bytes` begin with, if it is whole.
    pub(super) fn record(self, bytes: &[u8]) -> Option<(u64, &[u8])> {
        let (checksum, rest) = bytes.split_first_chunk::<4>()?;
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (number, after) = after.split_first_chunk::<8>()?;
        let content = after.get(..u32::from_le_bytes(*length) as usize)?;
        let checked = &rest[..HEAD - 4 + content.len()];
        (self.checksum(checked) == u32::from_le_bytes(*checksum))
            .then_some((u64::from_le_bytes(*number) ^ self.mask, content))
    }

    /// The number of the record that `head` is of, whole or not.
    fn number(self, head: &[u8]) -> Option<u64> {
        Some(u64::from_le_bytes(head.get(8..HEAD)?.try_into().ok()?) ^ self.mask)
    }

    fn checksum(self, checked: &[u8]) -> u32 {
        let mut checksum = crc32fast::Hasher::new_with_initial(self.seed);
        checksum.update(checked);
        checksum.finalize()
    }

    /// Hands over numbers and contents of a file's records from the beginning to the first that is torn or of another turn;
    /// gives where that is.
    pub(super) fn read_records(
        self,
        file: &[u8],
        mut record: impl FnMut(u64, &[u8]) -> Result<(), StoreError>,
    ) -> Result<usize, StoreError> {
        let mut at = self.begin();
        let mut expected = None;
        while let Some((number, content)) = file.get(at..).and_then(|rest| self.record(rest)) {
            if expected.is_some_and(|expected| number != expected) {
                break;
            }
            record(number, content)?;
            expected = Some(number + 1);
            at += HEAD + content.len();
        }
        Ok(at)
    }

    /// The greatest number of a whole record of a file behind `end`, wherever it begins, that is newer than `last`.
    pub(super) fn newest_behind(self, file: &[u8], end: usize, last: u64) -> Option<u64> {
        // So many records fit into a file.
        let newer = last + 1..=last + (file.len() / HEAD) as u64;
        let mut newest = None;
        let mut at = end;
        while let Some(number) = file.get(at..).and_then(|rest| self.number(rest)) {
            match newer.contains(&number).then(|| self.record(&file[at..])).flatten() {
                Some((number, content)) => {
                    newest = newest.max(Some(number));
                    at += HEAD + content.len();
                }
                None => at += 1,
            }
        }
        newest
    }
}
