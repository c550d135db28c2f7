//! What evaluates monitors: the schedule, what an evaluation sees, and the one commit that is made of it.

mod commit;
mod look;
mod schedule;
mod turn;

pub use commit::{Decision, DecisionLine};
pub use look::Figures;
pub(crate) use look::{Kept, Looking, check_takes};
pub(crate) use turn::Turn;
