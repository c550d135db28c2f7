//! `bellwether plugin top`: plugins at work, drawn again every second.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bellwether_kernel::counted;
use clap::{Args, ValueEnum};
use console::{Key, Term, style};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::client::Client;
use crate::failure::Failure;
use crate::output;

/// Plugins looked at.
const MOST: usize = 1000;

/// `bellwether plugin top`.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// What comes first
    #[arg(long, value_enum, default_value_t = Sort::Calls)]
    sort: Sort,
    /// Print one table and end
    #[arg(long)]
    once: bool,
    /// Seconds between two looks
    #[arg(long, default_value_t = 1, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
}

/// What the table is sorted by, the most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sort {
    /// Calls
    Calls,
    /// Processor time
    Processor,
    /// Calls that came to nothing
    Errors,
    /// What 99 of 100 calls took at most
    P99,
    /// The most memory of a call
    Memory,
}

impl Sort {
    fn next(self) -> Self {
        match self {
            Self::Calls => Self::Processor,
            Self::Processor => Self::Errors,
            Self::Errors => Self::P99,
            Self::P99 => Self::Memory,
            Self::Memory => Self::Calls,
        }
    }

    /// The heading of its column.
    fn heading(self) -> &'static str {
        match self {
            Self::Calls => "CALLS",
            Self::Processor => "PROCESSOR",
            Self::Errors => "ERRORS",
            Self::P99 => "P99",
            Self::Memory => "MEMORY",
        }
    }
}

/// One version of a plugin. What is not the key's to see is not counted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    name: String,
    version: String,
    state: String,
    breaker: String,
    counts: Option<Counts>,
}

/// What a version's calls came to, all roles together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    calls: u64,
    errors: u64,
    processor: u64,
    p99: u64,
    queue: u64,
    memory: u64,
}

impl Seen {
    fn by(&self, sort: Sort) -> u64 {
        let counts = self.counts.unwrap_or_default();
        match sort {
            Sort::Calls => counts.calls,
            Sort::Processor => counts.processor,
            Sort::Errors => counts.errors,
            Sort::P99 => counts.p99,
            Sort::Memory => counts.memory,
        }
    }
}

/// The versions in an answer of the host's, the most of `sort` first.
fn read(plugins: &[Value], sort: Sort) -> Vec<Seen> {
    let text = |value: &Value, pointer: &str| output::cell(value.pointer(pointer));
    let mut seen = Vec::new();
    for plugin in plugins {
        for version in plugin["versions"].as_array().into_iter().flatten() {
            seen.push(Seen {
                name: text(plugin, "/name"),
                version: text(version, "/version"),
                state: text(version, "/state"),
                breaker: text(version, "/breaker/phase"),
                counts: version["roles"].as_array().map(|roles| counts(roles)),
            });
        }
    }
    sorted(&mut seen, sort);
    seen
}

/// The most first.
fn sorted(seen: &mut [Seen], sort: Sort) {
    seen.sort_by_key(|seen| (Reverse(seen.by(sort)), seen.name.clone(), seen.version.clone()));
}

fn counts(roles: &[Value]) -> Counts {
    roles.iter().fold(Counts::default(), |sum, role| {
        let number = |pointer: &str| role.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
        let errors = role["errors"].as_array().into_iter().flatten();
        let errors: u64 = errors.filter_map(|error| error["count"].as_u64()).sum();
        Counts {
            calls: sum.calls + number("/calls"),
            errors: sum.errors + errors,
            processor: sum.processor + number("/processor_microseconds"),
            p99: sum.p99.max(number("/latency/p99_microseconds")),
            queue: sum.queue.max(number("/queue/p99_microseconds")),
            memory: sum.memory.max(number("/peak_memory_bytes")),
        }
    })
}

/// Shows plugins at work.
pub(super) async fn run(
    arguments: Arguments,
    client: &Client,
    format: output::Format,
) -> Result<(), Failure> {
    if arguments.once || format == output::Format::Json {
        let listing = client.list(&["v1", "plugin-stats"], &[], MOST).await?;
        let seen = read(&listing.items, arguments.sort);
        return match format {
            output::Format::Json => Ok(output::listing(format, &listing, &[])?),
            output::Format::Text => Ok(output::print(&table(&seen))?),
        };
    }
    let terminal = Term::stdout();
    if !terminal.is_term() {
        return Err(Failure::Usage("there is no terminal to draw in; use --once".to_owned()));
    }
    let mut keys = keys(terminal.clone());
    terminal.write_str(ENTER).and_then(|()| terminal.hide_cursor()).context("the terminal is gone")?;
    let ended = watch(&arguments, client, &terminal, &mut keys).await;
    let left = terminal.show_cursor().and_then(|()| terminal.write_str(LEAVE));
    ended.and(left).context("the terminal is gone")?;
    Ok(())
}

/// To the terminal's other screen, and back: what was there before is there again afterwards.
const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Sort,
    End,
}

