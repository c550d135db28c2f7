//! Monitors: the document, what is wrong with one, and what is made of it to evaluate.

mod check;
mod compile;
mod document;
mod events;

pub(crate) use check::check_written;
pub(crate) use compile::{Anomaly, Compiled, series_id, step_of, written};
pub use document::{
    Condition, DetectorChoice, Merge, MissingData, MissingPolicy, Monitor, Notify, Reduce, Renotify,
    RenotifyStatus, Side,
};
pub use events::EventChoice;
pub(crate) use events::{CATEGORY, EventRule};
