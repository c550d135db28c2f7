//! A dialect that returns no routes.
use bellwether_sdk::dialect::dialect;

/// Speaks.
#[dialect]
fn speak() {} //~ a dialect is `fn name<H: MetricsRead + …>() -> Router<H>`

fn main() {}
