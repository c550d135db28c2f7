//! Events and logs: appended in durable batches, got by id, searched newest or oldest first.
//!
//! [`Records`] is the door. An append is a compressed chunk in the store when it is acknowledged; chunks are packed in the
//! background into immutable segments, files sorted by time, a day in each, and small ones are merged into large. A search
//! goes through what overlaps its time, the newest (or oldest, or nearest to a moment) first, and stops at a page or at its
//! budget. This crate knows organisations by their id alone, checks no permission, and knows no plugin and no HTTP.

mod chunk;
mod erase;
mod error;
mod layout;
mod limits;
mod loss;
mod nearest;
mod open;
mod query;
mod record;
mod retention;
mod search;
mod segment;
mod service;
mod shelf;
mod upkeep;

#[cfg(test)]
mod tests;

pub use error::RecordError;
pub use limits::Limits;
pub use nearest::{Near, Nearest, Wanted};
pub use query::{Query, parse};
pub use record::{Content, Record, RecordKind};
pub use retention::Retention;
pub use search::{Found, Order, Search};
pub use service::{Parts, Records, Totals};
