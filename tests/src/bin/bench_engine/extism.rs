//! Extism, in a process of its own (`tests/bench/engine`), a question and an answer at a time.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result};

/// The process.
pub(crate) struct Extism {
    child: Child,
    asked: ChildStdin,
    told: Lines<BufReader<ChildStdout>>,
}

impl Extism {
    /// Starts it, if `xtask` built it; tells if not.
    pub(crate) fn start(text: &str) -> Result<Option<Self>> {
        let (Some(program), Some(plugin)) =
            (std::env::var_os("BENCH_EXTISM"), std::env::var_os("BENCH_EXTISM_PLUGIN"))
        else {
            println!("SKIPPED: Extism was not built");
            return Ok(None);
        };
        let mut command = Command::new(&program);
        command.arg(&plugin).arg(text).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| program.display().to_string())?;
        let asked = child.stdin.take().context("it is asked")?;
        let told = BufReader::new(child.stdout.take().context("it tells")?).lines();
        Ok(Some(Self { child, asked, told }))
    }

    /// What it answers to a line.
    pub(crate) fn ask(&mut self, what: &str, number: u32) -> Result<String> {
        writeln!(self.asked, "{what} {number}")?;
        self.asked.flush()?;
        self.told.next().context("Extism ended")?.context("Extism answers")
    }

    /// Nanoseconds of one of so many.
    pub(crate) fn measure(&mut self, what: &str, number: u32) -> Result<f64> {
        let answer = self.ask(what, number)?;
        answer.trim().parse().with_context(|| format!("Extism answered {answer:?}"))
    }
}

impl Drop for Extism {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
