//! Which writes metric triggers look at next: a line of them for each organisation, so that none waits for what another's
//! conditions cost. What a line does not hold is read again, from the log, when its turn comes.

use std::collections::BTreeMap;

use bellwether_kernel::OrganisationId;

use crate::Write;

/// Writes of one organisation that are held in memory: as many as are read at once.
const LINE: usize = 256;

/// The writes that were read and are not dealt with.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The last write that was read.
    read: u64,
    /// Of every organisation that has any.
    lines: BTreeMap<OrganisationId, Line>,
}

#[derive(Debug, Default)]
struct Line {
    waiting: Vec<Write>,
    /// The first that is not held: what is behind it is read again.
    behind: Option<u64>,
    /// The first of those that somebody looks at.
    at_work: Option<u64>,
}

/// What is looked at next of one organisation.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// These.
    Writes(Vec<Write>),
    /// Those the log has from the one to the other.
    Logged(u64, u64),
}

impl Lines {
    /// Nothing waits, and everything up to `sequence` is dealt with.
    pub(super) fn behind(sequence: u64) -> Self {
        Self { read: sequence, lines: BTreeMap::new() }
    }

    /// The last write that was read.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// Takes in what was read next.
    pub(super) fn take(&mut self, writes: Vec<Write>) {
        for write in writes {
            self.read = write.sequence;
            let line = self.lines.entry(write.organisation).or_default();
            if line.behind.is_some() {
                continue;
            }
            if line.waiting.len() < LINE {
                line.waiting.push(write);
            } else {
                line.behind = Some(write.sequence);
            }
        }
    }

    /// What begins now: something of every organisation of which nothing is looked at.
    pub(super) fn begin(&mut self) -> Vec<(OrganisationId, Next)> {
        let read = self.read;
        let begin = |(organisation, line): (&OrganisationId, &mut Line)| {
            if line.at_work.is_some() {
                return None;
            }
            let next = match line.waiting.first() {
                Some(first) => {
                    line.at_work = Some(first.sequence);
                    Next::Writes(std::mem::take(&mut line.waiting))
                }
                None => {
                    line.at_work = line.behind;
                    Next::Logged(line.behind?, read)
                }
            };
            Some((*organisation, next))
        };
        self.lines.iter_mut().filter_map(begin).collect()
    }

    /// What had begun of an organisation is dealt with, all of it that the log has up to this write.
    pub(super) fn end(&mut self, organisation: OrganisationId, up_to: u64) {
        let Some(line) = self.lines.get_mut(&organisation) else { return };
        line.at_work = None;
        line.behind = line.behind.map(|behind| behind.max(up_to + 1)).filter(|behind| *behind <= self.read);
        if line.waiting.is_empty() && line.behind.is_none() {
            self.lines.remove(&organisation);
        }
    }

    /// The write up to which all are dealt with.
    pub(super) fn dealt_with(&self) -> u64 {
        let first = |line: &Line| {
            line.at_work.or_else(|| line.waiting.first().map(|write| write.sequence)).or(line.behind)
        };
        self.lines.values().filter_map(first).min().map_or(self.read, |first| first - 1)
    }
}

#[cfg(test)]
mod tests {
    use bellwether_kernel::Timestamp;

    use super::*;

    const ONE: OrganisationId = OrganisationId(1);
    const OTHER: OrganisationId = OrganisationId(2);

    fn write(sequence: u64, organisation: OrganisationId) -> Write {
        let (metric, interval_start) = ("m".to_owned(), Timestamp::MIN);
        Write { sequence, organisation, metric, key: None, interval_start, before: None, value: 1.0 }
    }

    #[test]
    fn of_each_organisation_something_is_looked_at_and_the_first_of_all_is_what_is_not_dealt_with() {
        let mut lines = Lines::behind(4);
        assert_eq!((lines.begin(), lines.dealt_with()), (vec![], 4));
        lines.take(vec![write(5, ONE), write(6, OTHER), write(7, ONE)]);
        let begun = lines.begin();
        let expected = [(ONE, vec![write(5, ONE), write(7, ONE)]), (OTHER, vec![write(6, OTHER)])];
        assert_eq!(begun, expected.map(|(organisation, writes)| (organisation, Next::Writes(writes))));
        lines.take(vec![write(8, OTHER)]);
        assert_eq!((lines.begin(), lines.dealt_with()), (vec![], 4));
        lines.end(OTHER, 6);
        assert_eq!(lines.begin(), [(OTHER, Next::Writes(vec![write(8, OTHER)]))]);
        lines.end(ONE, 7);
        assert_eq!(lines.dealt_with(), 7);
        lines.end(OTHER, 8);
        assert_eq!(lines.dealt_with(), 8);
        assert!(lines.lines.is_empty());
    }

    #[test]
    fn what_a_line_does_not_hold_is_read_again_in_its_turn() {
        let mut lines = Lines::default();
        let many = LINE as u64 + 10;
        lines.take((1..=many).map(|sequence| write(sequence, ONE)).collect());
        let [(ONE, Next::Writes(held))] = &lines.begin()[..] else { panic!() };
        assert_eq!(held.len(), LINE);
        lines.take(vec![write(many + 1, ONE), write(many + 2, OTHER)]);
        lines.begin();
        lines.end(OTHER, many + 2);
        lines.end(ONE, LINE as u64);
        let first = LINE as u64 + 1;
        assert_eq!(lines.begin(), [(ONE, Next::Logged(first, many + 2))]);
        // A part of it is read at once.
        lines.end(ONE, first + 3);
        assert_eq!(
            (lines.begin(), lines.dealt_with()),
            (vec![(ONE, Next::Logged(first + 4, many + 2))], first + 3)
        );
        lines.take(vec![write(many + 3, ONE)]);
        lines.end(ONE, many + 2);
        assert_eq!(lines.begin(), [(ONE, Next::Logged(many + 3, many + 3))]);
        lines.end(ONE, many + 3);
        assert_eq!((lines.begin(), lines.dealt_with()), (vec![], many + 3));
        lines.take(vec![write(many + 4, ONE)]);
        assert_eq!(lines.begin(), [(ONE, Next::Writes(vec![write(many + 4, ONE)]))], "it holds them again");
    }
}
