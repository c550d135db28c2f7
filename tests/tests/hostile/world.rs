//! One host that every test of this program attacks in turn, with a quiet plugin that is called throughout.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bellwether_tests::{Host, expect_json};
use serde_json::{Value, json};

use crate::component;

/// What one call may take here.
pub(crate) const CALL: Duration = Duration::from_millis(1000);

/// Bytes of memory one call may hold: what the settings say where they say nothing.
const MEMORY: u64 = 64 << 20;

/// What an attack may add to the host's resident memory: a call's memory, what a call may hand over, twice, since
/// the host copies it, and as much again for what the allocator keeps.
const GROWTH: u64 = MEMORY + 2 * (16 << 20) + (64 << 20);

/// How long a caller waits for an answer at most. The bound is on answering at all, not on speed: the call's own is
/// a second.
const PATIENCE: Duration = Duration::from_secs(30);

const PLAYBOOK: &str = r#"
name = "hostile"
[trigger]
type = "manual"
[[steps]]
id = "attack"
app = "hostile"
[steps.inputs]
mode = "{{ trigger.inputs.mode }}"
url = "{{ trigger.inputs.url }}"
"#;

/// The host, and who calls it quietly.
pub(crate) struct World {
    pub(crate) host: Host,
    quiet: Quiet,
    /// One attack at a time, so that what it costs is its own.
    turn: Mutex<()>,
    _folder: tempfile::TempDir,
}

/// The right to attack.
pub(crate) struct Attacker<'a> {
    world: &'a World,
    resident: u64,
    answered: usize,
    _turn: MutexGuard<'a, ()>,
}

/// What a caller of the dialect was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
    pub(crate) text: String,
}

/// The host that is there while any test needs it.
pub(crate) fn world() -> Result<Arc<World>> {
    static WORLD: Mutex<Weak<World>> = Mutex::new(Weak::new());
    let mut shared = WORLD.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(world) = shared.upgrade() {
        return Ok(world);
    }
    let world = Arc::new(World::start()?);
    *shared = Arc::downgrade(&world);
    Ok(world)
}

impl World {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let host = Host::start_with(&folder.path().join("data"), &[], |command| {
            command.env("BELLWETHER_PLUGINS__LIMITS__CALL_MILLISECONDS", CALL.as_millis().to_string());
            command.env("BELLWETHER_PLAYBOOKS__STEP_SECONDS", CALL.as_secs().to_string());
        })?;
        let query = GRANTS.map(|grant| format!("grant={grant}")).join("&");
        let upload = host.as_key(&host.keys().operator, "POST", &format!("/v1/plugins?{query}"));
        let upload = upload.header("content-type", "application/wasm").body(std::fs::read(component()?)?);
        expect_json(upload.send()?, 201)?;
        let store = host.as_admin("POST", "/v1/playbooks").header("content-type", "application/toml");
        expect_json(store.body(PLAYBOOK).send()?, 201)?;
        let quiet = Quiet::start(&host);
        Ok(Self { host, quiet, turn: Mutex::new(()), _folder: folder })
    }

    /// Begins an attack, once it is this test's turn. The plugin may send requests where `hosts` say; it is loaded
    /// anew, so that nothing is left of the attack before.
    pub(crate) fn attack(&self, hosts: &[&str]) -> Result<Attacker<'_>> {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let grants = json!({ "grants": [
            { "interface": "clock" }, { "interface": "log" }, { "interface": "state" },
            { "interface": "http-client", "hosts": hosts },
        ]});
        let path = "/v1/plugins/hostile/grants";
        expect_json(self.host.as_key(&self.host.keys().operator, "PUT", path).json(&grants).send()?, 200)?;
        let resident = self.host.resident_memory()?;
        // From here on the kernel notes the highest resident memory anew.
        std::fs::write(format!("/proc/{}/clear_refs", self.host.id()), "5").context("Linux 4.0 or newer")?;
        Ok(Attacker { world: self, resident, answered: self.quiet.answered(), _turn: turn })
    }

    /// A run of the playbook that calls the hostile app.
    fn run(&self, mode: &str, url: &str) -> Result<Value> {
        let inputs = json!({ "inputs": { "mode": mode, "url": url } });
        let path = "/v1/playbooks/hostile/runs?wait=30";
        expect_json(self.host.as_admin("POST", path).json(&inputs).send()?, 200)
    }

    /// A request to the hostile dialect.
    fn request(&self, mode: &str, url: &str) -> Result<Answer> {
        let request = self.host.request_with("GET", &format!("/hostile/{mode}"), &[("url", url)]);
        let answer = request.header("x-key", &self.host.keys().admin).timeout(PATIENCE).send()?;
        let retry_after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let (status, retry_after) = (answer.status().as_u16(), retry_after.map(str::to_owned));
        Ok(Answer { status, retry_after, text: answer.text()? })
    }
}

/// What the component asks for, at its install.
const GRANTS: [&str; 4] = ["clock", "http-client=none", "log", "state"];

