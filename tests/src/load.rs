//! What the benchmarks share: load by `wrk`, and the figures made of it.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// One route under load, with the request it is sent.
pub struct Target {
    /// What the tables call it.
    pub name: &'static str,
    url: String,
    script: PathBuf,
}

/// Makes the requests before the first is sent, and hands out one after the other.
const IN_TURN: &str = "
function init()
  for place, body in ipairs(bodies) do requests[place] = wrk.format(nil, nil, nil, body) end
end
function request()
  at = at % #requests + 1
  return requests[at]
end
";

/// What one run of the load generator saw.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Answers a second.
    pub rate: f64,
    /// Half of the answers took at most so many milliseconds.
    pub p50: f64,
    /// 99 of 100 answers took at most so many milliseconds.
    pub p99: f64,
    /// Answers in all. Those on their way when the time was over are not counted.
    pub answers: u64,
}

impl Target {
    /// A POST of `body`, JSON, to `url`; what the load generator reads of it goes to `folder`.
    ///
    /// # Errors
    /// If that cannot be written.
    pub fn new(
        folder: &Path,
        name: &'static str,
        url: &str,
        body: &str,
        headers: &[(String, String)],
    ) -> Result<Self> {
        Self::in_turn(folder, name, url, &[body], headers)
    }

    /// A POST of each of `bodies` in turn, JSON, compressed if a header says so.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn in_turn(
        folder: &Path,
        name: &'static str,
        url: &str,
        bodies: &[impl AsRef<[u8]>],
        headers: &[(String, String)],
    ) -> Result<Self> {
        let file_name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        let script = folder.join(&file_name).with_extension("lua");
        let mut file = File::create(&script)?;
        writeln!(file, "wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/json'")?;
        for (header, value) in headers {
            writeln!(file, "wrk.headers['{header}'] = '{value}'")?;
        }
        writeln!(file, "local bodies, requests, at = {{}}, {{}}, 0")?;
        for (at, body) in bodies.iter().enumerate() {
            let path = folder.join(format!("{file_name}-{at}")).with_extension("body");
            std::fs::write(&path, body)?;
            writeln!(file, "bodies[{}] = io.open([[{}]], 'rb'):read('*a')", at + 1, path.display())?;
        }
        file.write_all(if bodies.len() == 1 { b"wrk.body = bodies[1]\n" } else { IN_TURN.as_bytes() })?;
        Ok(Self { name, url: url.to_owned(), script })
    }

    /// Keeps `connections` requests on their way for so many seconds.
    ///
    /// # Errors
    /// If `wrk` does not run, or an answer was missing, late or an error.
    pub fn measure(&self, connections: u32, seconds: u32) -> Result<Measured> {
        let output = Command::new("wrk")
            .args(["-t1", "--latency", "--timeout", "10s"])
            .args(["-c", &connections.to_string(), "-d", &format!("{seconds}s"), "-s"])
            .arg(&self.script)
            .arg(&self.url)
            .output()
            .context("wrk runs")?;
        ensure!(output.status.success(), "wrk: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout)?;
        for wrong in ["Non-2xx", "Socket errors"] {
            ensure!(!text.contains(wrong), "{} answered errors:\n{text}", self.name);
        }
        let word = |line: &str, at: usize| line.split_whitespace().nth(at).map(str::to_owned);
        let line = |wanted: &dyn Fn(&str) -> bool, at: usize, what: &str| {
            let line = text.lines().find(|line| wanted(line.trim_start()));
            line.and_then(|line| word(line, at)).with_context(|| format!("no {what} in:\n{text}"))
        };
        let field = |name: &str| line(&|line: &str| line.starts_with(name), 1, name);
        Ok(Measured {
            rate: field("Requests/sec:")?.parse()?,
            p50: milliseconds(&field("50%")?)?,
            p99: milliseconds(&field("99%")?)?,
            answers: line(&|line: &str| line.contains(" requests in "), 0, "number of requests")?.parse()?,
        })
    }
}

/// Reads wrk's durations: `812.00us`, `1.25ms`, `2.03s`.
fn milliseconds(text: &str) -> Result<f64> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).context("a unit")?);
    let scale = match unit {
        "us" => 0.001,
        "ms" => 1.0,
        "s" => 1000.0,
        "m" => 60_000.0,
        _ => anyhow::bail!("no duration: {text}"),
    };
    Ok(number.parse::<f64>()? * scale)
}

/// How long the disk takes to make 4 KiB durable: no closed loop is faster than connections ÷ this.
///
/// # Errors
/// If `folder` cannot be written.
pub fn sync_time(folder: &Path) -> Result<String> {
    let mut file = File::create(folder.join("sync"))?;
    let mut times = Vec::new();
    for _ in 0..200 {
        file.write_all(&[7; 4096])?;
        let began = Instant::now();
        file.sync_data()?;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    let (p50, p99) = (quantile(&mut times, 0.5), quantile(&mut times, 0.99));
    Ok(format!("fdatasync of 4 KiB takes {p50:.2} ms (median of 200; p99 {p99:.2} ms)"))
}

/// The middle of `values`, the upper one of an even number.
///
/// # Panics
/// If there are none.
#[must_use]
pub fn median(values: &mut [f64]) -> f64 {
    quantile(values, 0.5)
}

/// The one of `values` that a `share` of them, from 0 to 1, lies below.
///
/// # Panics
/// If there are none.
#[must_use]
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * share) as usize;
    values[at.min(values.len() - 1)]
}

/// Waits until a process has little left to do, as databases have that tidy up what they took: a second in which it
/// works less than a twentieth of it. At most two minutes.
///
/// # Errors
/// If it is gone.
pub fn settle(process: u32) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(120) {
        let before = crate::processor_time(process)?;
        std::thread::sleep(Duration::from_secs(1));
        if crate::processor_time(process)? - before < Duration::from_millis(50) {
            break;
        }
    }
    Ok(())
}

/// Bytes that a folder's files take on the disk.
///
/// # Errors
/// If it cannot be read.
pub fn disk_use(folder: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // What a database removes meanwhile takes nothing.
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += if metadata.is_dir() { disk_use(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(bytes)
}

/// Bytes as MiB.
#[must_use]
#[expect(clippy::cast_precision_loss)]
pub fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_the_load_generator_are_read_in_milliseconds() {
        let cases = [("812.00us", 0.812), ("1.25ms", 1.25), ("2.03s", 2_030.0), ("1.5m", 90_000.0)];
        for (text, expected) in cases {
            let read = milliseconds(text).unwrap();
            assert!((read - expected).abs() < 1e-9, "{text}: {read}");
        }
        assert!(milliseconds("5h").is_err());
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let cases: [(&[f64], f64, f64); 5] = [
            (&[3.0], 0.99, 3.0),
            (&[3.0, 1.0, 2.0], 0.5, 2.0),
            (&[4.0, 3.0, 2.0, 1.0], 0.5, 3.0),
            (&[1.0, 2.0], 1.0, 2.0),
            (&[2.0, 1.0], 0.0, 1.0),
        ];
        for (values, share, expected) in cases {
            let found = quantile(&mut values.to_vec(), share);
            assert!((found - expected).abs() < f64::EPSILON, "{share} of {values:?}: {found}");
        }
    }
}
