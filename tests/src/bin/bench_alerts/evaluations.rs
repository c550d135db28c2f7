//! Evaluations a second, beside `vmalert`.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use bellwether_tests::beside::Beside;
use bellwether_tests::sink::Sink;
use bellwether_tests::{client, processor_time};

use super::{Settings, met};

/// How long `vmalert` warms up, and how long it is measured then.
const WARM_UP: Duration = Duration::from_secs(15);
const MEASURED: Duration = Duration::from_secs(30);
/// Lines of one import.
const LINES: usize = 50_000;
/// Samples of each series: the minutes around the measurement.
const MINUTES: std::ops::Range<i64> = -5..10;

/// Evaluations a second, and processor time of one in microseconds.
type Figures = (f64, f64);

pub(crate) fn measure(folder: &Path, settings: &Settings) -> Result<()> {
    let ours = ours(settings)?;
    let (rules, series) = (settings.monitors, settings.monitors * settings.series);
    println!("\n| {rules} rules over {series} series | evaluations/s | processor µs each |\n|---|---|---|");
    println!("| Bellwether, durable | {:.0} | {:.0} |", ours.0, ours.1);
    if let Some(theirs) = vmalert(folder, settings)? {
        println!("| vmalert with victoria-metrics | {:.0} | {:.0} |", theirs.0, theirs.1);
        println!("\nmore evaluations/s than vmalert: {}", met(ours.0 > theirs.0));
    }
    let all = settings.monitors as f64 / ours.0;
    println!("every monitor in its minute: {} (all of them take {all:.1} s)", met(all < 60.0));
    Ok(())
}

/// Runs `alerts_bench` and reads what it prints of the first kind of monitors.
fn ours(settings: &Settings) -> Result<Figures> {
    let program = std::env::current_exe()?.with_file_name("examples").join("alerts_bench");
    let numbers =
        [settings.monitors, settings.series, settings.minutes as usize].map(|number| number.to_string());
    let output = Command::new(&program).args(numbers).output();
    let output = output.with_context(|| format!("{} runs: it is built with the tests", program.display()))?;
    let text = String::from_utf8(output.stdout)?;
    print!("{text}");
    ensure!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    let figure = |name: &str| -> Result<f64> {
        let line = text.lines().map(str::trim).find_map(|line| line.strip_suffix(name));
        Ok(line.with_context(|| format!("it prints no {name}"))?.trim().parse()?)
    };
    Ok((figure("evaluations/s")?, figure("µs of processor an evaluation")?))
}

fn vmalert(folder: &Path, settings: &Settings) -> Result<Option<Figures>> {
    let store = Beside::victoria_metrics(folder, &["-search.latencyOffset=0s"])?;
    let Some(store) = store else { return Ok(None) };
    import(&store, settings)?;
    let mut rules = "groups:\n- name: bench\n  interval: 1s\n  concurrency: 16\n  rules:\n".to_owned();
    for number in 0..settings.monitors {
        let expression = format!("avg by (core) (load{{host=\"h{number}\"}}) > 90");
        writeln!(rules, "  - alert: m{number}\n    expr: '{expression}'")?;
    }
    let file = folder.join("rules.yml");
    std::fs::write(&file, rules)?;
    let told = Sink::start(|_| (200, ""))?;
    let arguments = [
        format!("-rule={}", file.display()),
        format!("-datasource.url={}", store.url),
        format!("-notifier.url={}", told.url),
    ];
    let alert = Beside::start("vmalert", &arguments, "-httpListenAddr=", "/health", folder)?;
    let Some(alert) = alert else { return Ok(None) };
    std::thread::sleep(WARM_UP);
    let look = || -> Result<(f64, f64)> {
        let worked = processor_time(alert.id())? + processor_time(store.id())?;
        Ok((counted(&alert, "vmalert_execution_total")?, worked.as_secs_f64()))
    };
    let (before, worked_before) = look()?;
    std::thread::sleep(MEASURED);
    let (after, worked) = look()?;
    ensure!(counted(&alert, "vmalert_execution_errors_total")? == 0.0, "vmalert fails");
    ensure!(after > before, "vmalert evaluates nothing");
    let evaluations = after - before;
    Ok(Some((evaluations / MEASURED.as_secs_f64(), (worked - worked_before) * 1e6 / evaluations)))
}

fn import(store: &Beside, settings: &Settings) -> Result<()> {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let (mut text, mut lines) = (String::new(), 0);
    for minute in MINUTES {
        for host in 0..settings.monitors {
            for core in 0..settings.series {
                // One in fifty breaches.
                let value = if host % 50 == 0 { 95 } else { 40 };
                let time = now + minute * 60_000;
                writeln!(text, "load{{host=\"h{host}\",core=\"c{core}\",env=\"prod\"}} {value} {time}")?;
                lines += 1;
                if lines % LINES == 0 {
                    send(store, std::mem::take(&mut text))?;
                }
            }
        }
    }
    send(store, text)
}

fn send(store: &Beside, text: String) -> Result<()> {
    let url = format!("{}/api/v1/import/prometheus", store.url);
    client().post(url).body(text).send()?.error_for_status()?;
    Ok(())
}

/// A counter as a program shows it.
fn counted(program: &Beside, name: &str) -> Result<f64> {
    let text = client().get(format!("{}/metrics", program.url)).send()?.text()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.with_context(|| format!("no {name}"))?.trim().parse()?)
}
