//! What every crate of the host shares and nothing else: identifiers, [`Timestamp`], [`Clock`],
//! [`Randomness`], whether a clock is [`Steady`], what is logged [`Seldom`], the seeds of simulations, pages and cursors, [`Period`]s, what is
//! [`counted`] in words, typed [`value`]s,
//! the kinds of error, and what is said of input that does not [read](reading). It knows no store, no HTTP and no plugin.

mod counted;
mod error;
mod ids;
mod page;
mod period;
mod random;
mod seeds;
mod seldom;
mod steady;
mod time;
pub mod value;

pub use bellwether_reading::{self as reading, FieldError};
pub use counted::counted;
pub use error::ErrorKind;
pub use ids::{
    HostId, InvalidKeyId, KeyId, MetricId, MonitorId, OrganisationId, PlaybookId, RecordId, RunId, RunIds,
    SeriesId,
};
pub use page::{Cursor, InvalidCursor, Page, PageRequest};
pub use period::Period;
pub use random::{Randomness, SeededRandomness, SystemRandomness};
pub use seeds::{Draw, every_seed, mix};
pub use seldom::Seldom;
pub use steady::Steady;
pub use time::{Clock, ManualClock, Moment, SystemClock, Timestamp};
