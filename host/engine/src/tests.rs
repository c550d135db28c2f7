//! What the sandbox promises, on components written as text.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use wasmtime::component::Linker;

use crate::{
    CallError, CallLimits, CallMeters, Engine, EngineError, EngineSettings, Finished, Guest, InstancePre,
};

/// Few slots, so that a test's pool is quickly there.
fn engine(calls: u32) -> Engine {
    Engine::new(&EngineSettings { calls, cache: None }).unwrap()
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

type Pre = InstancePre<Guest<()>>;

async fn load(engine: &Engine, text: &str) -> Pre {
    load_with(engine, text, |_| {}).await
}

async fn load_with(engine: &Engine, text: &str, link: impl FnOnce(&mut Linker<Guest<()>>)) -> Pre {
    let component = engine.compile(wat::parse_str(text).unwrap()).await.unwrap();
    let mut linker = engine.linker();
    link(&mut linker);
    linker.instantiate_pre(&component).unwrap()
}

async fn run(engine: &Engine, component: &Pre, limits: &CallLimits) -> Finished<(), u32> {
    let meters = CallMeters::new("test", "app");
    engine
        .call(component, limits, &meters, (), async |store, instance| {
            let run = instance.get_typed_func::<(), (u32,)>(&mut *store, "run")?;
            Ok(run.call_async(store, ()).await?.0)
        })
        .await
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
    assert_eq!(engine.status().running, 0);
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
    assert_eq!(engine.status().running, 0);
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
        assert_eq!(result, Err(CallError::MemoryLimit { limit: 2 << 20 }), "{module}");
    }
    let tables = r#"(table 1 funcref) (memory 31) (func (export "run") (result i32)
        (if (i32.eq (table.grow (ref.null func) (i32.const 19000)) (i32.const -1)) (then (unreachable))) (i32.const 0))"#;
    assert_eq!(outcome(tables, &limits).await, Err(CallError::MemoryLimit { limit: 2 << 20 }));
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
    let Err(CallError::Trap { message, .. }) = outcome(recursion, &patient()).await else { panic!() };
    assert_eq!(message, "call stack exhausted");
    let outside = r#"(memory 1) (func (export "run") (result i32) (i32.load (i32.const 70000)))"#;
    let Err(CallError::Trap { message, .. }) = outcome(outside, &patient()).await else { panic!() };
    assert_eq!(message, "out of bounds memory access");
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
    let meters = CallMeters::new("test", "app");
    for (transfer, taken) in [(7_000_000, true), (5_000_000, false)] {
        let limits = CallLimits { transfer, ..patient() };
        let finished = engine
            .call(&component, &limits, &meters, (), async |store, instance| {
                let run = instance.get_typed_func::<(), (Vec<u8>,)>(&mut *store, "run")?;
                Ok(run.call_async(store, ()).await?.0.len())
            })
            .await;
        assert_eq!(finished.result.is_ok(), taken, "{:?}", finished.result);
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
        assert_eq!(engine.status().running, 1);
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
    let component = engine.compile(wat::parse_str(component(LOOP)).unwrap()).await.unwrap();
    let component = engine.linker::<Vec<&str>>().instantiate_pre(&component).unwrap();
    let meters = CallMeters::new("test", "app");
    let finished = engine
        .call(&component, &limits(20), &meters, vec!["before"], async |store, instance| {
            store.data_mut().data.push("during");
            let run = instance.get_typed_func::<(), (u32,)>(&mut *store, "run")?;
            Ok(run.call_async(store, ()).await?.0)
        })
        .await;
    assert!(finished.result.is_err());
    assert_eq!(finished.data, ["before", "during"]);
}

#[tokio::test]
async fn what_is_no_component_is_refused() {
    let engine = engine(1);
    for bytes in [&b""[..], b"not wasm", &wat::parse_str("(module)").unwrap()] {
        let error = engine.compile(bytes.to_vec()).await.map(drop).unwrap_err();
        assert!(matches!(error, EngineError::Component(_)), "{error}");
    }
    let error = engine.compile(vec![0; crate::limits::COMPONENT + 1]).await.map(drop).unwrap_err();
    assert!(matches!(error, EngineError::TooLarge { .. }), "{error}");
    // More memories than a call may have: refused now, not when it is called.
    let greedy = component(
        r#"(memory 1) (memory 1) (memory 1) (memory 1) (memory 1) (func (export "run") (result i32) (i32.const 0))"#,
    );
    assert!(engine.compile(wat::parse_str(greedy).unwrap()).await.is_err());
}

#[tokio::test]
async fn machine_code_is_kept_in_a_private_folder_and_built_again_when_it_does_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("code");
    let settings = EngineSettings { calls: 1, cache: Some(cache.clone()) };
    let bytes = wat::parse_str(component(r#"(func (export "run") (result i32) (i32.const 7))"#)).unwrap();
    let digest: [u8; 32] =
        sha2::Digest::finalize(<sha2::Sha256 as sha2::Digest>::new_with_prefix(&bytes)).into();

    let first = Engine::new(&settings).unwrap();
    assert!(first.cached(digest).await.is_none());
    first.compile(bytes.clone()).await.unwrap();
    assert!(first.cached(digest).await.is_some());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);
    }
    let files = || fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    assert_eq!(files().len(), 1, "nothing half-written stays behind");

    // Another engine finds it; one that cannot read it builds it again.
    let second = Engine::new(&settings).unwrap();
    assert!(second.cached(digest).await.is_some());
    fs::write(&files()[0], b"of another version").unwrap();
    assert!(second.cached(digest).await.is_none());
    second.compile(bytes).await.unwrap();
    assert!(second.cached(digest).await.is_some());

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
    let error = Engine::new(&EngineSettings { calls: 1, cache: Some(link) }).map(drop).unwrap_err();
    assert!(matches!(error, EngineError::Cache { .. }), "{error}");
}
