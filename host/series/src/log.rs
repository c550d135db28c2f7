//! Rows of the log: what was written and is not yet in segments.
//!
//! A row is a version byte and parts, each of one write: how many series (varint), then for each its number, how many
//! samples, their times (signed varints, each from the one before, across series) and their values (doubles,
//! little-endian).

use crate::codec::varint;
use crate::limits::LOG_ROW;

const VERSION: u8 = 1;

/// Why a row is passed over.
pub(crate) const DOES_NOT_READ: &str = "a row of the log of samples does not read";

/// Samples of several series, flat: each series' run of times and values behind the one before.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Columns {
    /// Series' numbers, and how many samples of each.
    pub(crate) runs: Vec<(u32, u32)>,
    pub(crate) times: Vec<i64>,
    pub(crate) values: Vec<f64>,
}

impl Columns {
    /// Each series with its times and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &[i64], &[f64])> {
        let mut at = 0;
        self.runs.iter().map(move |(number, count)| {
            let range = at..at + *count as usize;
            at = range.end;
            (*number, &self.times[range.clone()], &self.values[range])
        })
    }

    /// Only the runs of series that `kept` says.
    pub(crate) fn retain(&mut self, kept: impl Fn(u32) -> bool) {
        let mut left = Self::default();
        for (number, times, values) in self.iter().filter(|(number, ..)| kept(*number)) {
            left.runs.push((number, times.len() as u32));
            left.times.extend_from_slice(times);
            left.values.extend_from_slice(values);
        }
        *self = left;
    }
}

/// The parts of one write, each small enough for a row.
pub(crate) fn parts(columns: &Columns) -> Vec<Vec<u8>> {
    // A sample takes at most 10 + 8 bytes, a run 10 more.
    const MOST: usize = (LOG_ROW - 16) / 28;
    let (mut parts, mut runs, mut room) = (Vec::new(), Vec::new(), MOST);
    for (number, times, values) in columns.iter() {
        let mut at = 0;
        while at < times.len() {
            let end = times.len().min(at + room);
            runs.push((number, &times[at..end], &values[at..end]));
            room -= end - at;
            at = end;
            if room == 0 {
                parts.push(part(&runs));
                runs.clear();
                room = MOST;
            }
        }
    }
    if !runs.is_empty() {
        parts.push(part(&runs));
    }
    parts
}

fn part(runs: &[(u32, &[i64], &[f64])]) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + runs.iter().map(|run| 8 + run.1.len() * 10).sum::<usize>());
    varint::put(&mut out, runs.len() as u64);
    let mut before = 0_i64;
    for (number, times, values) in runs {
        varint::put(&mut out, u64::from(*number));
        varint::put(&mut out, times.len() as u64);
        for time in *times {
            varint::put_signed(&mut out, time.wrapping_sub(before));
            before = *time;
        }
        values.iter().for_each(|value| out.extend_from_slice(&value.to_bits().to_le_bytes()));
    }
    out
}

/// Gathers parts into rows.
#[derive(Default)]
pub(crate) struct Rows {
    rows: Vec<Vec<u8>>,
}

impl Rows {
    /// Adds a part behind those before.
    pub(crate) fn add(&mut self, part: &[u8]) {
        match self.rows.last_mut() {
            Some(row) if row.len() + part.len() <= LOG_ROW => row.extend_from_slice(part),
            _ => {
                let mut row = vec![VERSION];
                row.extend_from_slice(part);
                self.rows.push(row);
            }
        }
    }

    /// The rows, in order.
    pub(crate) fn finish(self) -> Vec<Vec<u8>> {
        self.rows
    }
}

/// Adds what a row holds to `columns`; `None` if it does not read.
pub(crate) fn read(row: &[u8], columns: &mut Columns) -> Option<()> {
    let (version, mut rest) = row.split_first()?;
    if *version != VERSION {
        return None;
    }
    while !rest.is_empty() {
        let mut before = 0_i64;
        for _ in 0..varint::take(&mut rest)? {
            let number = u32::try_from(varint::take(&mut rest)?).ok()?;
            let count = usize::try_from(varint::take(&mut rest)?).ok()?;
            if count > rest.len() {
                return None;
            }
            for _ in 0..count {
                before = before.wrapping_add(varint::take_signed(&mut rest)?);
                columns.times.push(before);
            }
            let (values, _) = varint::take_bytes(&mut rest, count.checked_mul(8)?)?.as_chunks::<8>();
            columns.values.extend(values.iter().map(|bits| f64::from_bits(u64::from_le_bytes(*bits))));
            columns.runs.push((number, count as u32));
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_written_is_read_back_in_order(
            writes in prop::collection::vec(prop::collection::vec((any::<u32>(), prop::collection::vec(any::<(i64, u64)>(), 1..400)), 0..12), 0..6)
        ) {
            let (mut rows, mut expected) = (Rows::default(), Vec::new());
            for write in &writes {
                let mut columns = Columns::default();
                for (number, samples) in write {
                    columns.runs.push((*number, samples.len() as u32));
                    for (time, bits) in samples {
                        columns.times.push(*time);
                        columns.values.push(f64::from_bits(*bits));
                        expected.push((*number, *time, *bits));
                    }
                }
                parts(&columns).iter().for_each(|part| rows.add(part));
            }
            let mut columns = Columns::default();
            for row in rows.finish() {
                prop_assert!(row.len() <= LOG_ROW);
                prop_assert!(read(&row, &mut columns).is_some());
            }
            let mut found = Vec::new();
            for (number, times, values) in columns.iter() {
                found.extend(times.iter().zip(values).map(|(time, value)| (number, *time, value.to_bits())));
            }
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn no_row_makes_the_reader_panic(row in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&row, &mut Columns::default());
        }
    }
}
