//! Plugins that do not stop, and plugins that stop badly.

use anyhow::{Result, ensure};

use crate::world::world;

const DEADLINE: &str = "ran out of its 1 s";

#[test]
fn an_endless_loop_ends_at_its_deadline() -> Result<()> {
    let world = world()?;
    let attacker = world.attack(&[])?;
    attacker.costs_one_clear_error("loop", "", 504, DEADLINE)?;
    attacker.leaves_the_others_alone()
}

/// Each instruction works on 32 MB and cannot be interrupted itself; between two of them the guest can.
#[test]
fn an_endless_loop_of_bulk_memory_instructions_ends_at_its_deadline() -> Result<()> {
    let world = world()?;
    let attacker = world.attack(&[])?;
    attacker.costs_one_clear_error("fill", "", 504, DEADLINE)?;
    attacker.costs_one_clear_error("copy", "", 504, DEADLINE)?;
    attacker.leaves_the_others_alone()
}

#[test]
fn a_recursion_without_end_exhausts_its_own_stack_alone() -> Result<()> {
    let world = world()?;
    let attacker = world.attack(&[])?;
    attacker.costs_one_clear_error("recursion", "", 502, "stack")?;
    attacker.costs_the_run_and_tells(
        "recursion-with-frames",
        "",
        502,
        "out of bounds memory access",
        "trapped",
    )?;
    attacker.leaves_the_others_alone()
}

#[test]
fn a_trap_and_a_panic_end_their_own_call_alone() -> Result<()> {
    let world = world()?;
    let attacker = world.attack(&[])?;
    attacker.costs_the_run_and_tells("trap", "", 502, "unreachable", "trapped")?;
    attacker.costs_the_run_and_tells("panic", "", 502, ": the plugin does not feel well", "trapped")?;
    attacker.leaves_the_others_alone()
}

/// Callers at the same time, more than there are processors to loop on.
#[test]
fn many_endless_loops_at_once_end_at_their_deadlines() -> Result<()> {
    let world = world()?;
    let attacker = world.attack(&[])?;
    let answers: Vec<_> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..16).map(|_| scope.spawn(|| attacker.request("loop", ""))).collect();
        callers.into_iter().map(|caller| caller.join().expect("a caller does not panic")).collect()
    });
    for answer in answers {
        let answer = answer?;
        // Where a plugin has fewer places than it has callers, the rest is told to come again.
        let told =
            answer.status == 504 || (matches!(answer.status, 429 | 503) && answer.retry_after.is_some());
        ensure!(told, "{answer:?}");
    }
    attacker.leaves_the_others_alone()
}
