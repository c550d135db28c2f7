//! What runs in the simulation.

use serde_json::json;

use super::*;

/// An app whose calls take up to three seconds and fail now and then, some of them for good.
pub(super) fn add_effect(world: &World, seed: u64, seen: &Arc<Mutex<Seen>>) {
    let (seen, clock) = (Arc::clone(seen), Arc::clone(&world.clock));
    let described = describe(vec![Input::new("n", ValueType::Json)], &[("n", ValueType::Integer)]);
    world.apps.put("effect", described, move |call| {
        let scope = call.effects.clone().expect("a run's call has its scope");
        let place = (scope.run, scope.step, scope.item);
        {
            let mut seen = seen.lock();
            seen.note(clock.now(), ("call", &place, call.attempt));
            if seen.settled.contains(&place) {
                seen.problems.push(format!("{place:?} was called again though its result was committed"));
            }
            let known = seen.keys.entry(place.clone()).or_insert_with(|| call.idempotency_key.clone());
            if *known != call.idempotency_key {
                let problem = format!("{place:?} has the keys {known} and {}", call.idempotency_key);
                seen.problems.push(problem);
            }
        }
        let chance = Draw::new(
            seed ^ u64::from(call.attempt) << 32
                ^ place.0.0.as_u128() as u64
                ^ u64::from(place.2.unwrap_or(9)) << 8
                ^ place.1.len() as u64,
        );
        Box::pin(async move {
            wait(&chance, 3_000).await;
            let error = |retry| Err(AppError { message: "no luck".into(), retry });
            let result = match chance.number(100) {
                0..20 => error(Retry::Yes),
                20..24 => error(Retry::No),
                _ => Ok(vec![("n".to_owned(), Value::Integer(1))]),
            };
            AppReport { result, log: Vec::new() }
        })
    });
}

/// The playbooks: a chain with retries, a loop with on-failure steps behind a webhook, a schedule with a delay, one
/// that queues, one that queues behind a metric, one within another, and two within others of which there is one run at a
/// time, which waits for its turn or takes the other's place.
pub(super) fn documents() -> Vec<serde_json::Value> {
    let retry = json!({"attempts": 4, "delay": "700ms"});
    let effect = |id: &str, n: &str| json!({"id": id, "app": "effect", "inputs": {"n": n}, "retry": retry});
    let after = json!([{"id": "after", "app": "effect", "inputs": {"n": 0}}]);
    vec![
        json!({"name": "within", "trigger": {"type": "playbook", "inputs": {"n": {}}}, "outputs": {"n": "{{ steps.two.n }}"},
            "steps": [effect("one", "{{ trigger.inputs.n }}"), {"id": "pause", "delay": "3s"}, effect("two", "{{ steps.one.n }}")]}),
        json!({"name": "chain", "trigger": {"type": "manual"}, "steps": [
            effect("a", "{{ trigger.inputs.n }}"),
            {"id": "b", "playbook": "within", "inputs": {"n": "{{ steps.a.n }}"}},
            effect("c", "{{ steps.b.n }}"),
        ], "on_failure": after}),
        json!({"name": "narrow", "trigger": {"type": "playbook", "inputs": {"n": {}}}, "concurrency": {"policy": "queue"}, "outputs": {"n": "{{ steps.two.n }}"},
            "steps": [effect("one", "{{ trigger.inputs.n }}"), {"id": "pause", "delay": "3s"}, effect("two", "{{ steps.one.n }}")]}),
        json!({"name": "wide", "trigger": {"type": "manual"}, "on_failure": after, "steps": [
            {"id": "all", "playbook": "narrow", "each": [1, 2, 3], "parallel": 2, "on_item_error": "continue", "timeout": "2m", "inputs": {"n": "{{ item }}"}},
            {"id": "one", "playbook": "narrow", "inputs": {"n": 4}, "retry": {"attempts": 2, "delay": "700ms"}},
        ]}),
        json!({"name": "newest", "trigger": {"type": "playbook", "inputs": {"n": {}}}, "concurrency": {"policy": "replace"}, "on_failure": after,
            "steps": [effect("one", "{{ trigger.inputs.n }}"), {"id": "pause", "delay": "3s"}]}),
        json!({"name": "renew", "trigger": {"type": "manual"}, "on_failure": after, "steps": [
            {"id": "all", "playbook": "newest", "each": [1, 2], "parallel": 2, "inputs": {"n": "{{ item }}"}},
        ]}),
        json!({"name": "hook", "trigger": {"type": "webhook"}, "on_failure": after, "steps": [
            {"id": "loop", "app": "effect", "each": "trigger.body.list", "parallel": 2, "on_item_error": "continue",
             "inputs": {"n": "{{ item }}"}, "retry": retry},
            effect("last", "{{ steps.loop.n }}"),
        ]}),
        json!({"name": "tick", "trigger": {"type": "every", "interval": "20s", "on_error": "retry", "on_error_times": 1, "on_error_delay": "4s"},
            "timeout": "2m", "steps": [effect("a", "{{ trigger.scheduled }}"), {"id": "pause", "delay": "5s"}, effect("b", "{{ steps.a.n }}")]}),
        json!({"name": "queue", "trigger": {"type": "manual"}, "concurrency": {"policy": "queue", "limit": 1},
            "steps": [effect("a", "{{ trigger.inputs.n }}")]}),
        json!({"name": "watch", "trigger": {"type": "metric", "metric": "m.*", "when": "value > 0"}, "concurrency": {"policy": "queue", "limit": 1},
            "steps": [effect("a", "{{ trigger.value + 1 }}")], "on_failure": after}),
    ]
}
