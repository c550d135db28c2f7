//! Sending a file's rows to the host in batches, each exactly once.

use std::path::Path;

use anyhow::Context as _;
use bellwether_kernel::counted;
use reqwest::Method;
use serde_json::{Value, json};

use super::progress::{Identity, Progress};
use super::report::Report;
use super::source::{BadLine, Place, Row, Source};
use crate::client::{Body, Client};
use crate::failure::{Failure, Problem};

/// What a bad line does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum BadLines {
    /// It is reported and left out
    Skip,
    /// Nothing is written if there is one: the whole file is checked first
    Fail,
}

/// Where batches go: the host, or in tests something that pretends.
pub(crate) trait Writer {
    /// Writes `entries`, one for each row, to the resource `list` under an `Idempotency-Key`.
    async fn write(&self, list: &str, entries: Value, idempotency_key: &str) -> Result<(), Failure>;
}

impl Writer for Client {
    async fn write(&self, list: &str, entries: Value, idempotency_key: &str) -> Result<(), Failure> {
        let body = Body::Json(json!({ list: entries }));
        self.write_once(Method::POST, &["v1", list], &[], body, idempotency_key).await.map(drop)
    }
}

/// Reads the rest of the file and reports each bad line, and goes back; refuses if there was any.
pub(crate) fn check(source: &mut Source, report: &mut Report) -> Result<(), Failure> {
    const WHAT: &str = "checking";
    report.begin(WHAT);
    let start = source.place();
    while let Some(row) = source.next().context("the file does not read")? {
        if let Err(bad) = row {
            report.bad_line(bad);
        }
        report.advance(WHAT, source.place().byte);
    }
    match report.bad_line_count() {
        0 => Ok(source.go_to(start).context("the file does not read")?),
        count => Err(Failure::Failed(anyhow::anyhow!(
            "{}; nothing was written: mend what is told above, or leave it out with --bad-lines skip",
            counted(count, "bad line")
        ))),
    }
}

