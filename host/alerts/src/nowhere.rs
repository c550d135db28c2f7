//! Tellings that go nowhere.

use bellwether_store::Batch;

use crate::{AlertError, Telling, Tellings};

/// Tells nobody: for tests of what is not about channels.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTellings;

impl Tellings for NoTellings {
    fn add(&self, _: &mut Batch, _: &Telling) -> Result<(), AlertError> {
        Ok(())
    }

    fn committed(&self) {}
}
