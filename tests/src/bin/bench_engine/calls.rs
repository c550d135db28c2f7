//! What one call costs, side by side: in each round every column has its turn.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, ensure};
use bellwether_engine::limits::MEMORY;
use bellwether_playbooks::{App, AppCall, Value};
use bellwether_plugins::Instances;

use crate::Settings;
use crate::bare::Bare;
use crate::extism::Extism;
use crate::house::{House, component, order};
use crate::pure::{Pure, PureRows};
use crate::table::{BARE, BELLWETHER, EXTISM, NATIVE, PYTHON, Row};

/// What is counted: a line of a log, or so.
pub(crate) const TEXT: &str = "the quick brown fox jumps over the lazy dog";

/// Calls of one round, for what takes microseconds.
const CALLS: u32 = 4_000;
/// Host calls of one call: half of what a call may make.
const HOST_CALLS: u32 = 50_000;
/// Processes of one round.
const PROCESSES: u32 = 10;
/// Loads of one round.
const LOADS: u32 = 5;

/// The same work for Python, a process a call: the interpreter's start is what such a call costs.
const PYTHON_COUNT: &str = "import sys
from collections import Counter
counts = Counter(sys.stdin.read().split())
print(', '.join(f'{word} {count}' for word, count in sorted(counts.items())))";

/// The rows of the table.
pub(crate) struct Calls {
    pub(crate) fresh: Row,
    pub(crate) warm: Row,
    pub(crate) host_call: Row,
    pub(crate) pure: PureRows,
    pub(crate) app: Row,
    pub(crate) load: Row,
    pub(crate) cached: Row,
}

impl Calls {
    pub(crate) fn into_rows(self) -> Vec<Row> {
        vec![
            self.fresh,
            self.warm,
            self.host_call,
            self.pure.formatter,
            self.pure.answered,
            self.pure.detector,
            self.pure.pointless,
            self.app,
            self.load,
            self.cached,
        ]
    }
}

/// Measures them.
pub(crate) async fn measure(house: &House, settings: &Settings) -> Result<Calls> {
    let bytes = component("bench/bench-guest.wasm")?;
    let guest = house.install_app(bytes.clone(), Instances::Fresh).await?;
    let kept = house.install_app(named(&bytes, "bench-guest-warm"), Instances::Warm).await?;
    let metric = house.install_app(component("components/metric.wasm")?, Instances::Warm).await?;
    let pure = Pure::install(house).await?;
    let bare = Bare::new(&house.engine, &bytes)?;
    let mut warm = bare.instance().await?;
    let mut extism = Extism::start(TEXT)?;
    // All do the same, and say the same.
    let said = bench_work::count(TEXT);
    ensure!(run(house, &*guest, order(TEXT, 0)).await? == Value::Text(said.clone()));
    ensure!(warm.run(TEXT, 0).await? == said && python()?.trim() == said);
    if let Some(extism) = &mut extism {
        ensure!(extism.ask("answer", 0)? == said);
    }
    let mut calls = Calls {
        fresh: Row::new("call on a fresh instance"),
        warm: Row::new("call on a warm instance"),
        host_call: Row::new("host call from the guest"),
        pure: PureRows::new(),
        app: Row::new("an app that stores a sample, in memory"),
        load: Row::new("load, compiled"),
        cached: Row::new("load, from the cache"),
    };
    for round in 0..settings.rounds {
        for (row, app) in [(&mut calls.fresh, &*guest), (&mut calls.warm, &*kept)] {
            // What a call is given is there before it.
            let orders: Vec<_> = (0..CALLS).map(|_| house.call(order(TEXT, 0))).collect();
            let began = Instant::now();
            for order in orders {
                answer(app, order).await?;
            }
            row.columns[BELLWETHER].push(each(began, CALLS));
        }
        let began = Instant::now();
        for _ in 0..CALLS {
            bare.instance().await?.run(TEXT, 0).await?;
        }
        calls.fresh.columns[BARE].push(each(began, CALLS));
        let began = Instant::now();
        for _ in 0..CALLS {
            warm.run(TEXT, 0).await?;
        }
        calls.warm.columns[BARE].push(each(began, CALLS));
        let began = Instant::now();
        for _ in 0..CALLS {
            std::hint::black_box(bench_work::count(std::hint::black_box(TEXT)));
        }
        let native = each(began, CALLS);
        calls.fresh.columns[NATIVE].push(native);
        calls.warm.columns[NATIVE].push(native);
        let began = Instant::now();
        for _ in 0..PROCESSES {
            python()?;
        }
        calls.fresh.columns[PYTHON].push(each(began, PROCESSES));

        let began = Instant::now();
        run(house, &*guest, order(TEXT, HOST_CALLS)).await?;
        calls.host_call.columns[BELLWETHER].push(each(began, HOST_CALLS));
        let began = Instant::now();
        warm.run(TEXT, HOST_CALLS).await?;
        calls.host_call.columns[BARE].push(each(began, HOST_CALLS));

        let began = Instant::now();
        for number in 0..CALLS / 4 {
            run(house, &*metric, sample(number)).await?;
        }
        calls.app.columns[BELLWETHER].push(each(began, CALLS / 4));

        pure.round(&mut calls.pure).await?;

        let (mut load, mut cached) = (0.0, 0.0);
        for number in 0..LOADS {
            let other = named(&bytes, &format!("load-{round}-{number}"));
            let digest: [u8; 32] =
                sha2::Digest::finalize(<sha2::Sha256 as sha2::Digest>::new_with_prefix(&other)).into();
            let began = Instant::now();
            house.engine.compile(other, MEMORY).await?;
            load += each(began, 1);
            let began = Instant::now();
            ensure!(house.engine.cached(digest, MEMORY).await.is_some(), "it is in the cache");
            cached += each(began, 1);
        }
        calls.load.columns[BELLWETHER].push(load / f64::from(LOADS));
        calls.cached.columns[BELLWETHER].push(cached / f64::from(LOADS));
        let began = Instant::now();
        for _ in 0..LOADS {
            Bare::new(&house.engine, &bytes)?;
        }
        calls.load.columns[BARE].push(each(began, LOADS));

        if let Some(extism) = &mut extism {
            calls.fresh.columns[EXTISM].push(extism.measure("fresh", CALLS / 4)?);
            calls.warm.columns[EXTISM].push(extism.measure("warm", CALLS)?);
            calls.host_call.columns[EXTISM].push(extism.measure("ask", HOST_CALLS)?);
            calls.load.columns[EXTISM].push(extism.measure("load", LOADS)?);
        }
    }
    Ok(calls)
}

