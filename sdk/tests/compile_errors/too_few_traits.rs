//! A privilege named only in part.
use bellwether_sdk::host::{Log, MetricsWrite};
use bellwether_sdk::metrics::Samples;
use bellwether_sdk::{AppError, app};

fn write(host: &impl MetricsWrite) -> Result<(), AppError> {
    host.write_one(Samples::of("visits").value(1.0))?;
    Ok(())
}

/// Counts.
#[app]
fn count(host: &impl Log, _: ()) -> Result<(), AppError> {
    write(host) //~ the trait bound `impl Log: MetricsWrite` is not satisfied
}

fn main() {}