/// Sends what is left of the file, saving `progress` at `progress_path` after each batch.
pub(crate) async fn load(
    writer: &impl Writer,
    source: &mut Source,
    progress: &mut Progress,
    progress_path: &Path,
    bad_lines: BadLines,
    report: &mut Report,
) -> Result<(), Failure> {
    const WHAT: &str = "importing";
    report.begin(WHAT);
    source.go_to(progress.place).context("the file does not read")?;
    while !progress.finished {
        let from = source.place();
        let (rows, mut bad) = read_batch(source, progress.batch())?;
        let (read, several) = ((rows.len() + bad.len()) as u64, rows.len() > 1);
        if bad_lines == BadLines::Fail && !bad.is_empty() {
            return Err(fatal(bad.remove(0)));
        }
        let to = source.place();
        let written = match send(writer, progress, (from, to), rows, bad_lines, report).await {
            Ok(written) => written,
            // Nothing of it is there, so it may be cut anew; what is kept says so before a part of it is sent.
            Err(Failure::Refused(problem)) if problem.status == 413 && several => {
                progress.smaller = Some(progress.batch() / 2);
                progress.save_now(progress_path)?;
                source.go_to(from).context("the file does not read")?;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        bad.into_iter().for_each(|bad| report.bad_line(bad));
        progress.finished = read == 0;
        progress.place = to;
        progress.read += read;
        progress.written += written;
        progress.skipped += read - written;
        progress.save_now(progress_path)?;
        report.advance(WHAT, to.byte);
    }
    Ok(())
}

/// The next rows, up to `batch` good ones, and the bad lines among them.
fn read_batch(source: &mut Source, batch: usize) -> Result<(Vec<Row>, Vec<BadLine>), Failure> {
    let (mut rows, mut bad_lines) = (Vec::with_capacity(batch), Vec::new());
    while rows.len() < batch && bad_lines.len() < batch {
        match source.next().context("the file does not read")? {
            None => break,
            Some(Ok(row)) => rows.push(row),
            Some(Err(bad)) => bad_lines.push(bad),
        }
    }
    Ok((rows, bad_lines))
}

/// The end of an import that takes no bad lines.
fn fatal(BadLine { line, reason }: BadLine) -> Failure {
    Failure::Failed(anyhow::anyhow!("line {line}: {reason}; the batches before its own are written"))
}

/// Sends one batch, without the rows the host refuses if they may be left out; gives how many samples were written.
async fn send(
    writer: &impl Writer,
    progress: &Progress,
    (from, to): (Place, Place),
    mut rows: Vec<Row>,
    bad_lines: BadLines,
    report: &mut Report,
) -> Result<u64, Failure> {
    let identity = &progress.identity;
    let (list, entry): (_, fn(&Identity, &Row) -> Value) =
        if identity.series { ("series", series) } else { ("samples", sample) };
    let mut left_out = Vec::new();
    while !rows.is_empty() {
        let entries = rows.iter().map(|row| entry(identity, row)).collect();
        // What was left out is part of the key: the host's refusals are repeated like its other answers, so a run
        // that was killed comes to the same keys again.
        match writer.write(list, entries, &identity.batch_key(from, to, &left_out)).await {
            Ok(()) => return Ok(rows.len() as u64),
            Err(Failure::Refused(problem)) => {
                let refused = refused_rows(&problem, list, &rows);
                if refused.is_empty() {
                    return Err(Failure::Refused(problem));
                }
                for bad in refused {
                    rows.retain(|row| row.line != bad.line);
                    left_out.push(bad.line);
                    match bad_lines {
                        BadLines::Fail => return Err(fatal(bad)),
                        BadLines::Skip => report.bad_line(bad),
                    }
                }
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(0)
}

/// Which rows the host refused, if that is why it refused the batch.
fn refused_rows(problem: &Problem, list: &str, rows: &[Row]) -> Vec<BadLine> {
    let mut refused: Vec<BadLine> = Vec::new();
    if !matches!(problem.status, 400 | 422) {
        return refused;
    }
    for error in &problem.errors {
        let place = error.field.strip_prefix(list).and_then(|rest| rest.strip_prefix('['));
        let Some((index, field)) = place.and_then(|rest| rest.split_once(']')) else { continue };
        let Some(row) = index.parse().ok().and_then(|index: usize| rows.get(index)) else {
            continue;
        };
        if refused.iter().all(|bad| bad.line != row.line) {
            let field = field.trim_start_matches('.');
            let reason = format!("the {field} is {}, expected {}", error.value, error.expected);
            refused.push(BadLine { line: row.line, reason });
        }
    }
    refused
}

/// A row as a sample of a tagged series.
fn series(identity: &Identity, row: &Row) -> Value {
    let metric = row.metric.as_ref().unwrap_or(&identity.metric);
    let tags: Vec<&String> = identity.tags.iter().chain(&row.tags).collect();
    json!({ "metric": metric, "tags": tags, "points": [[row.time.as_milliseconds(), row.value]] })
}

/// A row as a sample of an interval metric.
fn sample(identity: &Identity, row: &Row) -> Value {
    let mut sample = json!({ "metric": identity.metric, "time": row.time.to_string() });
    let fields = [
        ("value", row.value.map(Value::from)),
        ("key", row.key.as_deref().map(Value::from)),
        ("weight", row.weight.map(Value::from)),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            sample[name] = value;
        }
    }
    sample
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::fmt::Write as _;

    use jiff::tz::TimeZone;

    use super::super::source::Columns;
    use super::super::time::{TimeFormat, TimeReader};
    use super::*;
    use crate::failure::FieldProblem;
    use crate::output::Format;

    /// Remembers answers by key as a host does, loses the answers it is told to, refuses the value 13 and more rows than it
    /// takes.
    #[derive(Default)]
    struct Host {
        takes: Option<usize>,
        answers: RefCell<BTreeMap<String, bool>>,
        values: RefCell<Vec<f64>>,
        calls: RefCell<u64>,
        lose_answer_of_call: Option<u64>,
    }

    impl Writer for Host {
        async fn write(&self, list: &str, entries: Value, idempotency_key: &str) -> Result<(), Failure> {
            *self.calls.borrow_mut() += 1;
            let value = |entry: &Value| match list {
                "series" => entry["points"][0][1].as_f64(),
                _ => entry["value"].as_f64(),
            };
            let entries = entries.as_array().expect("entries").clone();
            if self.takes.is_some_and(|takes| entries.len() > takes) {
                let problem = Problem { status: 413, ..Problem::default() };
                return Err(Failure::Refused(Box::new(problem)));
            }
            let wrong = entries.iter().position(|entry| value(entry) == Some(13.0));
            let new = self.answers.borrow_mut().insert(idempotency_key.to_owned(), wrong.is_none()).is_none();
            if new && wrong.is_none() {
                self.values.borrow_mut().extend(entries.iter().filter_map(value));
            }
            if self.lose_answer_of_call == Some(*self.calls.borrow()) {
                return Err(Failure::Unreachable { url: String::new(), reason: "killed".to_owned() });
            }
            match wrong {
                None => Ok(()),
                Some(index) => Err(Failure::Refused(Box::new(Problem {
                    status: 422,
                    errors: vec![FieldProblem {
                        field: format!("{list}[{index}].value"),
                        value: 13.into(),
                        expected: "a luckier number".to_owned(),
                    }],
                    ..Problem::default()
                }))),
            }
        }
    }

    struct Setting {
        folder: tempfile::TempDir,
        series: bool,
    }

    impl Setting {
        fn new(text: &str) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            std::fs::write(folder.path().join("a.csv"), text).expect("written");
            Self { folder, series: false }
        }

        /// One run of the command, as after a fresh start of the process.
        fn run(&self, host: &Host, bad_lines: BadLines) -> (Result<(), Failure>, Progress, Vec<BadLine>) {
            let (file, kept) = (self.folder.path().join("a.csv"), self.folder.path().join("progress"));
            let columns = Columns { time: "t".to_owned(), value: Some("v".to_owned()), ..Columns::default() };
            let times = TimeReader::new(TimeFormat::Detected, TimeZone::UTC);
            let mut source = Source::open(&file, b',', &columns, times).expect("a source");
            let mut progress = Progress::load(&kept).expect("readable").unwrap_or_else(|| {
                let identity = Identity {
                    file: "f".to_owned(),
                    organisation: "o".to_owned(),
                    series: self.series,
                    tags: Vec::new(),
                    metric: "m".to_owned(),
                    metric_made: "1".to_owned(),
                    columns,
                    time_format: "auto".to_owned(),
                    time_zone: "UTC".to_owned(),
                    delimiter: ',',
                    batch: 10,
                    attempt: String::new(),
                };
                Progress::beginning(identity, source.place())
            });
            let mut report = Report::new(Format::Json, source.length());
            let work = load(host, &mut source, &mut progress, &kept, bad_lines, &mut report);
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let result = runtime.block_on(work);
            (result, progress, report.end())
        }
    }

    fn rows(values: impl IntoIterator<Item = u32>) -> String {
        values.into_iter().fold("t,v\n".to_owned(), |mut text, value| {
            let _ = writeln!(text, "2026-01-01,{value}");
            text
        })
    }

    #[test]
    fn an_import_killed_at_any_batch_writes_every_row_once() {
        let text = rows(100..147);
        for killed in 1..=5 {
            let setting = Setting::new(&text);
            let mut host = Host { lose_answer_of_call: Some(killed), ..Host::default() };
            let (result, ..) = setting.run(&host, BadLines::Fail);
            assert!(matches!(result, Err(Failure::Unreachable { .. })), "killed at {killed}");
            host.lose_answer_of_call = None;
            let (result, progress, _) = setting.run(&host, BadLines::Fail);
            result.expect("the rest is written");
            assert_eq!(
                *host.values.borrow(),
                (100..147).map(f64::from).collect::<Vec<_>>(),
                "killed at {killed}"
            );
            assert_eq!(
                (progress.read, progress.written, progress.skipped, progress.finished),
                (47, 47, 0, true)
            );
        }
    }

    #[test]
    fn a_row_the_host_refuses_is_left_out_by_its_line_and_a_kill_changes_nothing() {
        let text = rows([1, 2, 13, 4, 13, 6]);
        let killed = [None, Some(1), Some(2), Some(3)].into_iter();
        for (killed, series) in killed.flat_map(|killed| [(killed, false), (killed, true)]) {
            let setting = Setting { series, ..Setting::new(&text) };
            let mut host = Host { lose_answer_of_call: killed, ..Host::default() };
            if killed.is_some() {
                setting.run(&host, BadLines::Skip).0.expect_err("killed");
                host.lose_answer_of_call = None;
            }
            let (result, progress, bad) = setting.run(&host, BadLines::Skip);
            result.expect("the others are written");
            assert_eq!(*host.values.borrow(), [1.0, 2.0, 4.0, 6.0], "killed at {killed:?}");
            assert_eq!(bad.iter().map(|bad| bad.line).collect::<Vec<_>>(), [4, 6]);
            assert_eq!((progress.read, progress.written, progress.skipped), (6, 4, 2));
        }
    }

    #[test]
    fn a_batch_the_host_finds_too_large_is_sent_in_smaller_ones_and_each_row_once_even_if_killed() {
        let text = rows(100..147);
        for killed in 3..=12 {
            let setting = Setting::new(&text);
            let mut host = Host { takes: Some(4), lose_answer_of_call: Some(killed), ..Host::default() };
            setting.run(&host, BadLines::Fail).0.expect_err("killed or too large");
            host.lose_answer_of_call = None;
            // What the host takes may have changed meanwhile.
            host.takes = (killed % 2 == 0).then_some(3);
            let (result, progress, _) = setting.run(&host, BadLines::Fail);
            result.expect("the rest is written");
            assert_eq!(*host.values.borrow(), (100..147).map(f64::from).collect::<Vec<_>>(), "{killed}");
            assert_eq!((progress.read, progress.written, progress.finished), (47, 47, true));
        }
        let host = Host { takes: Some(0), ..Host::default() };
        let (result, ..) = Setting::new(&text).run(&host, BadLines::Fail);
        assert!(matches!(result, Err(Failure::Refused(problem)) if problem.status == 413));
    }

    #[test]
    fn a_bad_line_is_left_out_or_fatal_as_asked() {
        let text = "t,v\n2026-01-01,1\n2026-01-01,one\n2026-01-01,3\n";
        let (result, progress, bad) = Setting::new(text).run(&Host::default(), BadLines::Skip);
        result.expect("the others are written");
        assert_eq!((progress.written, progress.skipped, bad[0].line), (2, 1, 3));

        let host = Host::default();
        let (result, ..) = Setting::new(text).run(&host, BadLines::Fail);
        assert!(result.expect_err("fatal").for_people().contains("line 3"));
        assert!(host.values.borrow().is_empty());
    }

    #[test]
    fn a_check_reports_every_bad_line_and_writes_nothing() {
        let setting = Setting::new("t,v\n2026-01-01,one\n2026-01-01,2\nsoon,3\n");
        let columns = Columns { time: "t".to_owned(), value: Some("v".to_owned()), ..Columns::default() };
        let times = TimeReader::new(TimeFormat::Detected, TimeZone::UTC);
        let mut source =
            Source::open(&setting.folder.path().join("a.csv"), b',', &columns, times).expect("a source");
        let mut report = Report::new(Format::Json, source.length());
        let refused = check(&mut source, &mut report).expect_err("bad lines");
        assert!(
            refused.for_people().contains("2 bad lines; nothing was written"),
            "{}",
            refused.for_people()
        );
        assert_eq!(report.end().iter().map(|bad| bad.line).collect::<Vec<_>>(), [2, 4]);
    }
}
