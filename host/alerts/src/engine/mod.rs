//! What evaluates monitors: the schedule and the wakes, what an evaluation sees, and what is committed of it.

mod commit;
mod fence;
mod lines;
mod look;
mod merge;
mod pace;
mod peers;
mod problem;
mod schedule;
mod turn;

pub(crate) use commit::Known;
pub use commit::{Decision, DecisionLine};
pub use look::Figures;
pub(crate) use look::{Kept, Looking, check_peers};
pub(crate) use merge::{Merging, Shared};
pub use pace::Pace;
pub(crate) use pace::Pacing;
pub(crate) use problem::ProblemKind;
pub(crate) use turn::{Cause, Turn};