/// Reads keys on a thread of its own, up to the one that ends it: the terminal is as it was once that was read.
fn keys(terminal: Term) -> UnboundedReceiver<Wish> {
    let (sender, receiver) = unbounded_channel();
    std::thread::spawn(move || {
        loop {
            let wish = match terminal.read_key_raw() {
                Ok(Key::Char('s')) => Wish::Sort,
                Ok(Key::Char('q') | Key::Escape | Key::CtrlC) | Err(_) => Wish::End,
                Ok(_) => continue,
            };
            if sender.send(wish).is_err() || wish == Wish::End {
                return;
            }
        }
    });
    receiver
}

/// Draws until it is to end. A host that does not answer is told and asked again: whoever watches it wants to see it
/// come back.
async fn watch(
    arguments: &Arguments,
    client: &Client,
    terminal: &Term,
    keys: &mut UnboundedReceiver<Wish>,
) -> std::io::Result<()> {
    let mut screen = Screen::new(arguments.sort);
    let mut looks = tokio::time::interval(Duration::from_secs(arguments.interval));
    loop {
        tokio::select! {
            wish = keys.recv() => match wish {
                Some(Wish::Sort) => screen.sort_by(screen.sort.next()),
                Some(Wish::End) | None => return Ok(()),
            },
            _ = looks.tick() => match client.list(&["v1", "plugin-stats"], &[], MOST).await {
                Ok(listing) => screen.see(read(&listing.items, screen.sort), Instant::now()),
                Err(failure) => screen.problem = Some(failure.for_people()),
            },
        }
        let (height, width) = terminal.size();
        terminal.move_cursor_to(0, 0)?;
        for line in screen.lines(height.into(), width.into()) {
            terminal.clear_line()?;
            terminal.write_line(&line)?;
        }
        terminal.clear_to_end_of_screen()?;
    }
}

/// What is on the screen.
struct Screen {
    sort: Sort,
    seen: Vec<Seen>,
    /// What was seen at the look before, and when: for calls a second.
    before: Option<(Instant, Vec<Seen>)>,
    at: Option<Instant>,
    /// Why the last look saw nothing.
    problem: Option<String>,
}

impl Screen {
    fn new(sort: Sort) -> Self {
        Self { sort, seen: Vec::new(), before: None, at: None, problem: None }
    }

    fn see(&mut self, seen: Vec<Seen>, now: Instant) {
        let before = std::mem::replace(&mut self.seen, seen);
        self.before = self.at.replace(now).map(|at| (at, before));
        self.problem = None;
    }

    fn sort_by(&mut self, sort: Sort) {
        self.sort = sort;
        sorted(&mut self.seen, sort);
    }

    /// Calls a second since the look before.
    fn rate(&self, seen: &Seen) -> Option<f64> {
        let (then, before) = self.before.as_ref()?;
        let now = self.at?;
        let same = before.iter().find(|before| before.name == seen.name && before.version == seen.version)?;
        let more = seen.counts?.calls.checked_sub(same.counts?.calls)?;
        let seconds = now.duration_since(*then).as_secs_f64();
        (seconds > 0.0).then(|| more as f64 / seconds)
    }

    /// The lines that fit, the last one of the screen left free for the cursor.
    fn lines(&self, height: usize, width: usize) -> Vec<String> {
        let open = self.seen.iter().filter(|seen| seen.breaker != "closed").count();
        let (versions, open) = (counted(self.seen.len(), "version"), counted(open, "breaker"));
        let sort = self.sort.heading().to_lowercase();
        let head = format!("{versions}, {open} not closed · by {sort} · s sorts, q ends");
        let mut rows = vec![HEADINGS.map(str::to_owned).to_vec()];
        rows.extend(self.seen.iter().map(|seen| {
            let mut cells = cells(seen);
            cells.insert(RATE, self.rate(seen).map_or("-".to_owned(), |rate| format!("{rate:.0}")));
            cells
        }));
        let table = output::aligned(&rows);
        let short = |line: &str| console::truncate_str(line, width, "…").into_owned();
        let mut lines = vec![style(short(self.problem.as_deref().unwrap_or(&head))).bold().to_string()];
        lines.extend(table.lines().enumerate().map(|(number, line)| {
            let line = style(short(line));
            let breaker = number.checked_sub(1).map(|row| self.seen[row].breaker.as_str());
            match breaker {
                None => line.reverse().to_string(),
                Some("closed") => line.to_string(),
                Some("half-open") => line.yellow().to_string(),
                Some(_) => line.red().to_string(),
            }
        }));
        lines.truncate(height.saturating_sub(1));
        lines
    }
}

/// The columns, calls a second among them at [`RATE`].
const HEADINGS: [&str; 11] = [
    "PLUGIN",
    "VERSION",
    "STATE",
    "BREAKER",
    "CALLS",
    "CALLS/S",
    "ERRORS",
    "PROCESSOR",
    "P99",
    "QUEUE P99",
    "MEMORY",
];
const RATE: usize = 5;

