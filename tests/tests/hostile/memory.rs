//! Plugins that want all the memory there is. Several memories and tables of one component are attacked in
//! `host/plugins`, from text.

use anyhow::Result;

use crate::world::world;

const MEMORY: &str = "ran out of its 64 MiB of memory";

#[test]
fn memory_that_grows_step_by_step_ends_at_its_limit() -> Result<()> {
    let world = world()?;
    let attacker = world.attack(&[])?;
    attacker.costs_one_clear_error("growth-by-steps", "", 502, MEMORY)?;
    attacker.leaves_the_others_alone()
}

#[test]
fn memory_that_grows_at_once_ends_at_its_limit() -> Result<()> {
    let world = world()?;
    let attacker = world.attack(&[])?;
    attacker.costs_one_clear_error("growth-at-once", "", 502, MEMORY)?;
    attacker.leaves_the_others_alone()
}
