//! What a hostile plugin costs the callers of another, through the real binary: a quiet caller's p99 while two others
//! keep the hostile plugin at work, beside what it is when nobody does.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bellwether_tests::{Host, expect_json};

use crate::Settings;
use crate::house::component;

/// The modes of `tests/hostile` that take more than an error, and what each is about.
const MODES: [(&str, &str); 13] = [
    ("loop", "endless loop"),
    ("fill", "endless `memory.fill` of 32 MB"),
    ("copy", "endless `memory.copy` of 31 MB"),
    ("recursion", "recursion"),
    ("growth-by-steps", "memory, step by step"),
    ("growth-at-once", "memory, at once"),
    ("long-log-line", "log line of 10 MB"),
    ("many-log-lines", "million log lines"),
    ("many-host-calls", "million host calls"),
    ("repeated-argument", "argument of a gigabyte"),
    ("panic", "panic"),
    ("fetch", "request that is not answered"),
    ("hoard", "state beyond the quota"),
];

/// Attackers at the same time: as many as there are cores here.
const ATTACKERS: usize = 2;
/// How far the quiet caller's requests lie apart.
const PACE: Duration = Duration::from_millis(2);

/// What one mode did to the quiet caller.
pub(crate) struct Neighbour {
    pub(crate) what: &'static str,
    /// p99 without the attack, in microseconds.
    pub(crate) quiet: f64,
    /// p99 under it.
    pub(crate) attacked: f64,
    /// Calls of the hostile plugin that were answered, however.
    pub(crate) attacks: u64,
}

/// Measures every mode, each beside a quiet time of its own.
pub(crate) fn measure(folder: &Path, settings: &Settings) -> Result<Vec<Neighbour>> {
    let host = Host::start(&folder.join("neighbours"), &[])?;
    let silence = std::net::TcpListener::bind("127.0.0.1:0")?;
    let silent = format!("http://{}", silence.local_addr()?);
    let outside = format!("http-client={silent}");
    let grants = ["clock", &outside, "log", "state"].map(|grant| ("grant", grant));
    let request = host.request_with("POST", "/v1/plugins", &grants).bearer_auth(&host.keys().operator);
    let request = request.header("content-type", "application/wasm");
    let bytes = component("hostile/hostile.wasm")?;
    expect_json(request.body(bytes).send()?, 201)?;
    let time = Duration::from_secs(settings.seconds.into());
    quiet(&host, time)?;
    MODES
        .iter()
        .map(|&(mode, what)| {
            let before = quiet(&host, time)?;
            let (stop, attacks) = (AtomicBool::new(false), AtomicU64::new(0));
            let attacked = std::thread::scope(|scope| {
                for _ in 0..ATTACKERS {
                    scope.spawn(|| {
                        while !stop.load(Ordering::Relaxed) {
                            let path = format!("/hostile/{mode}");
                            let request = host.request_with("GET", &path, &[("url", silent.as_str())]);
                            // Whatever it is answered: the tests look at that.
                            let answer = request.header("x-key", &host.keys().admin).send();
                            attacks.fetch_add(u64::from(answer.is_ok()), Ordering::Relaxed);
                        }
                    });
                }
                // Not from the first moment on, so that the attack is under way.
                std::thread::sleep(Duration::from_millis(200));
                let attacked = quiet(&host, time);
                stop.store(true, Ordering::Relaxed);
                attacked
            })?;
            let quiet = f64::midpoint(before, quiet(&host, time)?);
            Ok(Neighbour { what, quiet, attacked, attacks: attacks.into_inner() })
        })
        .collect()
}

/// The p99 in microseconds of a caller of the bundled dialect, which answers in its own words that the key is missing.
fn quiet(host: &Host, time: Duration) -> Result<f64> {
    let mut latencies = Vec::new();
    let began = Instant::now();
    while began.elapsed() < time {
        let asked = Instant::now();
        let answer = host.request("GET", "/threatconnect/api/v2/customMetrics").send()?;
        ensure!(answer.status() == 401, "the quiet plugin answered {}", answer.status());
        latencies.push(asked.elapsed().as_nanos() as f64 / 1e3);
        std::thread::sleep(PACE);
    }
    latencies.sort_by(f64::total_cmp);
    latencies.get(latencies.len() * 99 / 100).copied().context("calls were made")
}
