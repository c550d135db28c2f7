//! Measures what a call of a dialect costs on a fresh instance, with every limit on and no store behind it.
//!
//! `cargo run --release -p bellwether-plugins --example call_cost -- target/components/threatconnect.wasm GET /v2/none`

use std::sync::Arc;
use std::time::{Duration, Instant};

use bellwether_access::AuthFailure;
use bellwether_engine::EngineSettings;
use bellwether_kernel::{SystemClock, SystemRandomness};
use bellwether_plugins::{
    DialectRequest, Grant, Limits, Owner, Plugins, Privilege, RouteMatch, Services, inspect,
};
use bellwether_store::MemoryStore;
use http::HeaderMap;

/// Calls of one round, and rounds.
const CALLS: u32 = 20_000;
const ROUNDS: usize = 7;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, file, method, path] = &arguments[..] else {
        return Err("usage: call_cost FILE METHOD PATH".into());
    };
    let folder = std::env::temp_dir().join(format!("bellwether-call-cost-{}", std::process::id()));
    let engine = EngineSettings { cache: Some(folder.join("code")), ..EngineSettings::default() };
    let (clock, randomness) = (Arc::new(SystemClock), Arc::new(SystemRandomness));
    let services = Services::alone(Arc::new(MemoryStore::new()), &folder, &engine, clock, randomness).await?;
    let plugins = Plugins::open(services, Limits::default()).await?;
    let bytes = std::fs::read(file)?;
    let inspection = inspect(&bytes)?;
    let grant = |privilege: Privilege| -> Grant {
        let text = match privilege {
            Privilege::MetricsRead
            | Privilege::MetricsWrite
            | Privilege::SeriesRead
            | Privilege::SeriesWrite
            | Privilege::AlertsRead
            | Privilege::AlertsWrite => format!("{privilege}=*"),
            Privilege::RecordsRead | Privilege::RecordsWrite => format!("{privilege}=events,logs"),
            Privilege::HttpClient => format!("{privilege}=https://*"),
            _ => privilege.to_string(),
        };
        text.parse().expect("every privilege can be granted whole")
    };
    let grants = inspection.requests.iter().map(|request| grant(request.privilege)).collect();
    let began = Instant::now();
    let installed = plugins.install(Owner::Host, "host", bytes.into(), grants, false).await?;
    println!("{} {}: installed in {:?}", installed.name, installed.version, began.elapsed());

    let dialect = plugins.dialect(&installed.name).ok_or("the plugin is no dialect")?;
    let RouteMatch::Found(matched) = dialect.route(method, path) else {
        return Err("no route matches".into());
    };
    let headers = HeaderMap::new();
    let request = DialectRequest { matched: &matched, method, query: "", headers: &headers, body: b"" };
    let caller = || (!matched.authentication.is_empty()).then_some(Err(AuthFailure::Missing));
    println!("{method} {path}: {}", dialect.handle(caller(), request).await?.status);
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for _ in 0..CALLS {
            dialect.handle(caller(), request).await?;
        }
        rounds.push(began.elapsed() / CALLS);
    }
    rounds.sort_unstable();
    let shown = |duration: Duration| format!("{:.2} µs", duration.as_secs_f64() * 1e6);
    println!(
        "fresh instance and call: median {}, least {}, most {}",
        shown(rounds[ROUNDS / 2]),
        shown(rounds[0]),
        shown(rounds[ROUNDS - 1])
    );
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
