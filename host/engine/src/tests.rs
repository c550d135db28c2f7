//! What the sandbox promises, on components written as text.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use wasmtime::component::Linker;

use crate::{
    CallData, CallError, CallLimits, CallMeters, CallTerms, Callee, Engine, EngineError, EngineSettings,
    Finished, Guest, Instances, Sandbox, Store,
};

/// Few slots, so that a test's pool is quickly there.
fn engine(calls: u32) -> Engine {
    Engine::new(&EngineSettings { calls, large_calls: 1, cache: None }).unwrap()
}

fn limits(milliseconds: u64) -> CallLimits {
    CallLimits { wall: Duration::from_millis(milliseconds), ..CallLimits::default() }
}

/// Long enough to never be reached by what ends by itself.
fn patient() -> CallLimits {
    limits(60_000)
}

/// A component whose `run: func() -> u32` is the core function `run` of `module`.
fn component(module: &str) -> String {
    format!(
        r#"(component
            (core module $m {module})
            (core instance $i (instantiate $m))
            (func (export "run") (result u32) (canon lift (core func $i "run"))))"#
    )
}

/// A component whose `run` calls the host's `wait`.
const WAITING: &str = r#"(component
    (import "wait" (func $wait))
    (core func $wait' (canon lower (func $wait)))
    (core module $m
        (import "" "wait" (func $wait))
        (func (export "run") (result i32) (call $wait) (i32.const 7)))
    (core instance $i (instantiate $m (with "" (instance (export "wait" (func $wait'))))))
    (func (export "run") (result u32) (canon lift (core func $i "run"))))"#;

impl CallData for Vec<&'static str> {}

type Plugin = Callee<()>;

async fn load(engine: &Engine, text: &str) -> Plugin {
    load_with(engine, text, |_| {}).await
}

async fn load_with(engine: &Engine, text: &str, link: impl FnOnce(&mut Linker<Guest<()>>)) -> Plugin {
    load_as(engine, text, Instances::Fresh, link).await
}

async fn load_as<T: CallData>(
    engine: &Engine,
    text: &str,
    instances: Instances,
    link: impl FnOnce(&mut Linker<Guest<T>>),
) -> Callee<T> {
    let bytes = wat::parse_str(text).unwrap();
    let component = engine.compile(bytes, crate::limits::MEMORY).await.unwrap();
    let mut linker = engine.linker(component.sandbox());
    link(&mut linker);
    Callee::new(engine, &component, &linker, u32::MAX, instances).unwrap()
}

fn meters() -> CallMeters {
    CallMeters::new("test", "host", "app")
}

fn terms<'a>(limits: &'a CallLimits, meters: &'a CallMeters) -> CallTerms<'a> {
    CallTerms { limits, meters, tenant: 1 }
}

/// Calls `run`.
async fn work<T: CallData>(store: &mut Store<T>, instance: &crate::Instance) -> wasmtime::Result<u32> {
    let run = instance.get_typed_func::<(), (u32,)>(&mut *store, "run")?;
    Ok(run.call_async(store, ()).await?.0)
}

async fn run(engine: &Engine, plugin: &Plugin, limits: &CallLimits) -> Finished<(), u32> {
    engine.call(plugin, terms(limits, &meters()), (), work).await
}

/// What `module`'s `run` comes to.
async fn outcome(module: &str, limits: &CallLimits) -> Result<u32, CallError> {
    let engine = engine(4);
    let component = load(&engine, &component(module)).await;
    run(&engine, &component, limits).await.result
}

const LOOP: &str = r#"(func (export "run") (result i32) (loop (br 0)) (unreachable))"#;

#[tokio::test]
async fn every_call_gets_a_fresh_instance() {
    let module = r#"(memory 1) (global $n (mut i32) (i32.const 0))
        (func (export "run") (result i32)
            (global.set $n (i32.add (global.get $n) (i32.const 1)))
            (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (global.get $n)))
            (i32.load (i32.const 8)))"#;
    let engine = engine(1);
    let component = load(&engine, &component(module)).await;
    for _ in 0..10 {
        let finished = run(&engine, &component, &patient()).await;
        assert_eq!(finished.result, Ok(1));
        assert_eq!(finished.memory, 1 << 16);
    }
    assert_eq!(engine.status(component.sandbox()).running, 0);
}

#[tokio::test]
async fn an_endless_loop_ends_at_its_deadline_wherever_it_is() {
    let deadline = CallError::Deadline { wall: Duration::from_millis(50) };
    let start = r#"(func $s (loop (br 0))) (start $s) (func (export "run") (result i32) (i32.const 0))"#;
    let bulk = r#"(memory 256) (func (export "run") (result i32)
        (loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 16777216)) (br 0)) (unreachable))"#;
    for module in [LOOP, start, bulk] {
        assert_eq!(outcome(module, &limits(50)).await, Err(deadline.clone()), "{module}");
    }
    assert_eq!(deadline.to_string(), "ran out of its 50 ms");
}

#[tokio::test]
async fn a_host_call_that_waits_ends_at_the_deadline() {
    let engine = engine(1);
    let component = load_with(&engine, WAITING, |linker| {
        linker
            .root()
            .func_wrap_async("wait", |_, (): ()| Box::new(std::future::pending::<wasmtime::Result<()>>()))
            .unwrap();
    })
    .await;
    let finished = run(&engine, &component, &limits(20)).await;
    assert_eq!(finished.result, Err(CallError::Deadline { wall: Duration::from_millis(20) }));
    assert_eq!(engine.status(Sandbox::Small).running, 0);
}

/// One thread does all the work here: the loop must give it up again and again.
#[tokio::test]
async fn a_guest_that_computes_does_not_hold_up_the_others() {
    let engine = engine(4);
    let endless = load(&engine, &component(LOOP)).await;
    let quick = load(&engine, &component(r#"(func (export "run") (result i32) (i32.const 7))"#)).await;
    let patient = patient();
    let looping = run(&engine, &endless, &patient);
    let answering = async {
        for _ in 0..20 {
            tokio::task::yield_now().await;
            assert_eq!(run(&engine, &quick, &patient).await.result, Ok(7));
        }
    };
    tokio::select! {
        finished = looping => panic!("the loop ended first: {:?}", finished.result),
        () = answering => {}
    }
}

#[tokio::test]
async fn memory_is_limited_over_all_memories_and_tables_together() {
    let grow = |memory: u32| {
        format!("(loop (br_if 0 (i32.ne (memory.grow {memory} (i32.const 16)) (i32.const -1)))) ")
    };
    let steps = format!(r#"(memory 1) (func (export "run") (result i32) {} (unreachable))"#, grow(0));
    let several = format!(
        r#"(memory 1) (memory 1) (memory 1) (func (export "run") (result i32) {}{}{} (unreachable))"#,
        grow(0),
        grow(1),
        grow(2)
    );
    let at_once = r#"(memory 1) (func (export "run") (result i32)
        (if (i32.eq (memory.grow (i32.const 60000)) (i32.const -1)) (then (unreachable))) (i32.const 0))"#;
    let from_the_start = r#"(memory 64) (func (export "run") (result i32) (i32.const 0))"#;
    let limits = CallLimits { memory: 2 << 20, ..patient() };
    for module in [&*steps, &*several, at_once, from_the_start] {
        let result = outcome(module, &limits).await;
        assert_eq!(result, Err(CallError::Memory { limit: 2 << 20 }), "{module}");
    }
    let tables = r#"(table 1 funcref) (memory 31) (func (export "run") (result i32)
        (if (i32.eq (table.grow (ref.null func) (i32.const 19000)) (i32.const -1)) (then (unreachable))) (i32.const 0))"#;
    assert_eq!(outcome(tables, &limits).await, Err(CallError::Memory { limit: 2 << 20 }));
}

#[tokio::test]
async fn tables_have_a_limit_of_entries_over_all_of_them() {
    let grow = |table: u32| {
        format!(
            "(loop (br_if 0 (i32.ne (table.grow {table} (ref.null func) (i32.const 100)) (i32.const -1))))"
        )
    };
    let one = format!(r#"(table 1 funcref) (func (export "run") (result i32) {} (unreachable))"#, grow(0));
    let two = format!(
        r#"(table 1 funcref) (table 1 funcref) (func (export "run") (result i32) {}{} (unreachable))"#,
        grow(0),
        grow(1)
    );
    let limits = CallLimits { table_entries: 1000, ..patient() };
    for module in [one, two] {
        assert_eq!(outcome(&module, &limits).await, Err(CallError::Tables { limit: 1000 }), "{module}");
    }
}

#[tokio::test]
async fn computing_has_a_limit_of_its_own() {
    let limits = CallLimits { processor: Duration::from_millis(20), ..patient() };
    let error = outcome(LOOP, &limits).await.unwrap_err();
    assert_eq!(error, CallError::Processor { limit: Duration::from_millis(20) });
    assert_eq!(error.to_string(), "ran out of its 20 ms of processor time");
    assert_eq!(error.kind(), bellwether_kernel::ErrorKind::Deadline);
}

/// Calls the host for ever, or as often as `times`.
fn chatty(times: &str) -> String {
    format!(
        r#"(component
        (import "wait" (func $wait))
        (core func $wait' (canon lower (func $wait)))
        (core module $m
            (import "" "wait" (func $wait))
            (func (export "run") (result i32) (local $n i32)
                (loop
                    (call $wait)
                    (local.set $n (i32.add (local.get $n) (i32.const 1)))
                    (br_if 0 (i32.ne (local.get $n) (i32.const {times}))))
                (i32.const 7)))
        (core instance $i (instantiate $m (with "" (instance (export "wait" (func $wait'))))))
        (func (export "run") (result u32) (canon lift (core func $i "run"))))"#
    )
}

#[tokio::test]
async fn host_calls_are_counted_and_limited() {
    let engine = engine(1);
    let link = |linker: &mut Linker<Guest<()>>| {
        let counted = |mut store: wasmtime::StoreContextMut<'_, Guest<()>>, (): ()| {
            store.data_mut().host_call();
            Ok(())
        };
        linker.root().func_wrap("wait", counted).unwrap();
    };
    let (ten, endless) =
        (load_with(&engine, &chatty("10"), link).await, load_with(&engine, &chatty("-1"), link).await);
    let meters = meters();
    let call = async |plugin: &Plugin, host_calls| {
        let limits = CallLimits { host_calls, ..patient() };
        engine.call(plugin, terms(&limits, &meters), (), work).await.result
    };
    assert_eq!(call(&ten, 10).await, Ok(7));
    assert_eq!(meters.stats().host_calls, 10);
    // One too many, though it ended by itself before anybody looked.
    assert_eq!(call(&ten, 9).await, Err(CallError::HostCalls { limit: 9 }));
    assert_eq!(call(&endless, 1000).await, Err(CallError::HostCalls { limit: 1000 }));
}

/// Data whose guest has handed over more than any limit.
struct Flooded;

impl CallData for Flooded {
    fn handed_over(&self) -> u64 {
        u64::MAX
    }
}

#[tokio::test]
async fn what_is_handed_over_in_all_is_limited_at_work_and_at_the_end() {
    let engine = engine(1);
    let (meters, limits) = (meters(), CallLimits { host_bytes: 5, ..patient() });
    for module in [LOOP, r#"(func (export "run") (result i32) (i32.const 7))"#] {
        let plugin = load_as::<Flooded>(&engine, &component(module), Instances::Fresh, |_| {}).await;
        let finished = engine.call(&plugin, terms(&limits, &meters), Flooded, work).await;
        assert_eq!(finished.result, Err(CallError::HostBytes { limit: 5 }));
    }
}

#[tokio::test]
async fn a_plugin_that_fails_again_and_again_is_left_alone_and_tried_again_later() {
    let engine = engine(1);
    let broken = load(&engine, &component(r#"(func $oops (export "run") (result i32) (unreachable))"#)).await;
    let (meters, limits) = (meters(), patient());
    let call = async || engine.call(&broken, terms(&limits, &meters), (), work).await.result.unwrap_err();
    for _ in 0..crate::limits::BREAKER_FAILURES {
        assert!(matches!(call().await, CallError::Trap { .. }));
    }
    let refused = call().await;
    assert!(matches!(refused, CallError::CoolingDown { .. }), "{refused:?}");
    assert!(refused.retry_after().is_some());
    let stats = meters.stats();
    let failures = u64::from(crate::limits::BREAKER_FAILURES);
    assert_eq!((stats.calls, stats.fresh, stats.faults()), (failures + 1, failures, failures));
    assert_eq!(stats.errors_of(crate::ErrorCase::CoolingDown), 1);
    assert_eq!(broken.breaker(None).phase, crate::BreakerPhase::Open);
    let traps = meters.traps();
    assert_eq!(traps.len(), failures as usize);
    assert_eq!(traps[0].backtrace, ["oops"]);
}

#[tokio::test]
async fn a_guest_that_gets_over_a_refused_growth_goes_on() {
    let module = r#"(memory 1) (func (export "run") (result i32) (memory.grow (i32.const 1000)))"#;
    let limits = CallLimits { memory: 1 << 20, ..patient() };
    assert_eq!(outcome(module, &limits).await, Ok(u32::MAX));
}

#[tokio::test]
async fn a_trap_says_why_and_where() {
    let module = r#"(func $inner (unreachable)) (func $outer (export "run") (result i32) (call $inner) (i32.const 0))"#;
    let Err(CallError::Trap { message, backtrace }) = outcome(module, &patient()).await else { panic!() };
    assert_eq!(message, "wasm `unreachable` instruction executed");
    assert_eq!(backtrace, ["inner", "outer"]);
    let recursion = r#"(func $again (export "run") (result i32) (call $again))"#;
    let stack = crate::limits::STACK;
    assert_eq!(outcome(recursion, &patient()).await, Err(CallError::Stack { limit: stack }));
    let outside = r#"(memory 1) (func (export "run") (result i32) (i32.load (i32.const 70000)))"#;
    let Err(CallError::Trap { message, .. }) = outcome(outside, &patient()).await else { panic!() };
    assert_eq!(message, "out of bounds memory access");
}

#[tokio::test]
async fn a_trap_begins_with_what_the_guest_said_last() {
    let said = async |address: i32, length: u32, before: &str, words: &str| {
        let length: String = length.to_le_bytes().iter().map(|byte| format!("\\{byte:02x}")).collect();
        let module = format!(
            r#"(memory (export "memory") 1) (global (export "bellwether_last_words") i32 (i32.const {address}))
            (data (i32.const 60000) "{length}{words}")
            (func (export "run") (result i32) {before} (unreachable))"#
        );
        outcome(&module, &limits(50)).await.unwrap_err().to_string()
    };
    let panic = r"panicked at src/lib.rs:3:5:\0aleft\1b[2J 7\0a  right 8 and what is beyond";
    let told = said(60_000, 48, "", panic).await;
    assert_eq!(told, "trapped: panicked at src/lib.rs:3:5: left [2J 7 right 8");
    let long = said(60_000, u32::MAX, "", &r"\fe".repeat(2_000)).await;
    assert_eq!(long, format!("trapped: {}", "\u{fffd}".repeat(crate::limits::LAST_WORDS / 3)));

    // What ended for another reason says that one, and neither the place nor the length is trusted.
    assert_eq!(said(60_000, 50, "(loop (br 0))", panic).await, "ran out of its 50 ms");
    let silent = "trapped: wasm `unreachable` instruction executed";
    for (address, length) in [(60_000, 0), (65_533, 50), (65_536, 50), (-1, 50)] {
        assert_eq!(said(address, length, "", panic).await, silent, "{length} bytes at {address}");
    }
}

/// Data that masks a word.
struct Masks;

impl CallData for Masks {
    fn mask(&self, said: &mut String) {
        *said = said.replace("top secret", "***");
    }
}

#[tokio::test]
async fn a_secret_that_the_cut_of_last_words_would_divide_is_masked_whole() {
    let engine = engine(1);
    let (meters, limits) = (meters(), patient());
    let edge = "x".repeat(crate::limits::LAST_WORDS - 4);
    let said = format!("{edge} top secret");
    let length = (said.len() as u32).to_le_bytes().map(|byte| format!("\\{byte:02x}")).concat();
    let module = format!(
        r#"(memory (export "memory") 1) (global (export "bellwether_last_words") i32 (i32.const 8))
        (data (i32.const 8) "{length}{said}") (func (export "run") (result i32) (unreachable))"#
    );
    let plugin = load_as::<Masks>(&engine, &component(&module), Instances::Fresh, |_| {}).await;
    let error = engine.call(&plugin, terms(&limits, &meters), Masks, work).await.result.unwrap_err();
    let CallError::Trap { message, .. } = error else { panic!("{error}") };
    assert_eq!(message, format!("{edge} ***"));
}

#[tokio::test]
async fn a_caller_that_hangs_up_on_a_loop_is_counted_and_opens_the_breaker_and_one_on_a_wait_does_not() {
    let engine = engine(1);
    let looping = load(&engine, &component(LOOP)).await;
    let waiting = load_with(&engine, WAITING, |linker| {
        linker
            .root()
            .func_wrap_async("wait", |_, (): ()| Box::new(std::future::pending::<wasmtime::Result<()>>()))
            .unwrap();
    })
    .await;
    let (meters, patient) = (meters(), patient());
    // A caller that looks at its call until this thread has worked for so long, then goes.
    let hang_up = async |plugin: &Plugin, patience: Duration| {
        let mut call = std::pin::pin!(engine.call(plugin, terms(&patient, &meters), (), work));
        let began = cpu_time::ThreadTime::now();
        loop {
            assert!(futures::poll!(call.as_mut()).is_pending());
            if began.elapsed() >= patience {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let failures = u64::from(crate::limits::BREAKER_CALLS);
    for _ in 0..failures {
        assert_eq!(looping.breaker(None).phase, crate::BreakerPhase::Closed, "one is no row of failures");
        hang_up(&looping, 3 * crate::limits::BREAKER_COMPUTED).await;
    }
    let stats = meters.stats();
    assert_eq!((stats.calls, stats.errors_of(crate::ErrorCase::Deadline)), (failures, failures));
    assert!(stats.processor_microseconds > 0);
    assert_eq!(looping.breaker(None).phase, crate::BreakerPhase::Open);
    assert_eq!(engine.status(looping.sandbox()).running, 0);
    for _ in 0..failures {
        hang_up(&waiting, Duration::ZERO).await;
    }
    assert_eq!(meters.stats().calls, 2 * failures);
    assert_eq!(waiting.breaker(None).phase, crate::BreakerPhase::Closed);
}

#[tokio::test]
async fn compilations_wait_in_the_turns_of_organisations() {
    let engine = engine(1);
    let compile = async |tenant: u64, number: u32| {
        let module = format!(r#"(func (export "run") (result i32) (i32.const {number}))"#);
        let bytes = wat::parse_str(component(&module)).unwrap();
        engine.compile_for(tenant, bytes, crate::limits::MEMORY).await.unwrap()
    };
    let turn = engine.compiler().turn(3).await;
    let mut waiting: Vec<_> =
        [(1, 0), (1, 1), (1, 2), (2, 3)].map(|(tenant, number)| Box::pin(compile(tenant, number))).into();
    // One after the other, so that they come to the queue in this order.
    for (at, compilation) in waiting.iter_mut().enumerate() {
        while engine.compiler().waiting().iter().map(|(_, calls)| calls).sum::<usize>() <= at {
            assert!(futures::poll!(&mut *compilation).is_pending());
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(engine.compiler().waiting(), [(1, 3), (2, 1)]);
    drop(turn);
    futures::future::join_all(waiting).await;
    assert_eq!(engine.compiler().waiting(), []);
}

#[tokio::test]
async fn what_a_guest_hands_over_is_bounded() {
    let text = r#"(component
        (core module $m (memory (export "memory") 100)
            (func (export "run") (result i32)
                (i32.store (i32.const 0) (i32.const 64))
                (i32.store (i32.const 4) (i32.const 6000000))
                (i32.const 0)))
        (core instance $i (instantiate $m))
        (alias core export $i "memory" (core memory $memory))
        (func (export "run") (result (list u8)) (canon lift (core func $i "run") (memory $memory))))"#;
    let engine = engine(1);
    let component = load(&engine, text).await;
    let meters = meters();
    for (transfer, taken) in [(7_000_000, true), (5_000_000, false)] {
        let limits = CallLimits { transfer, ..patient() };
        let finished = engine
            .call(&component, terms(&limits, &meters), (), async |store, instance| {
                let run = instance.get_typed_func::<(), (Vec<u8>,)>(&mut *store, "run")?;
                Ok(run.call_async(store, ()).await?.0.len())
            })
            .await;
        let expected = if taken { Ok(6_000_000) } else { Err(CallError::Transfer { limit: 5_000_000 }) };
        assert_eq!(finished.result, expected);
    }
}

#[tokio::test]
async fn a_caller_waits_for_a_slot_until_its_deadline() {
    let engine = engine(1);
    let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let component = load_with(&engine, WAITING, |linker| {
        let (entered, leave) = (Arc::clone(&entered), Arc::clone(&leave));
        linker
            .root()
            .func_wrap_async("wait", move |_, (): ()| {
                let (entered, leave) = (Arc::clone(&entered), Arc::clone(&leave));
                Box::new(async move {
                    entered.notify_one();
                    leave.notified().await;
                    Ok(())
                })
            })
            .unwrap();
    })
    .await;
    let patient = patient();
    let first = run(&engine, &component, &patient);
    let others = async {
        entered.notified().await;
        assert_eq!(engine.status(Sandbox::Small).running, 1);
        let refused = run(&engine, &component, &limits(10)).await.result;
        assert!(matches!(refused, Err(CallError::Busy { slots: 1, .. })), "{refused:?}");
        let second = run(&engine, &component, &patient);
        let release = async {
            leave.notify_one();
            entered.notified().await;
            leave.notify_one();
        };
        assert_eq!(tokio::join!(second, release).0.result, Ok(7));
    };
    assert_eq!(tokio::join!(first, others).0.result, Ok(7));
}

#[tokio::test]
async fn the_data_comes_back_whatever_became_of_the_call() {
    let engine = engine(1);
    let plugin = load_as::<Vec<&str>>(&engine, &component(LOOP), Instances::Fresh, |_| {}).await;
    let (limits, meters) = (limits(20), meters());
    let finished = engine
        .call(&plugin, terms(&limits, &meters), vec!["before"], async |store, instance| {
            store.data_mut().data_mut().push("during");
            work(store, instance).await
        })
        .await;
    assert!(finished.result.is_err());
    assert_eq!(finished.data, ["before", "during"]);
}

#[tokio::test]
async fn what_is_no_component_is_refused() {
    let engine = engine(1);
    for bytes in [&b""[..], b"not wasm", &wat::parse_str("(module)").unwrap()] {
        let error = engine.compile(bytes.to_vec(), crate::limits::MEMORY).await.map(drop).unwrap_err();
        assert!(matches!(error, EngineError::Component(_)), "{error}");
    }
    let error = engine
        .compile(vec![0; crate::limits::COMPONENT + 1], crate::limits::MEMORY)
        .await
        .map(drop)
        .unwrap_err();
    assert!(matches!(error, EngineError::TooLarge { .. }), "{error}");
    // More memories than any call may have: refused now, not when it is called.
    let greedy = format!(r#"{} (func (export "run") (result i32) (i32.const 0))"#, "(memory 1) ".repeat(40));
    let greedy = wat::parse_str(component(&greedy)).unwrap();
    assert!(engine.compile(greedy, crate::limits::MEMORY).await.is_err());
}

#[tokio::test]
async fn machine_code_is_kept_in_a_private_folder_and_built_again_when_it_does_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("code");
    let settings = EngineSettings { calls: 1, large_calls: 1, cache: Some(cache.clone()) };
    let bytes = wat::parse_str(component(r#"(func (export "run") (result i32) (i32.const 7))"#)).unwrap();
    let digest: [u8; 32] =
        sha2::Digest::finalize(<sha2::Sha256 as sha2::Digest>::new_with_prefix(&bytes)).into();

    let first = Engine::new(&settings).unwrap();
    assert!(first.cached(digest, crate::limits::MEMORY).await.is_none());
    first.compile(bytes.clone(), crate::limits::MEMORY).await.unwrap();
    assert!(first.cached(digest, crate::limits::MEMORY).await.is_some());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);
    }
    let cache = cache.join("pure");
    let files = || fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    assert_eq!(files().len(), 1, "nothing half-written stays behind");

    // Another engine finds it; one that cannot read it builds it again.
    let second = Engine::new(&settings).unwrap();
    assert!(second.cached(digest, crate::limits::MEMORY).await.is_some());
    fs::write(&files()[0], b"of another version").unwrap();
    assert!(second.cached(digest, crate::limits::MEMORY).await.is_none());
    second.compile(bytes, crate::limits::MEMORY).await.unwrap();
    assert!(second.cached(digest, crate::limits::MEMORY).await.is_some());

    // What another engine left is cleared away, what is not ours is let be.
    fs::write(cache.join("00-1111111111111111.code"), b"old").unwrap();
    fs::write(cache.join("README"), b"x").unwrap();
    let third = Engine::new(&settings).unwrap();
    assert_eq!(files().len(), 2);
    third.forget(&digest);
    assert_eq!(files(), [cache.join("README")]);
}

#[cfg(unix)]
#[tokio::test]
async fn a_cache_folder_that_is_a_link_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("code");
    std::os::unix::fs::symlink(folder.path(), &link).unwrap();
    let error =
        Engine::new(&EngineSettings { calls: 1, large_calls: 1, cache: Some(link) }).map(drop).unwrap_err();
    assert!(matches!(error, EngineError::Cache { .. }), "{error}");
}

/// A component whose `run` counts its calls in a global.
const COUNTS: &str = r#"(global $n (mut i32) (i32.const 0))
    (func (export "run") (result i32)
        (global.set $n (i32.add (global.get $n) (i32.const 1)))
        (global.get $n))"#;

#[tokio::test]
async fn a_warm_instance_serves_its_organisation_alone_and_its_calls_are_reset() {
    let engine = engine(2);
    let plugin = load_as::<()>(&engine, &component(COUNTS), Instances::Warm, |_| {}).await;
    let (limits, meters) = (patient(), meters());
    let call = async |tenant| {
        let terms = CallTerms { limits: &limits, meters: &meters, tenant };
        engine.call(&plugin, terms, (), work).await.result.unwrap()
    };
    assert_eq!([call(1).await, call(1).await, call(2).await, call(1).await], [1, 2, 1, 3]);
    assert_eq!(plugin.activity(&engine).idle_instances, 2);
    let stats = meters.stats();
    assert_eq!((stats.fresh, stats.warm), (2, 2));
    assert_eq!(engine.status(plugin.sandbox()).running, 0, "what is kept holds no slot");
    assert_eq!([call(0).await, call(0).await], [1, 1], "nobody's calls share nothing");
    assert_eq!(plugin.activity(&engine).idle_instances, 2);
}

#[tokio::test]
async fn a_warm_instance_is_gone_after_an_error_and_after_its_last_call() {
    let engine = engine(1);
    let traps_third = r#"(global $n (mut i32) (i32.const 0))
        (func (export "run") (result i32)
            (global.set $n (i32.add (global.get $n) (i32.const 1)))
            (if (i32.eq (global.get $n) (i32.const 3)) (then (unreachable)))
            (global.get $n))"#;
    let plugin = load_as::<()>(&engine, &component(traps_third), Instances::Warm, |_| {}).await;
    let mut seen = Vec::new();
    for _ in 0..7 {
        seen.push(run(&engine, &plugin, &patient()).await.result.ok());
    }
    assert_eq!(seen, [Some(1), Some(2), None, Some(1), Some(2), None, Some(1)]);
    let plugin = load_as::<()>(&engine, &component(COUNTS), Instances::Warm, |_| {}).await;
    let mut highest = 0;
    for _ in 0..2 * crate::limits::WARM_CALLS {
        highest = highest.max(run(&engine, &plugin, &patient()).await.result.unwrap());
    }
    assert!((crate::limits::WARM_CALLS / 2..=crate::limits::WARM_CALLS).contains(&highest), "{highest}");
}

#[tokio::test]
async fn what_one_plugin_keeps_warm_takes_no_place_from_another() {
    let engine = engine(1);
    let keeper = load_as::<()>(&engine, &component(COUNTS), Instances::Warm, |_| {}).await;
    let (limits, meters) = (patient(), meters());
    let organisations = 2 * crate::limits::WARM;
    for tenant in 1..=u64::from(organisations) {
        let terms = CallTerms { limits: &limits, meters: &meters, tenant };
        assert_eq!(engine.call(&keeper, terms, (), work).await.result, Ok(1));
    }
    assert_eq!(keeper.activity(&engine).idle_instances, crate::limits::WARM as usize);
    let other = load(&engine, &component(COUNTS)).await;
    assert_eq!(run(&engine, &other, &patient()).await.result, Ok(1));
    drop(keeper);
    let next = load_as::<()>(&engine, &component(COUNTS), Instances::Warm, |_| {}).await;
    run(&engine, &next, &patient()).await.result.unwrap();
    assert_eq!(next.activity(&engine).idle_instances, 1, "a plugin that is gone leaves its places");
}

#[tokio::test]
async fn an_instance_that_grew_large_is_not_kept() {
    let module = r#"(memory 1) (func (export "run") (result i32) (memory.grow (i32.const 200)))"#;
    let engine = engine(1);
    let plugin = load_as::<()>(&engine, &component(module), Instances::Warm, |_| {}).await;
    assert_eq!(run(&engine, &plugin, &patient()).await.result, Ok(1));
    assert_eq!(plugin.activity(&engine).idle_instances, 0);
}

#[tokio::test]
async fn a_component_that_needs_much_runs_in_the_large_engine_with_the_same_promises() {
    let engine = engine(1);
    let module = r#"(memory 400) (data (i32.const 8) "\07")
        (func (export "run") (result i32)
            (i32.store8 (i32.const 9) (i32.add (i32.load8_u (i32.const 9)) (i32.const 1)))
            (i32.add (i32.load8_u (i32.const 8)) (i32.load8_u (i32.const 9))))"#;
    let plugin = load(&engine, &component(module)).await;
    assert_eq!(plugin.sandbox(), Sandbox::Large);
    for _ in 0..3 {
        assert_eq!(run(&engine, &plugin, &patient()).await.result, Ok(8), "every instance is fresh");
    }
    let small = CallLimits { memory: 1 << 20, ..patient() };
    assert_eq!(run(&engine, &plugin, &small).await.result, Err(CallError::Memory { limit: 1 << 20 }));
    for module in [
        format!("(memory 400) {LOOP}"),
        r#"(memory 400) (func $again (export "run") (result i32) (call $again))"#.to_owned(),
    ] {
        let plugin = load(&engine, &component(&module)).await;
        let error = run(&engine, &plugin, &limits(50)).await.result.unwrap_err();
        assert!(matches!(error, CallError::Deadline { .. } | CallError::Stack { .. }), "{error}");
    }
    let outside = r#"(memory 400) (func (export "run") (result i32) (i32.load (i32.const -8)))"#;
    let plugin = load(&engine, &component(outside)).await;
    let Err(CallError::Trap { message, .. }) = run(&engine, &plugin, &patient()).await.result else {
        panic!()
    };
    assert_eq!(message, "out of bounds memory access");
}