impl Attacker<'_> {
    /// What a run of the attack ends in: the error of its step.
    pub(crate) fn run_fails(&self, mode: &str, url: &str) -> Result<String> {
        let run = self.world.run(mode, url)?;
        ensure!(run["state"] == "failed", "the attack {mode} came through: {run}");
        let error = run["steps"][0]["error"].as_str().with_context(|| format!("no error: {run}"))?;
        Ok(error.to_owned())
    }

    /// A run of the attack that does no harm.
    pub(crate) fn run(&self, mode: &str, url: &str) -> Result<Value> {
        let run = self.world.run(mode, url)?;
        ensure!(run["state"] == "succeeded", "{mode}: {run}");
        Ok(run)
    }

    /// What a request with the attack is answered.
    pub(crate) fn request(&self, mode: &str, url: &str) -> Result<Answer> {
        self.world.request(mode, url)
    }

    /// Attacks as an app and as a dialect: `fault` is part of what both say behind the plugin's name, version and call,
    /// `status` what the HTTP caller gets.
    pub(crate) fn costs_one_clear_error(
        &self,
        mode: &str,
        url: &str,
        status: u16,
        fault: &str,
    ) -> Result<()> {
        self.costs_the_run_and_tells(mode, url, status, fault, fault)
    }

    /// The same where the run, which its own organisation reads, says `fault` and the HTTP caller, who may be anybody,
    /// is told no more than `told`.
    pub(crate) fn costs_the_run_and_tells(
        &self,
        mode: &str,
        url: &str,
        status: u16,
        fault: &str,
        told: &str,
    ) -> Result<()> {
        let clear = |text: &str, call: &str, fault: &str| -> Result<()> {
            let named = format!("plugin hostile {}: {call}: ", env!("CARGO_PKG_VERSION"));
            let said = text.strip_prefix(&named).with_context(|| format!("{mode}: {text:?}"))?;
            ensure!(
                said.contains(fault) && !said.contains('\n'),
                "{mode}: {said:?} says nothing of {fault:?}"
            );
            Ok(())
        };
        clear(&self.run_fails(mode, url)?, "app.run", fault)?;
        let answer = self.request(mode, url)?;
        ensure!(answer.status == status, "{mode}: {answer:?}");
        let problem: Value =
            serde_json::from_str(&answer.text).with_context(|| format!("{mode}: {answer:?}"))?;
        clear(problem["detail"].as_str().context("a problem has a detail")?, "dialect.handle", told)?;
        ensure!(problem["request_id"].is_string(), "the operator finds it in the log: {problem}");
        Ok(())
    }

    /// Ends the attack: the host's memory stayed within the budget, and the quiet plugin went on answering.
    pub(crate) fn leaves_the_others_alone(self) -> Result<()> {
        let peak = self.world.host.peak_memory()?;
        let grown = peak.saturating_sub(self.resident);
        ensure!(grown <= GROWTH, "resident memory grew by {} MiB", grown >> 20);
        self.world.quiet.goes_on(self.answered)?;
        // The host serves the hostile plugin itself again, too.
        self.world.attack_again(self)
    }
}

impl World {
    fn attack_again(&self, attacker: Attacker<'_>) -> Result<()> {
        drop(attacker);
        let after = self.attack(&[])?;
        let said = after.run("quiet", "")?["steps"][0]["outputs"]["said"].clone();
        ensure!(said == "nothing happened", "{said}");
        Ok(())
    }
}

/// Who calls another plugin all the time: the bundled dialect, without a key, which it refuses in its own words.
struct Quiet {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    /// How long each answer took, in microseconds.
    latencies: Vec<u64>,
    /// Answers that were not the plugin's own, and how often.
    wrong: BTreeMap<String, u32>,
}

impl Quiet {
    fn start(host: &Host) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Seen::default())));
        let request = host.request("GET", "/threatconnect/api/v2/customMetrics").timeout(PATIENCE);
        let thread = {
            let (stop, seen) = (Arc::clone(&stop), Arc::clone(&seen));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    let answer = request.try_clone().expect("a request without a body").send();
                    let latency = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    match answer {
                        Ok(answer) if answer.status() == 401 => seen.latencies.push(latency),
                        Ok(answer) => *seen.wrong.entry(answer.status().to_string()).or_default() += 1,
                        Err(error) => *seen.wrong.entry(error.to_string()).or_default() += 1,
                    }
                    drop(seen);
                    std::thread::sleep(Duration::from_millis(2));
                }
            })
        };
        Self { stop, seen, thread: Some(thread) }
    }

    fn answered(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).latencies.len()
    }

    /// Whether it was answered since it had been `before` times, and is still. Tells how fast.
    fn goes_on(&self, before: usize) -> Result<()> {
        let asked = Instant::now();
        let during = self.answered();
        while self.answered() <= during {
            ensure!(asked.elapsed() < PATIENCE, "the quiet plugin is not answered any more");
            std::thread::sleep(Duration::from_millis(1));
        }
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.wrong.is_empty() {
            bail!("the quiet plugin was answered otherwise: {:?}", seen.wrong);
        }
        let mut latencies = seen.latencies[before..].to_vec();
        latencies.sort_unstable();
        let p99 = latencies[latencies.len() * 99 / 100];
        println!("the quiet plugin meanwhile: {} answers, p99 {} µs", latencies.len(), p99);
        Ok(())
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
