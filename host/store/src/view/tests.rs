//! Three tables and one view: whatever lies where, it reads as one map.

use std::collections::BTreeMap;

use bellwether_kernel::{Randomness, SeededRandomness};

use super::*;
use crate::checkpoint::settle;
use crate::{Space, sled as engine};

fn key(number: u64) -> Key {
    Key::new(Space::Counter).number(number)
}

fn view(folder: &tempfile::TempDir) -> View {
    View::new(engine::open_sled(folder.path(), 1 << 20).unwrap())
}

fn scan(view: &View, range: Range<Key>, direction: Direction, limit: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut left = Some(range);
    while let Some(range) = left {
        left = view.scan_stretch(&range, direction, limit, &mut rows).unwrap();
    }
    rows
}

#[test]
fn rows_over_each_other_read_as_one_map_in_both_directions() {
    for seed in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let view = view(&folder);
        let randomness = SeededRandomness::new(seed);
        let dice = |sides: u64| {
            let mut bytes = [0; 8];
            randomness.fill(&mut bytes);
            u64::from_le_bytes(bytes) % sides
        };
        let mut model = BTreeMap::new();
        let mut settling = None;
        for step in 0..60_u64 {
            let rows: Rows = (0..dice(6))
                .map(|_| (key(dice(24)), (dice(3) > 0).then(|| Bytes::from(step.to_string()))))
                .collect();
            for (key, row) in &rows {
                match row {
                    Some(value) => model.insert(key.clone(), value.clone()),
                    None => model.remove(key),
                };
            }
            view.apply(rows).unwrap();
            match (dice(8), settling.take()) {
                (0, None) => settling = Some(view.settle()),
                (1, Some(rows)) => {
                    settle(&view.db, &rows, step).unwrap();
                    view.settled();
                }
                (_, under_way) => settling = under_way,
            }
            let (from, to) = (dice(26), dice(26));
            let range = key(from)..key(to);
            let expected: Vec<Row> = model
                .iter()
                .filter(|(key, _)| range.contains(key))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            let limit = 1 + dice(7) as usize;
            if from < to {
                assert_eq!(scan(&view, range.clone(), Direction::Forward, limit), expected, "seed {seed}");
                let mut backward = scan(&view, range, Direction::Backward, limit);
                backward.reverse();
                assert_eq!(backward, expected, "seed {seed}");
            }
            for number in 0..24 {
                assert_eq!(view.get(&key(number)).unwrap(), model.get(&key(number)).cloned(), "seed {seed}");
            }
            let removed = view.tables.read().recent.values().filter(|row| row.is_none()).count();
            assert_eq!(view.tables.read().removed, removed);
        }
    }
}

#[test]
fn a_row_that_comes_and_goes_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let view = view(&folder);
    for number in 0..10 {
        view.apply(Rows::from([(key(number), Some("x".into()))])).unwrap();
        view.apply(Rows::from([(key(number), None)])).unwrap();
    }
    assert!(view.tables.read().recent.is_empty());
    // Over a row that settles or has settled the removal must be remembered.
    view.apply(Rows::from([(key(1), Some("x".into())), (key(2), Some("x".into()))])).unwrap();
    let rows = view.settle();
    view.apply(Rows::from([(key(1), None)])).unwrap();
    settle(&view.db, &rows, 1).unwrap();
    view.settled();
    view.apply(Rows::from([(key(2), None)])).unwrap();
    assert_eq!(view.tables.read().removed, 2);
    assert_eq!(scan(&view, key(0)..key(9), Direction::Forward, 1), []);
}
