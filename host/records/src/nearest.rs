//! The records that are nearest to a moment: what came before it, the latest first, and what came after, the earliest
//! first, put together. Both ways stop when they have enough, so that few blocks are read however long the range is.

use std::sync::Arc;

use bellwether_kernel::{FieldError, OrganisationId, Timestamp};

use crate::limits::PAGE;
use crate::search::{Caller, Rank, Stop, look};
use crate::service::{Records, Shared};
use crate::shelf::Owner;
use crate::{Found, Order, Query, Record, RecordError, RecordKind, Search};

/// Which records are wanted.
pub type Wanted = Arc<dyn Fn(&Record) -> bool + Send + Sync>;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nearest {
    /// Of which kind.
    pub kind: RecordKind,
    /// To which moment.
    pub to: Timestamp,
    /// From when on.
    pub start: Timestamp,
    /// Until when, included.
    pub end: Timestamp,
    /// At most so many, 1 to 1,000.
    pub limit: usize,
    /// Looks at so many records at most to each side of the moment (one of several KiB counts as several), and at the rest of the block or chunk it then reads.
    pub budget: u64,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Near {
    /// The nearest first; of two as near the earlier. Of one time the one that came last, if it is not after the moment, and
    /// the one that came first, if it is.
    pub records: Vec<Record>,
    /// Whether these are known to be all there are in the range.
    pub complete: bool,
}

impl Records {
    /// The wanted records that are nearest to a moment. Where the budget does not suffice, what is known to be nearest to its
    /// side of the moment.
    ///
    /// # Errors
    /// [`RecordError::Invalid`] for a limit or a range that is none.
    pub async fn nearest(
        &self,
        organisation: OrganisationId,
        near: Nearest,
        wanted: Wanted,
    ) -> Result<Near, RecordError> {
        if !(1..=PAGE).contains(&near.limit) {
            return Err(FieldError::new("limit", near.limit, format!("1 to {PAGE}")).into());
        }
        if near.end < near.start {
            let expected = format!("an instant not before start, {}", near.start);
            return Err(FieldError::new("end", near.end, expected).into());
        }
        let owner = (organisation, near.kind);
        if !self.shared.state.read().shelves.contains_key(&owner) {
            return Ok(Near { records: Vec::new(), complete: true });
        }
        self.look(organisation, move |shared, caller| {
            let to_side =
                |start, end, order| side(shared, caller, owner, &near, (start, end, order), &wanted);
            let before = to_side(near.start, near.to.min(near.end), Order::Newest)?;
            // Enough of them: what is after the moment and farther away than the last of these has no place.
            let enough = before.records.len() == near.limit;
            let reach = before.records.last().filter(|_| enough).map(|last| distance(last, near.to));
            let last = reach.map_or(near.end, |reach| near.end.min(near.to.saturating_add(reach)));
            let after = to_side(near.to.saturating_add(1).max(near.start), last, Order::Oldest)?;
            let mut records = before.records;
            records.extend(after.records);
            records.sort_by_key(|record| distance(record, near.to));
            let seen_all = before.next.is_none() && after.next.is_none() && last == near.end;
            let complete = seen_all && records.len() <= near.limit;
            records.truncate(near.limit);
            Ok(Near { records, complete })
        })
        .await
    }
}

/// The nearest to one side.
fn side(
    shared: &Shared,
    caller: &Caller,
    owner: Owner,
    near: &Nearest,
    (start, end, order): (Timestamp, Timestamp, Order),
    wanted: &Wanted,
) -> Result<Found, Stop> {
    if end < start {
        return Ok(Found::default());
    }
    let Nearest { kind, limit, budget, .. } = *near;
    let search = Search { kind, query: Query::All, start, end, order, limit, cursor: None };
    match look(shared, caller, owner, &search, Rank::FIRST, budget, &**wanted) {
        // One moment has more than may be looked at: none of them is known to be nearest.
        Err(Stop::Error(RecordError::Limit { .. })) => {
            Ok(Found { next: Some(Rank::FIRST.cursor(order)), stopped_early: true, ..Found::default() })
        }
        done => done,
    }
}

fn distance(record: &Record, to: Timestamp) -> i64 {
    record.content.time.milliseconds_since(to).saturating_abs()
}
