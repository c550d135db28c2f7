//! Records as bytes: what chunks in the store and blocks of segments are made of.
//!
//! A version byte, the length of what is packed (u32, little-endian), then a zstd frame of postcard's binary form.

use bellwether_store::StoreError;

use crate::Record;
use crate::layout::Extent;

const VERSION: u8 = 1;

/// How well chunks are packed: they are packed anew soon.
pub(crate) const FAST: i32 = 1;

/// How well blocks are.
pub(crate) const WELL: i32 = 3;

/// No larger block is unpacked: a length beyond is damage, not a reason to allocate.
const MOST: usize = 64 * 1024 * 1024;

/// Packs records.
pub(crate) fn pack(records: &[Record], level: i32) -> Result<Vec<u8>, StoreError> {
    let failed = |error: &dyn std::fmt::Display| StoreError::Failed(format!("packing records: {error}"));
    let plain = postcard::to_extend(records, Vec::new()).map_err(|error| failed(&error))?;
    let length = u32::try_from(plain.len()).map_err(|error| failed(&error))?;
    let packed = zstd::bulk::compress(&plain, level).map_err(|error| failed(&error))?;
    let mut out = Vec::with_capacity(packed.len() + 5);
    out.push(VERSION);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&packed);
    Ok(out)
}

/// Unpacks them.
pub(crate) fn unpack(bytes: &[u8]) -> Result<Vec<Record>, StoreError> {
    (|| {
        let (version, rest) = bytes.split_first()?;
        let (length, packed) = rest.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        if *version != VERSION || length > MOST {
            return None;
        }
        let plain = zstd::bulk::decompress(packed, length).ok()?;
        postcard::from_bytes(&plain).ok()
    })()
    .ok_or_else(|| StoreError::Damaged("a block of records does not read; restore a backup".to_owned()))
}

/// Of at least one record.
pub(crate) fn extent(records: &[Record]) -> Extent {
    let times = || records.iter().map(|record| record.content.time.as_milliseconds());
    let ids = || records.iter().map(|record| record.id.0);
    Extent {
        first: times().min().unwrap_or(i64::MAX),
        last: times().max().unwrap_or(i64::MIN),
        low: ids().min().unwrap_or(u64::MAX),
        high: ids().max().unwrap_or(0),
        records: records.len() as u64,
        size: records.iter().map(|record| record.content.size() as u64).sum(),
    }
}

/// Cuts records into runs of about `size` bytes each; one that is larger stands alone.
pub(crate) fn runs(records: &[Record], size: u64) -> Vec<&[Record]> {
    let (mut runs, mut start, mut sum) = (Vec::new(), 0, 0);
    for (at, record) in records.iter().enumerate() {
        let own = record.content.size() as u64;
        if at > start && sum + own > size {
            runs.push(&records[start..at]);
            (start, sum) = (at, 0);
        }
        sum += own;
    }
    if start < records.len() {
        runs.push(&records[start..]);
    }
    runs
}

#[cfg(test)]
mod tests {
    use bellwether_kernel::{RecordId, Timestamp};
    use proptest::prelude::*;

    use super::*;
    use crate::Content;

    prop_compose! {
        fn records()(records in prop::collection::vec(
            (any::<u64>(), any::<i64>(), ".*", ".*", prop::collection::vec(".*", 0..5), ".*"), 0..20
        )) -> Vec<Record> {
            records.into_iter().map(|(id, time, title, message, tags, attributes)| Record {
                id: RecordId(id),
                content: Content {
                    time: Timestamp::default().saturating_add(time),
                    status: message.clone(),
                    title, message, tags, attributes,
                    ..Content::default()
                },
            }).collect()
        }
    }

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked(records in records()) {
            prop_assert_eq!(unpack(&pack(&records, FAST).unwrap()).unwrap(), records);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = unpack(&bytes);
            let _ = unpack(&[&[VERSION, 200, 0, 0, 0][..], &bytes].concat());
        }

        #[test]
        fn runs_are_the_whole_in_order(records in records(), size in 1_u64..500) {
            let runs = runs(&records, size);
            prop_assert_eq!(&runs.concat(), &records);
            prop_assert!(runs.iter().all(|run| !run.is_empty() && (run.len() == 1 || extent(run).size <= size)));
        }
    }
}