/// A version's row, without the rate.
fn cells(seen: &Seen) -> Vec<String> {
    let Seen { name, version, state, breaker, counts } = seen;
    let number = |value: fn(&Counts) -> String| counts.as_ref().map_or("-".to_owned(), value);
    vec![
        name.clone(),
        version.clone(),
        state.clone(),
        breaker.clone(),
        number(|counts| counts.calls.to_string()),
        number(|counts| counts.errors.to_string()),
        number(|counts| duration(counts.processor)),
        number(|counts| duration(counts.p99)),
        number(|counts| duration(counts.queue)),
        number(|counts| size(counts.memory)),
    ]
}

/// One look, without what takes two.
fn table(seen: &[Seen]) -> String {
    let headings = HEADINGS.iter().enumerate().filter(|(column, _)| *column != RATE);
    let mut rows = vec![headings.map(|(_, heading)| (*heading).to_owned()).collect()];
    rows.extend(seen.iter().map(cells));
    output::aligned(&rows)
}

/// `250 µs`, `1.5 ms`, `12 s`.
pub(super) fn duration(microseconds: u64) -> String {
    let exact = microseconds as f64;
    match microseconds {
        0..1_000 => format!("{microseconds} µs"),
        1_000..10_000 => format!("{:.1} ms", exact / 1e3),
        10_000..1_000_000 => format!("{:.0} ms", exact / 1e3),
        1_000_000..10_000_000 => format!("{:.1} s", exact / 1e6),
        _ => format!("{:.0} s", exact / 1e6),
    }
}

/// `64 KiB`, `1.5 MiB`.
pub(super) fn size(bytes: u64) -> String {
    let exact = bytes as f64;
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.0} KiB", exact / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", exact / 1_048_576.0),
        _ => format!("{:.1} GiB", exact / 1_073_741_824.0),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plugins(calls: u64) -> Vec<Value> {
        let role = |calls: u64, errors: u64, p99: u64| {
            json!({"calls": calls, "errors": [{"kind": "trap", "count": errors}], "processor_microseconds": calls * 10,
                "peak_memory_bytes": 65536 * p99, "latency": {"p99_microseconds": p99}})
        };
        let version = |version: &str, phase: &str, roles: Value| json!({"version": version, "state": "current", "breaker": {"phase": phase}, "roles": roles});
        vec![
            json!({"name": "busy", "versions": [version("1.0.0", "closed", json!([role(calls, 0, 100), role(1, 1, 50)]))]}),
            json!({"name": "slow", "versions": [version("2.0.0", "open", json!([role(3, 2, 9_000)]))]}),
            json!({"name": "theirs", "versions": [version("3.0.0", "closed", Value::Null)]}),
        ]
    }

    #[test]
    fn roles_are_taken_together_and_the_most_comes_first() {
        let names = |sort| read(&plugins(500), sort).into_iter().map(|seen| seen.name).collect::<Vec<_>>();
        assert_eq!(names(Sort::Calls), ["busy", "slow", "theirs"]);
        for sort in [Sort::Errors, Sort::P99, Sort::Memory] {
            assert_eq!(names(sort), ["slow", "busy", "theirs"], "{sort:?}");
        }
        let text = table(&read(&plugins(500), Sort::Calls));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[1],
            "busy    1.0.0    current  closed   501    1       5.0 ms     100 µs  0 µs       6.2 MiB"
        );
        assert_eq!(
            lines[3],
            "theirs  3.0.0    current  closed   -      -       -          -       -          -"
        );
    }

    #[test]
    fn the_screen_shows_calls_a_second_and_what_the_keys_do() {
        let now = Instant::now();
        let mut screen = Screen::new(Sort::Calls);
        screen.see(read(&plugins(500), Sort::Calls), now);
        screen.see(read(&plugins(700), Sort::Calls), now + Duration::from_secs(2));
        let lines: Vec<String> =
            screen.lines(24, 120).iter().map(|line| console::strip_ansi_codes(line).into_owned()).collect();
        assert_eq!(lines[0], "3 versions, 1 breaker not closed · by calls · s sorts, q ends");
        assert!(lines[1].starts_with("PLUGIN") && lines[1].contains("CALLS/S"), "{}", lines[1]);
        let words: Vec<&str> = lines[2].split_whitespace().collect();
        assert_eq!(words[..6], ["busy", "1.0.0", "current", "closed", "701", "100"]);
        screen.sort_by(Sort::Errors);
        assert!(screen.lines(24, 120)[2].contains("slow"));
        screen.problem = Some("no host answers".to_owned());
        let short = screen.lines(3, 10);
        assert_eq!(short.len(), 2, "one line is left for the cursor");
        assert!(short[0].contains("no host a…"), "{}", short[0]);
    }

    #[test]
    fn sorting_goes_round() {
        let mut sort = Sort::Calls;
        for _ in 0..5 {
            sort = sort.next();
        }
        assert_eq!(sort, Sort::Calls);
    }

    #[test]
    fn spans_and_sizes_are_short() {
        let spans = [0, 999, 1_500, 250_000, 3_210_000, 75_000_000].map(duration);
        assert_eq!(spans, ["0 µs", "999 µs", "1.5 ms", "250 ms", "3.2 s", "75 s"]);
        assert_eq!([5, 65_536, 1_572_864].map(size), ["5 B", "64 KiB", "1.5 MiB"]);
    }
}
