//! The Prometheus dialect: Prometheus itself writes to it, and both answer the same questions alike.
//!
//! Prometheus is Debian's, which `cargo xtask test` unpacks.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bellwether_tests::beside::Beside;
use bellwether_tests::{Host, client, expect_json};
use serde_json::{Value, json};

/// How long Prometheus may take to scrape, and to send, what the questions are about.
const PATIENCE: Duration = Duration::from_secs(120);

/// Seconds of samples both must have.
const SAMPLED: i64 = 40;

/// Prometheus, which scrapes itself every second and sends what it gets to `host`; `None` if it is not installed.
fn start(folder: &Path, host: &Host) -> Result<Option<Beside>> {
    let Some(prometheus) = Beside::prometheus(folder, &["--web.enable-lifecycle"])? else { return Ok(None) };
    let itself = prometheus.url.trim_start_matches("http://");
    let settings = json!({
        "global": { "scrape_interval": "1s", "scrape_timeout": "1s" },
        "scrape_configs": [{ "job_name": "prometheus", "static_configs": [{ "targets": [itself] }] }],
        "remote_write": [{
            "url": format!("{}/prometheus/api/v1/write", host.url),
            "basic_auth": { "username": "prometheus", "password": host.keys().admin },
            "queue_config": { "batch_send_deadline": "500ms" },
            "metadata_config": { "send_interval": "2s" },
        }],
    });
    // JSON is YAML.
    std::fs::write(folder.join("prometheus.yml"), settings.to_string())?;
    client().post(format!("{}/-/reload", prometheus.url)).send()?.error_for_status()?;
    Ok(Some(prometheus))
}

fn ask_prometheus(prometheus: &Beside, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
    let url = reqwest::Url::parse_with_params(&format!("{}{path}", prometheus.url), parameters)?;
    Ok(expect_json(client().get(url).send()?, 200)?["data"].clone())
}

fn ask(host: &Host, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
    let request = host.request_with("GET", &format!("/prometheus{path}"), parameters);
    let answer = expect_json(request.bearer_auth(&host.keys().admin).send()?, 200)?;
    Ok(answer["data"].clone())
}