/// Nanoseconds of one of so many.
pub(crate) fn each(began: Instant, calls: u32) -> f64 {
    began.elapsed().as_nanos() as f64 / f64::from(calls)
}

/// Runs an app and gives its first output.
pub(crate) async fn run(house: &House, app: &dyn App, inputs: Vec<(String, Value)>) -> Result<Value> {
    answer(app, house.call(inputs)).await
}

async fn answer(app: &dyn App, call: AppCall) -> Result<Value> {
    let report = app.run(call).await;
    let mut outputs = report.result.map_err(|error| anyhow::anyhow!("{}", error.message))?;
    ensure!(!outputs.is_empty(), "an app has outputs");
    Ok(outputs.swap_remove(0).1)
}

/// What the bundled app `metric` is given.
fn sample(number: u32) -> Vec<(String, Value)> {
    vec![
        ("metric".to_owned(), Value::Text("bench".to_owned())),
        ("value".to_owned(), Value::Number(f64::from(number))),
        ("create".to_owned(), Value::Boolean(true)),
        ("read".to_owned(), Value::Boolean(false)),
        ("data_type".to_owned(), Value::Text("sum".to_owned())),
        ("interval".to_owned(), Value::Text("daily".to_owned())),
    ]
}

fn python() -> Result<String> {
    let mut command = Command::new("python3");
    command.args(["-c", PYTHON_COUNT]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    std::io::Write::write_all(&mut child.stdin.take().expect("it is piped"), TEXT.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "python3 ended with {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// The component under another name: the section that comes last holds.
pub(crate) fn named(component: &[u8], name: &str) -> Vec<u8> {
    let short = |bytes: &[u8]| {
        let length = u8::try_from(bytes.len()).expect("names here are short");
        [&[length], bytes].concat()
    };
    let content = [&[0], &*short(&short(name.as_bytes()))].concat();
    [component, &[0], &*short(&[&*short(b"component-name"), &content].concat())].concat()
}
