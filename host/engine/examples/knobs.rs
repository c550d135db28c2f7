//! What each of wasmtime's settings is worth, side by side in one run: a call on a fresh instance, one on the same
//! instance again, and one host call, with the engine's settings and one of them changed at a time.
//!
//! `cargo run --release --package bellwether-engine --example knobs`

use std::hint::black_box;
use std::time::{Duration, Instant};

use bellwether_engine::wasmtime::component::{Component, InstancePre, Linker, TypedFunc};
use bellwether_engine::wasmtime::{
    self, Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store, StoreLimits,
    StoreLimitsBuilder, UpdateDeadline,
};
use bellwether_engine::{
    CallData, CallLimits, CallMeters, CallTerms, Callee, EngineSettings, Instances, Sandbox,
};

/// Rounds of each measurement, and calls of one round.
const ROUNDS: usize = 15;
const CALLS: u32 = 4_000;
/// Host calls of one call, where they are what is measured.
const HOST_CALLS: u32 = 100;

/// Made like a component of a compiled language: 17 pages of memory of which a call touches six and grows one more, two
/// tables, three core instances, an import that is called through a table. `run` hashes 4 KiB it has written, and calls
/// the host as often as it is told.
const COMPONENT: &str = r#"(component
    (import "tell" (func $tell (param "number" u32) (result u32)))
    (core module $shim
        (table (export "$imports") 1 funcref)
        (func (export "0") (param i32) (result i32)
            (call_indirect (param i32) (result i32) (local.get 0) (i32.const 0))))
    (core instance $shim (instantiate $shim))
    (alias core export $shim "0" (core func $indirect))
    (core module $main
        (import "host" "tell" (func $tell (param i32) (result i32)))
        (memory (export "memory") 17)
        (table 8 funcref)
        (elem (i32.const 1) func $hash)
        (data (i32.const 1048576) "a page of constants")
        (global $stack (mut i32) (i32.const 1048576))
        (func $hash (param $at i32) (param $end i32) (result i32)
            (local $hash i32)
            (local.set $hash (i32.const -2128831035))
            (loop
                (i32.store8 (local.get $at) (i32.xor (local.get $at) (i32.const 85)))
                (local.set $hash (i32.mul (i32.const 16777619)
                    (i32.xor (local.get $hash) (i32.load8_u (local.get $at)))))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br_if 0 (i32.lt_u (local.get $at) (local.get $end))))
            (local.get $hash))
        (func (export "run") (param $calls i32) (result i32)
            (local $hash i32)
            (global.set $stack (i32.sub (global.get $stack) (i32.const 64)))
            (i32.store (global.get $stack) (i32.const 1))
            (i32.store (i32.const 1052672) (i32.const 2))
            (i32.store (i32.const 1056768) (i32.const 3))
            (drop (memory.grow (i32.const 1)))
            (i32.store (i32.const 1114112) (i32.const 4))
            (local.set $hash (call_indirect (param i32 i32) (result i32)
                (i32.const 1060864) (i32.const 1061376) (i32.const 1)))
            (block (loop
                (br_if 1 (i32.eqz (local.get $calls)))
                (local.set $hash (i32.add (local.get $hash) (call $tell (local.get $hash))))
                (local.set $calls (i32.sub (local.get $calls) (i32.const 1)))
                (br 0)))
            (global.set $stack (i32.add (global.get $stack) (i32.const 64)))
            (memory.size)))
    (core instance $main (instantiate $main
        (with "host" (instance (export "tell" (func $indirect))))))
    (core func $tell' (canon lower (func $tell)))
    (core module $fixups
        (import "" "$imports" (table 1 funcref))
        (import "" "0" (func $f (param i32) (result i32)))
        (elem (i32.const 0) func $f))
    (core instance (instantiate $fixups (with "" (instance
        (export "$imports" (table $shim "$imports"))
        (export "0" (func $tell'))))))
    (func (export "run") (param "calls" u32) (result u32) (canon lift (core func $main "run"))))"#;

fn component() -> Vec<u8> {
    wat::parse_str(COMPONENT).expect("the component reads")
}

/// What a store of wasmtime alone carries.
struct Data {
    limits: StoreLimits,
    told: u32,
}

/// wasmtime alone with some settings.
struct Bare {
    name: &'static str,
    engine: Engine,
    component: InstancePre<Data>,
    /// Called without a fiber.
    sync: bool,
    epochs: bool,
}

impl Bare {
    fn new(
        name: &'static str,
        change: impl FnOnce(&mut Config, &mut PoolingAllocationConfig),
    ) -> Result<Self, wasmtime::Error> {
        let settings = EngineSettings::default();
        let (mut config, mut pool) = (settings.config(Sandbox::Small), settings.pool(Sandbox::Small));
        change(&mut config, &mut pool);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        Self::with(name, &config)
    }

    fn with(name: &'static str, config: &Config) -> Result<Self, wasmtime::Error> {
        let engine = Engine::new(config)?;
        let component = Component::new(&engine, component())?;
        let mut linker = Linker::<Data>::new(&engine);
        linker.root().func_wrap(
            "tell",
            |mut store: wasmtime::StoreContextMut<'_, Data>, (number,): (u32,)| {
                store.data_mut().told = number;
                Ok((number,))
            },
        )?;
        let component = linker.instantiate_pre(&component)?;
        Ok(Self { name, engine, component, sync: false, epochs: true })
    }

    fn store(&self) -> Store<Data> {
        let limits = StoreLimitsBuilder::new().memory_size(64 << 20).build();
        let mut store = Store::new(&self.engine, Data { limits, told: 0 });
        store.limiter(|data| &mut data.limits);
        if self.epochs {
            store.set_epoch_deadline(1);
            let sync = self.sync;
            store.epoch_deadline_callback(move |_| {
                Ok(if sync { UpdateDeadline::Continue(1) } else { UpdateDeadline::Yield(1) })
            });
        }
        store
    }

    async fn instance(&self, store: &mut Store<Data>) -> Result<TypedFunc<(u32,), (u32,)>, wasmtime::Error> {
        let instance = match self.sync {
            true => self.component.instantiate(&mut *store)?,
            false => self.component.instantiate_async(&mut *store).await?,
        };
        instance.get_typed_func::<(u32,), (u32,)>(store, "run")
    }

    async fn call(
        &self,
        store: &mut Store<Data>,
        run: &TypedFunc<(u32,), (u32,)>,
        calls: u32,
    ) -> Result<(), wasmtime::Error> {
        black_box(match self.sync {
            true => run.call(store, (calls,))?,
            false => run.call_async(store, (calls,)).await?,
        });
        Ok(())
    }

    /// A call on a fresh instance, on a warm one, and the difference a host call makes there; in nanoseconds.
    async fn round(&self) -> Result<[f64; 3], wasmtime::Error> {
        let began = Instant::now();
        for _ in 0..CALLS {
            let mut store = self.store();
            let run = self.instance(&mut store).await?;
            self.call(&mut store, &run, 0).await?;
        }
        let fresh = each(began.elapsed(), CALLS);
        let mut store = self.store();
        let run = self.instance(&mut store).await?;
        let began = Instant::now();
        for _ in 0..500 {
            self.call(&mut store, &run, 0).await?;
        }
        let warm = each(began.elapsed(), 500);
        let mut store = self.store();
        let run = self.instance(&mut store).await?;
        let began = Instant::now();
        for _ in 0..200 {
            self.call(&mut store, &run, HOST_CALLS).await?;
        }
        Ok([fresh, warm, (each(began.elapsed(), 200) - warm) / f64::from(HOST_CALLS)])
    }
}

/// What a call of the engine carries.
struct Nothing;

impl CallData for Nothing {}

/// The engine itself, with every limit, queue and counter.
struct Whole {
    engine: bellwether_engine::Engine,
    fresh: Callee<Nothing>,
    warm: Callee<Nothing>,
    meters: CallMeters,
}

impl Whole {
    async fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let engine = bellwether_engine::Engine::new(&EngineSettings::default())?;
        let component = engine.compile(component(), 64 << 20).await?;
        let mut linker = engine.linker::<Nothing>(component.sandbox());
        linker.root().func_wrap(
            "tell",
            |mut store: wasmtime::StoreContextMut<'_, bellwether_engine::Guest<Nothing>>,
             (number,): (u32,)| {
                store.data_mut().host_call();
                Ok((number,))
            },
        )?;
        let callee = |instances| Callee::new(&engine, &component, &linker, u32::MAX, instances);
        Ok(Self {
            fresh: callee(Instances::Fresh)?,
            warm: callee(Instances::Warm)?,
            engine: engine.clone(),
            meters: CallMeters::new("bench", "host", "app"),
        })
    }

    async fn call(&self, callee: &Callee<Nothing>, calls: u32) {
        let limits = CallLimits::default();
        let terms = CallTerms { limits: &limits, meters: &self.meters, tenant: 1 };
        let finished = self.engine.call(callee, terms, Nothing, async |store, instance| {
            let run = instance.get_typed_func::<(u32,), (u32,)>(&mut *store, "run")?;
            Ok(run.call_async(store, (calls,)).await?.0)
        });
        black_box(finished.await.result.expect("the call succeeds"));
    }

    async fn round(&self) -> [f64; 3] {
        let time = async |callee: &Callee<Nothing>, times: u32, calls: u32| {
            let began = Instant::now();
            for _ in 0..times {
                self.call(callee, calls).await;
            }
            each(began.elapsed(), times)
        };
        let fresh = time(&self.fresh, CALLS, 0).await;
        // The instance grows by a page with each call; the engine replaces it now and then.
        let warm = time(&self.warm, CALLS, 0).await;
        let host = time(&self.fresh, 500, HOST_CALLS).await;
        [fresh, warm, (host - fresh) / f64::from(HOST_CALLS)]
    }
}

fn each(spent: Duration, times: u32) -> f64 {
    spent.as_secs_f64() * 1e9 / f64::from(times)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let guards = |config: &mut Config| {
        config.memory_guard_size(32 << 20).guard_before_linear_memory(true).signals_based_traps(true);
    };
    let mut variants = vec![
        Bare::new("the engine's settings", |_, _| {})?,
        Bare::new("pagemap_scan off", |_, pool| {
            pool.pagemap_scan(Enabled::No);
        })?,
        Bare::new("nothing kept resident", |_, pool| {
            pool.linear_memory_keep_resident(0).table_keep_resident(0);
        })?,
        Bare::new("128 KiB kept resident", |_, pool| {
            pool.linear_memory_keep_resident(128 << 10);
        })?,
        Bare::new("4 MiB kept resident", |_, pool| {
            pool.linear_memory_keep_resident(4 << 20);
        })?,
        Bare::new("tables not kept resident", |_, pool| {
            pool.table_keep_resident(0);
        })?,
        Bare::new("decommit in batches of 64", |_, pool| {
            pool.decommit_batch_size(64);
        })?,
        Bare::new("stacks kept resident, 64 KiB", |_, pool| {
            pool.async_stack_keep_resident(64 << 10);
        })?,
        Bare::new("copy-on-write images", |config, _| {
            config.memory_init_cow(true);
        })?,
        Bare::new("guard pages and signals", |config, _| {
            guards(config);
            config.memory_reservation(4 << 30);
        })?,
        Bare::new("guard pages, signals, copy-on-write", |config, _| {
            guards(config);
            config.memory_reservation(4 << 30).memory_init_cow(true);
        })?,
        Bare::new("signals without guard pages", |config, _| {
            config.signals_based_traps(true);
        })?,
        Bare::new("tables of 200 entries", |_, pool| {
            pool.table_elements(200);
        })?,
        Bare::new("instances of at most 64 KiB", |_, pool| {
            pool.max_core_instance_size(64 << 10);
        })?,
        Bare::new("a memory of 4 GiB reserved for each", |config, _| {
            config.memory_reservation(4 << 30);
        })?,
        Bare::new("no slots kept for their component", |_, pool| {
            pool.max_unused_warm_slots(0);
        })?,
    ];
    let mut epochs = Bare::new("no epochs", |config, _| {
        config.epoch_interruption(false);
    })?;
    epochs.epochs = false;
    let mut sync = Bare::new("no fiber: called synchronously", |_, _| {})?;
    sync.sync = true;
    variants.extend([epochs, sync]);
    let mut on_demand = EngineSettings::default().config(Sandbox::Small);
    on_demand.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    variants.push(Bare::with("no pool", &on_demand)?);
    let whole = Whole::new().await?;

    let mut seen = vec![[const { Vec::new() }; 3]; variants.len() + 1];
    for _ in 0..ROUNDS {
        for (at, variant) in variants.iter().enumerate() {
            note(&mut seen[at], variant.round().await?);
        }
        note(&mut seen[variants.len()], whole.round().await);
    }
    println!("| settings | fresh µs | of the first | warm ns | of the first | a host call ns |");
    println!("|---|---|---|---|---|---|");
    let medians: Vec<[f64; 3]> = seen.into_iter().map(|columns| columns.map(median)).collect();
    let names =
        variants.iter().map(|variant| variant.name).chain(["the whole engine: limits, queue, counters"]);
    for (name, [fresh, warm, host]) in names.zip(&medians) {
        let of = |value: f64, at: usize| value / medians[0][at];
        println!(
            "| {name} | {:.2} | {:.2} | {warm:.0} | {:.2} | {host:.0} |",
            fresh / 1000.0,
            of(*fresh, 0),
            of(*warm, 1)
        );
    }
    Ok(())
}

fn note(columns: &mut [Vec<f64>; 3], round: [f64; 3]) {
    for (column, value) in columns.iter_mut().zip(round) {
        column.push(value);
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
