//! What a hundred installed plugins cost a host that calls none of them.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use bellwether_tests::{Host, expect_json};

use crate::Settings;
use crate::calls::named;
use crate::house::component;

/// How many are installed.
pub(crate) const PLUGINS: u32 = 100;

/// What was measured.
pub(crate) struct Idle {
    /// How long the host takes until it listens, its compile cache warm.
    pub(crate) start: Duration,
    /// The same without them.
    pub(crate) start_without: Duration,
    /// Bytes of resident memory for each.
    pub(crate) memory: f64,
}

/// Installs them, starts the host again, and looks at it.
pub(crate) fn measure(folder: &Path, settings: &Settings) -> Result<Idle> {
    let data = folder.join("idle");
    let bytes = component("components/metric.wasm")?;
    let (start_without, resident_without) = started(&data, settings)?;
    let host = Host::start(&data, &[])?;
    let operator = std::fs::read_to_string(folder.join("operator"))?;
    let privileges = ["log", "metrics-read=*", "metrics-write=*"];
    let query = privileges.map(|grant| format!("grant={grant}")).join("&");
    for number in 0..PLUGINS {
        let request = host.as_key(&operator, "POST", &format!("/v1/plugins?{query}"));
        let request = request.header("content-type", "application/wasm");
        expect_json(request.body(named(&bytes, &format!("idle-{number}"))).send()?, 201)?;
    }
    host.stop()?;
    let (start, resident) = started(&data, settings)?;
    let memory = (resident - resident_without) / f64::from(PLUGINS);
    Ok(Idle { start, start_without, memory })
}

/// The middle of several starts, and of the resident memory a moment after each. The first start of all compiles what
/// is bundled and prints the keys; it does not count.
fn started(data: &Path, settings: &Settings) -> Result<(Duration, f64)> {
    if !data.exists() {
        let host = Host::start(data, &[])?;
        std::fs::write(data.with_file_name("operator"), &host.keys().operator)?;
        host.stop()?;
    }
    let (mut starts, mut memories) = (Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        let host = Host::start(data, &[])?;
        std::thread::sleep(Duration::from_millis(500));
        starts.push(host.started_in);
        memories.push(host.resident_memory()?);
        host.stop()?;
    }
    starts.sort_unstable();
    memories.sort_unstable();
    Ok((starts[starts.len() / 2], memories[memories.len() / 2] as f64))
}
