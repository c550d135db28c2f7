//! Measures what a component of any language costs: to compile, to load from the cache, to keep, and to call.
//!
//! `cargo run --release -p bellwether-plugins --example language_cost -- FILE INPUTS [CALLS]`, the inputs as JSON, in which
//! `{url}` is where a list of four numbers is answered on this machine. `cargo xtask bench languages` runs it on the
//! examples.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bellwether_access::{NewKey, Role};
use bellwether_engine::{Engine, EngineSettings};
use bellwether_kernel::value::from_object;
use bellwether_kernel::{SystemClock, SystemRandomness};
use bellwether_playbooks::{AppCall, Apps};
use bellwether_plugins::{Grant, Limits, Owner, Plugins, Services, inspect};
use bellwether_store::MemoryStore;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().collect();
    let (file, inputs) = match &arguments[..] {
        [_, file, inputs] | [_, file, inputs, _] => (file, inputs),
        _ => return Err("usage: language_cost FILE INPUTS [CALLS]".into()),
    };
    let calls = arguments.get(3).map_or(Ok(200), |text| text.parse::<u32>())?;
    let folder = tempfile::tempdir()?;
    let cached = || EngineSettings { cache: Some(folder.path().join("code")), ..EngineSettings::default() };
    let (clock, randomness) = (Arc::new(SystemClock), Arc::new(SystemRandomness));
    let store = Arc::new(MemoryStore::new());
    let base = Services::alone(store, folder.path(), &cached(), clock, randomness).await?;
    let access = &base.access;
    let organisation = access.create_organisation("bench", "bench", "UTC").await?.id;
    let key = NewKey { name: "bench".to_owned(), role: Role::Write, expires: None, signing: false };
    let key = access.create_key("bench", organisation, key).await?;
    let principal =
        access.principal(&key.key.id).map_err(|failure| format!("the key is not known: {failure:?}"))?;
    let services = || -> Result<Services, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Services { engine: Engine::new(&cached())?, ..base.clone() })
    };

    let bytes = std::fs::read(file)?;
    let size = bytes.len();
    let began = Instant::now();
    let inspection = inspect(&bytes)?;
    let inspected = began.elapsed();
    let url = answering().await?;
    let granted = inspection.requests.iter().chain(&inspection.optional).map(|request| {
        let interface = request.privilege.interface();
        match interface {
            "http-client" => format!("{interface}={url}"),
            _ => request.example.to_owned(),
        }
    });
    let grants = granted.map(|grant| grant.parse::<Grant>()).collect::<Result<Vec<_>, _>>()?;
    let plugins = Plugins::open(services()?, Limits::default()).await?;
    let began = Instant::now();
    let installed = plugins.install(Owner::Host, "bench", bytes.into(), grants, false).await?;
    let compiled = began.elapsed();
    drop(plugins);
    let code = bytes_below(&folder.path().join("code"))?;

    // A host that starts again finds it in the cache.
    let mut loads = Vec::new();
    let mut plugins = None;
    let before = resident()?;
    for _ in 0..5 {
        drop(plugins.take());
        let services = services()?;
        let began = Instant::now();
        plugins = Some(Plugins::open(services, Limits::default()).await?);
        loads.push(began.elapsed());
    }
    let plugins = plugins.ok_or("it was loaded")?;
    let idle = resident()?.saturating_sub(before);

    let app = plugins.app(organisation, &installed.name).ok_or("the plugin is no app")?;
    let inputs = inputs.replace("{url}", &format!("{url}/"));
    let inputs = from_object(&app.description().inputs, "inputs", &serde_json::from_str(&inputs)?)?;
    let mut times = Vec::new();
    let mut failed = None;
    for number in 0..calls {
        let call = AppCall {
            principal: Arc::clone(&principal),
            idempotency_key: format!("bench.{number}"),
            attempt: 1,
            inputs: inputs.clone(),
            effects: None,
            time_limit: Duration::from_secs(30),
        };
        let began = Instant::now();
        let report = app.run(call).await;
        times.push(began.elapsed());
        failed = failed.or(report.result.err().map(|error| error.message));
    }
    let busy = resident()?.saturating_sub(before);
    if let Some(error) = failed {
        println!("{}: calls failed: {error}", installed.name);
    }
    println!(
        "{}: {:.1} MiB of wasm, {:.1} MiB of code; inspected in {}, compiled and described in {}, loaded from the cache and described in {}; {} calls on fresh instances: median {}, p99 {}; resident memory +{} MiB idle, +{} MiB after the calls",
        installed.name,
        mebibytes(size as u64),
        mebibytes(code),
        shown(inspected),
        shown(compiled),
        shown(quantile(&mut loads, 50)),
        calls,
        shown(quantile(&mut times, 50)),
        shown(quantile(&mut times, 99)),
        idle >> 20,
        busy >> 20,
    );
    Ok(())
}

/// Where a list of four numbers is answered.
async fn answering() -> std::io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n[1,2,3,4]";
                    if stream.write_all(answer).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    Ok(url)
}

/// Bytes of the files in a folder and those within it.
fn bytes_below(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { bytes_below(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn shown(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}

fn quantile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}

/// Bytes of this process that are in memory.
fn resident() -> Result<u64, Box<dyn std::error::Error + Send + Sync>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("VmRSS is there")?;
    let kibibytes: u64 = line.split_whitespace().nth(1).ok_or("VmRSS has a number")?.parse()?;
    Ok(kibibytes * 1024)
}
