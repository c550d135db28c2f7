//! What a run does next, from what is recorded of it and nothing else: the same answer for a run that is at work and
//! for one found after a restart.

use crate::{RunState, StepResult, StepState};

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The step at this position, counted from 0.
    Step(usize),
    /// Nothing: this is how the run ended, and why if it failed.
    End(RunState, Option<String>),
}

/// What a run of `steps` steps does after those `recorded`.
pub(crate) fn next(steps: usize, recorded: &[StepResult]) -> Next {
    match recorded.last() {
        Some(last) if last.state == StepState::Failed => {
            let error = last.error.as_deref().unwrap_or("it failed");
            Next::End(RunState::Failed, Some(format!("step {}: {error}", last.step)))
        }
        _ if recorded.len() < steps => Next::Step(recorded.len()),
        _ => Next::End(RunState::Succeeded, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bellwether_kernel::Timestamp;
    use proptest::prelude::*;
    use serde_json::Map;

    fn result(number: usize, state: StepState) -> StepResult {
        let failed = state == StepState::Failed;
        StepResult {
            step: format!("s{number}"),
            app: "app".into(),
            app_version: "1.0.0".into(),
            state,
            started: Timestamp::default(),
            ended: Timestamp::default(),
            attempt: 1,
            inputs: Map::new(),
            outputs: Map::new(),
            error: failed.then(|| "no luck".into()),
            log: Vec::new(),
        }
    }

    proptest! {
        #[test]
        fn a_run_takes_its_steps_in_order_until_one_fails_or_none_is_left(steps in 1usize..20, failing in 0usize..30) {
            let mut recorded = Vec::new();
            loop {
                match next(steps, &recorded) {
                    Next::Step(position) => {
                        prop_assert_eq!(position, recorded.len());
                        let state = if position == failing { StepState::Failed } else { StepState::Succeeded };
                        recorded.push(result(position, state));
                    }
                    Next::End(state, error) => {
                        prop_assert_eq!(state == RunState::Failed, failing < steps);
                        prop_assert_eq!(error, (failing < steps).then(|| format!("step s{failing}: no luck")));
                        prop_assert_eq!(recorded.len(), steps.min(failing + 1));
                        break;
                    }
                }
            }
        }
    }
}
