//! Answers in Prometheus' JSON. Numbers are texts in it, since JSON has no infinity; instants are seconds.

use std::io::Write as _;

use bellwether_sdk::dialect::Response;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::promql::{Answer, Grid, Labels, Line, Series, is_absent};

/// Bytes of one answer.
const LARGEST: usize = Response::LARGEST;

/// The version of Prometheus whose API and PromQL this is like.
const VERSION: &str = "3.0.0";

/// `{"status":"success","data":…}`
pub(crate) fn success(data: &Value) -> Response {
    Response::json(200, &json!({ "status": "success", "data": data }))
}

/// What is warned of where a list was cut.
const CUT: &str = "results truncated due to limit";

/// The same of a list of texts, of which `cut` says whether some were left out.
pub(crate) fn texts(texts: Vec<String>, cut: bool) -> Response {
    Writer::list("[", texts, cut, "]", |writer, text| writer.text(&text))
}

/// The same of a list of series.
pub(crate) fn series(series: Vec<Labels>, cut: bool) -> Response {
    Writer::list("[", series, cut, "]", |writer, labels| writer.labels(&labels))
}

/// The same of what is known of metrics, by their names.
pub(crate) fn metadata(known: Map<String, Value>) -> Response {
    Writer::list("{", known, false, "}", |writer, (metric, known)| {
        writer.text(&metric);
        writer.raw(":");
        writer.raw(&known.to_string());
    })
}

/// A list of what is not kept here, as a Prometheus without any says it: Grafana shows an error for every other answer.
pub(crate) fn none(name: &str) -> Response {
    success(&json!({ name: [] }))
}

/// `GET /api/v1/status/buildinfo`
pub(crate) fn build() -> Response {
    success(&json!({
        "version": VERSION, "revision": "bellwether", "branch": "", "buildUser": "", "buildDate": "", "goVersion": "",
    }))
}

/// A document as it grows.
struct Writer {
    text: Vec<u8>,
    /// Whether something was left out.
    cut: bool,
}

impl Writer {
    fn begin(data: &str) -> Self {
        Self { text: format!(r#"{{"status":"success","data":{data}"#).into_bytes(), cut: false }
    }

    /// The answer to a query, up to its result of this kind; the result ends with a brace.
    fn result(kind: &str) -> Self {
        Self::begin(&format!(r#"{{"resultType":"{kind}","result":"#))
    }

    /// A list, or an object, of as many items as an answer has bytes for, each as it is written by `each`.
    fn list<T>(
        open: &str,
        items: impl IntoIterator<Item = T>,
        cut: bool,
        close: &str,
        each: impl Fn(&mut Self, T),
    ) -> Response {
        let mut writer = Self { cut, ..Self::begin(open) };
        for (at, item) in items.into_iter().enumerate() {
            let whole = writer.text.len();
            writer.raw(if at == 0 { "" } else { "," });
            each(&mut writer, item);
            if writer.text.len() > LARGEST {
                writer.text.truncate(whole);
                writer.cut = true;
                break;
            }
        }
        writer.end(close)
    }

    fn end(mut self, close: &str) -> Response {
        self.raw(close);
        if self.cut {
            self.raw(&format!(r#","warnings":["{CUT}"]"#));
        }
        self.raw("}");
        Response::new(200, "application/json", self.text)
    }

    fn raw(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
    }

    fn text(&mut self, text: &str) {
        serde_json::to_writer(&mut self.text, text).expect("a text is writable as JSON");
    }

    /// `"metric":{…}`
    fn metric(&mut self, labels: &Labels) {
        self.raw(r#""metric":"#);
        self.labels(labels);
    }

    /// `{"name":"value",…}`
    fn labels(&mut self, labels: &Labels) {
        self.raw("{");
        for (at, (name, value)) in labels.iter().enumerate() {
            self.raw(if at == 0 { "" } else { "," });
            self.text(name);
            self.raw(":");
            self.text(value);
        }
        self.raw("}");
    }

    /// `[seconds,"value"]`
    fn point(&mut self, time: i64, value: f64) {
        let sign = if time < 0 { "-" } else { "" };
        let (seconds, rest) = (time.unsigned_abs() / 1000, time.unsigned_abs() % 1000);
        let written = match rest {
            0 => write!(self.text, "[{sign}{seconds},\""),
            _ => write!(self.text, "[{sign}{seconds}.{rest:03},\""),
        };
        written.and_then(|()| number(&mut self.text, value)).expect("memory is writable");
        self.raw("\"]");
    }

    /// A list of the first `limit` elements, each within braces.
    fn elements<T>(
        &mut self,
        elements: impl IntoIterator<Item = T>,
        limit: usize,
        mut each: impl FnMut(&mut Self, T),
    ) -> Result<(), Failure> {
        self.raw("[");
        for (at, element) in elements.into_iter().enumerate() {
            if at == limit {
                self.cut = true;
                break;
            }
            self.raw(if at == 0 { "{" } else { ",{" });
            each(self, element);
            self.raw("}");
            if self.text.len() > LARGEST {
                return Err(Failure::execution(format_args!(
                    "the answer has more than {LARGEST} bytes; ask for longer steps, less time or fewer series"
                )));
            }
        }
        self.raw("]");
        Ok(())
    }

    /// `"values":[…]`
    fn points(&mut self, points: impl Iterator<Item = (i64, f64)>) {
        self.raw(r#","values":["#);
        for (at, (time, value)) in points.enumerate() {
            self.raw(if at == 0 { "" } else { "," });
            self.point(time, value);
        }
        self.raw("]");
    }
}

/// As Go writes it in JSON: digits alone within bounds, an exponent of two digits at least beyond them.
fn number(into: &mut Vec<u8>, value: f64) -> std::io::Result<()> {
    if value.is_nan() {
        return into.write_all(b"NaN");
    }
    if value.is_infinite() {
        return into.write_all(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    }
    let size = value.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return write!(into, "{value}");
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    write!(into, "{digits}e{sign}{exponent:0>2}")
}

/// What an instant query comes to, at this instant: `limit` series of it at most.
pub(crate) fn instant(answer: Answer, time: i64, limit: usize) -> Result<Response, Failure> {
    let writer = match answer {
        Answer::Scalar(value) => {
            let mut writer = Writer::result("scalar");
            writer.point(time, value);
            writer
        }
        Answer::Text(text) => {
            let mut writer = Writer::result("string");
            writer.raw(&format!("[{},", time as f64 / 1000.0));
            writer.text(&text);
            writer.raw("]");
            writer
        }
        Answer::Vector(lines) => {
            let mut writer = Writer::result("vector");
            let present = lines.into_iter().filter(|line| !is_absent(line.values[0]));
            writer.elements(present, limit, |writer, line| {
                writer.metric(&line.labels);
                writer.raw(r#","value":"#);
                writer.point(time, line.values[0]);
            })?;
            writer
        }
        Answer::Matrix(series) => {
            let mut writer = Writer::result("matrix");
            writer.elements(series, limit, |writer, Series { labels, times, values }| {
                writer.metric(&labels);
                writer.points(times.into_iter().zip(values));
            })?;
            writer
        }
    };
    Ok(writer.end("}"))
}

/// What a range query comes to: `limit` lines of it at most.
pub(crate) fn range(lines: Vec<Line>, grid: Grid, limit: usize) -> Result<Response, Failure> {
    let mut writer = Writer::result("matrix");
    writer.elements(lines, limit, |writer, line| {
        writer.metric(&line.labels);
        writer.points(grid.times().zip(line.values).filter(|(_, value)| !is_absent(*value)));
    })?;
    Ok(writer.end("}"))
}
