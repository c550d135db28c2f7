//! What the engine's benchmark calls.

use bellwether_sdk::host::Clock;
use bellwether_sdk::{AppError, Inputs, Outputs, app};

/// What is to be done.
#[derive(Inputs)]
pub struct Order {
    /// The text whose words are counted.
    pub text: String,
    /// How often the host is asked for the time before.
    #[input(default = 0)]
    pub calls: u32,
}

/// What came of it.
#[derive(Outputs)]
pub struct Done {
    /// The counts.
    pub counts: String,
}

/// Counts words, after asking the host for the time so often.
#[app]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the inputs over")]
pub fn run(host: &impl Clock, order: Order) -> Result<Done, AppError> {
    for _ in 0..order.calls {
        std::hint::black_box(host.now());
    }
    Ok(Done { counts: bench_work::count(&order.text) })
}
