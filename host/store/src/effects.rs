//! Where what the steps of a run did outside it is remembered, so that a repeated step does nothing twice.

use bellwether_kernel::{OrganisationId, RunId};

use crate::{Key, Space};

/// Every row about what the steps of a run did outside it begins so: whoever records an effect adds its fields, and
/// whoever deletes the run deletes the [`Key::prefix`] of this, or the rows would stay for ever.
#[must_use]
pub fn effects_of_run(organisation: OrganisationId, run: RunId) -> Key {
    Key::new(Space::RunEffect).number(organisation.0).fixed(run.0.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effects_of_one_run_are_no_others() {
        let run =
            |number: u8| format!("01890000-0000-7000-8000-0000000000{number:02x}").parse::<RunId>().unwrap();
        let effects = effects_of_run(OrganisationId(1), run(7)).prefix();
        assert!(effects.contains(&effects_of_run(OrganisationId(1), run(7)).text("step").number(0)));
        for other in [
            effects_of_run(OrganisationId(1), run(8)),
            effects_of_run(OrganisationId(1), run(6)).text("step"),
            effects_of_run(OrganisationId(2), run(7)),
            Key::new(Space::RunStep).number(1).fixed(run(7).0.as_bytes()),
        ] {
            assert!(!effects.contains(&other), "{other:?}");
        }
    }
}
