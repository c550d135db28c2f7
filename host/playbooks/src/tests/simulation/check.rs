//! What must hold, whatever happened.

use bellwether_kernel::PageRequest;

use super::*;

impl Simulation {
    /// Notes whose results are committed.
    pub(super) async fn note_settled(&self) {
        let world = &self.world;
        let is_through = |result: &StepResult| result.state != StepState::Waiting;
        for run in world.all_runs().await {
            let id = run.summary.id;
            for step in &run.steps {
                if is_through(step) {
                    self.seen.lock().settled.insert((id, step.step.clone(), None));
                }
            }
            if run.summary.playbook_name == "hook" {
                let page = PageRequest::first(100);
                let items = world.playbooks.items(world.organisation, id, "loop", &page).await.unwrap();
                for item in items.items.iter().filter(|item| is_through(item)) {
                    self.seen.lock().settled.insert((id, "loop".into(), item.item));
                }
            }
        }
    }

    /// Everything that is wrong at the end.
    pub(super) async fn check(&self) -> Vec<String> {
        let mut problems = self.seen.lock().problems.clone();
        let runs = self.world.all_runs().await;
        let ids: BTreeSet<RunId> = runs.iter().map(|run| run.summary.id).collect();
        let missing = self.accepted.difference(&ids);
        problems.extend(missing.map(|id| format!("the accepted run {id} is not there")));
        let mut firings: BTreeMap<String, RunId> = BTreeMap::new();
        for run in &runs {
            let id = run.summary.id;
            if let Some(firing) = firing(run)
                && let Some(other) = firings.insert(firing.clone(), id)
            {
                problems.push(format!("{firing} has the runs {other} and {id}"));
            }
            if !run.summary.state.has_ended() {
                problems.push(format!("the run {id} has not ended: {:?}", run.summary));
            }
            if wants_after(run) && run.steps.iter().all(|step| step.step != "after") {
                problems.push(format!("the on-failure steps of {id} were skipped: {:?}", run.summary));
            }
        }
        for value in &self.written {
            if !firings.contains_key(&write(*value as f64)) {
                problems.push(format!("the write of {value} started no run"));
            }
        }
        for space in
            [Space::RunOpen, Space::RunQueue, Space::RunWake, Space::PlaybookQueue, Space::PlaybookGate]
        {
            let left = self.world.rows_of(space).await;
            if left > 0 {
                problems.push(format!("{left} rows of {space:?} are left"));
            }
        }
        problems
    }
}

fn write(value: f64) -> String {
    format!("the write of {value}")
}

/// What names the firing of a run that starts one alone.
fn firing(run: &Run) -> Option<String> {
    match &run.summary.triggered_by {
        TriggeredBy::Webhook => Some(format!("delivery {}", run.trigger["body"]["delivery"])),
        TriggeredBy::Cron { scheduled } | TriggeredBy::Every { scheduled } if run.summary.attempt == 1 => {
            Some(format!("time {scheduled}"))
        }
        TriggeredBy::Metric { .. } => Some(write(run.trigger["value"].as_f64().unwrap_or(f64::NAN))),
        _ => None,
    }
}

/// Whether the on-failure steps of a run must have been taken.
fn wants_after(run: &Run) -> bool {
    let has_some = matches!(
        run.summary.playbook_name.as_str(),
        "chain" | "hook" | "watch" | "wide" | "renew" | "newest"
    );
    has_some
        && match run.summary.state {
            RunState::Failed | RunState::TimedOut => true,
            // One that never began has nothing to clean up after.
            RunState::Cancelled => run.summary.started.is_some(),
            _ => false,
        }
}