/// Waits until `found` finds something.
fn wait<T>(what: &str, mut found: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(found) = found()? {
            return Ok(found);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    bail!("{what} did not come in {PATIENCE:?}")
}

/// The value of an instant query of one element, if there is one.
fn value(host: &Host, query: &str) -> Result<Option<f64>> {
    let data = ask(host, "/api/v1/query", &[("query", query)])?;
    Ok(data["result"][0]["value"][1].as_str().and_then(|text| text.parse().ok()))
}

/// The lines of a matrix, by their labels.
fn lines(data: &Value) -> Result<BTreeMap<String, Vec<(String, f64)>>> {
    ensure!(data["resultType"] == "matrix", "{data}");
    let mut lines = BTreeMap::new();
    for line in data["result"].as_array().context("a list")? {
        let labels: BTreeMap<&String, &Value> =
            line["metric"].as_object().context("labels")?.iter().collect();
        let mut points = Vec::new();
        for point in line["values"].as_array().context("points")? {
            let text = point[1].as_str().context("a text")?;
            points.push((point[0].to_string(), text.parse().with_context(|| text.to_owned())?));
        }
        lines.insert(format!("{labels:?}"), points);
    }
    Ok(lines)
}

/// Whether two numbers are the same, but for the order in which sums were made.
fn alike(one: f64, other: f64) -> bool {
    one == other || one.is_nan() && other.is_nan() || (one - other).abs() <= 1e-9 * one.abs().max(other.abs())
}

const QUESTIONS: [&str; 31] = [
    "up",
    "go_goroutines",
    "up offset 3s",
    "up * 2 + 1",
    "go_goroutines > bool 10",
    "sum(go_goroutines) without (instance)",
    r#"rate(prometheus_http_requests_total{handler="/metrics"}[10s])"#,
    r#"sum by (code) (increase(prometheus_http_requests_total{handler="/metrics"}[10s]))"#,
    "rate(prometheus_tsdb_head_samples_appended_total[10s])",
    "irate(process_cpu_seconds_total[5s])",
    r#"histogram_quantile(0.9, sum by (le) (rate(prometheus_http_response_size_bytes_bucket{handler="/metrics"}[15s])))"#,
    "avg_over_time(go_goroutines[8s])",
    "max_over_time(process_resident_memory_bytes[5s])",
    "stddev_over_time(go_memstats_alloc_bytes[9s])",
    "quantile_over_time(0.3, go_memstats_alloc_bytes[9s])",
    "deriv(go_memstats_alloc_bytes[10s])",
    "predict_linear(go_memstats_alloc_bytes[10s], 60)",
    "delta(go_memstats_alloc_bytes[10s])",
    "changes(go_memstats_alloc_bytes[10s])",
    "resets(go_memstats_alloc_bytes[10s])",
    r#"count by (__name__) ({__name__=~"go_memstats_.+", job!=""})"#,
    r#"label_replace(up, "host", "$1", "instance", "(.*):.*")"#,
    "max_over_time(rate(prometheus_tsdb_head_samples_appended_total[5s])[10s:2s])",
    "go_memstats_alloc_bytes / on(instance, job) group_left go_goroutines",
    "holt_winters(go_memstats_alloc_bytes[10s], 0.4, 0.3)",
    "present_over_time(go_memstats_alloc_bytes[5s])",
    "absent_over_time(nothing_of_this_name[5s])",
    "go_goroutines @ end() - go_goroutines @ start()",
    r#"avg_over_time((go_memstats_alloc_bytes - go_memstats_heap_idle_bytes)[10s:3s] offset 2s)"#,
    "absent(nothing_of_this_name)",
    "max(go_gc_duration_seconds) or nothing_of_this_name",
];

#[test]
fn prometheus_writes_to_it_and_both_answer_alike() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let Some(prometheus) = start(folder.path(), &host)? else { return Ok(()) };
    wait("so many samples", || {
        Ok(value(&host, "count_over_time(up[2m])")?.filter(|count| *count >= SAMPLED as f64))
    })?;
    // Half a second beside the scrapes, so that no sample lies where one version's windows end and another's do not.
    let scraped = value(&host, "timestamp(up)")?.context("it is up")?;
    let (end, start) = (scraped + 0.5, scraped + 0.5 - (SAMPLED - 20) as f64);
    wait("the last of what is asked about", || {
        Ok(value(&host, "timestamp(up)")?.filter(|time| *time > end + 2.0))
    })?;
    let (start, end) = (format!("{start:.3}"), format!("{end:.3}"));
    let mut compared = 0;
    for question in QUESTIONS {
        let parameters = [("query", question), ("start", &*start), ("end", &*end), ("step", "1")];
        let theirs = lines(&ask_prometheus(&prometheus, "/api/v1/query_range", &parameters)?)?;
        let ours = lines(&ask(&host, "/api/v1/query_range", &parameters)?)?;
        ensure!(
            ours.keys().eq(theirs.keys()),
            "{question}: the lines are\n{:?}\nexpected\n{:?}",
            ours.keys(),
            theirs.keys()
        );
        for ((labels, ours), theirs) in ours.iter().zip(theirs.values()) {
            let same = ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(one, other)| one.0 == other.0 && alike(one.1, other.1));
            ensure!(same, "{question}: {labels} is\n{ours:?}\nexpected\n{theirs:?}");
            compared += ours.len();
        }
    }
    ensure!(compared > 1000, "only {compared} values were compared");
    println!("{} questions, {compared} values alike", QUESTIONS.len());
    let series =
        |data: Value| data.as_array().map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>());
    let matching = [("match[]", r#"{__name__=~"go_.+"}"#)];
    let (ours, theirs) =
        (ask(&host, "/api/v1/series", &matching)?, ask_prometheus(&prometheus, "/api/v1/series", &matching)?);
    let sorted = |data| {
        let mut all = series(data).unwrap_or_default();
        all.sort();
        all
    };
    ensure!(sorted(ours.clone()) == sorted(theirs), "{ours}");
    let known = wait("metadata", || {
        let known = ask(&host, "/api/v1/metadata", &[("metric", "go_goroutines")])?;
        Ok(Some(known).filter(|known| known["go_goroutines"].is_array()))
    })?;
    let theirs = ask_prometheus(&prometheus, "/api/v1/metadata", &[("metric", "go_goroutines")])?;
    ensure!(known == theirs, "{known}");
    drop(prometheus);
    host.stop()
}

#[test]
fn every_refusal_is_in_prometheus_format() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let admin = host.keys().admin.clone();
    let reader = host.reader()?;
    let query = |text: &str| host.request_with("GET", "/prometheus/api/v1/query", &[("query", text)]);
    let write = || {
        // An empty block of snappy.
        let request = host.request("POST", "/prometheus/api/v1/write").body(vec![0_u8]);
        request.header("content-encoding", "snappy").header("content-type", "application/x-protobuf")
    };
    for (request, status, kind) in [
        (query("1"), 401, "unauthorized"),
        (query("1").basic_auth("anybody", Some("wrong")), 401, "unauthorized"),
        (query("1 +").bearer_auth(&admin), 400, "bad_data"),
        (query("foo(up)").basic_auth("anybody", Some(&admin)), 400, "bad_data"),
        (query("up{job=~\"(\"}").bearer_auth(&admin), 400, "bad_data"),
        (write(), 401, "unauthorized"),
        (write().body("no block").bearer_auth(&admin), 400, "bad_data"),
        (host.request("GET", "/prometheus/api/v1/nothing"), 404, "not_found"),
    ] {
        let answer = expect_json(request.send()?, status)?;
        ensure!(answer["status"] == "error" && answer["errorType"] == kind, "{answer} should be {kind}");
    }
    // As deep as an expression may be, the component's stack has room for it.
    let deep = format!("{}vector(1){}", "abs(".repeat(63), ")".repeat(63));
    let answer = expect_json(query(&deep).bearer_auth(&admin).send()?, 200)?;
    ensure!(answer["data"]["result"][0]["value"][1] == "1", "{answer}");
    ensure!(write().bearer_auth(&admin).send()?.status() == 204);
    let answer = expect_json(query("1 + 1").basic_auth("anybody", Some(&reader)).send()?, 200)?;
    ensure!(answer["data"]["result"][1] == "2", "{answer}");
    host.stop()
}
