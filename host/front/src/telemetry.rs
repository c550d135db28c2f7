//! What the front counts, and `/metrics` shows: requests by route, method and status, and how long they took.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bellwether_kernel::{OrganisationId, Seldom};
use bellwether_records::RecordKind;
use http::{Method, StatusCode};
use metrics::{
    Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use parking_lot::{Mutex, RwLock};

use crate::services::Services;

const REQUESTS: &str = "bellwether_http_requests_total";
const DURATION: &str = "bellwether_http_request_duration_seconds";
const AT_WORK: &str = "bellwether_http_requests_at_work";
const REPLAYED: &str = "bellwether_http_requests_replayed_total";
const SYNCS: &str = "bellwether_store_syncs_total";
const COMMITS: &str = "bellwether_store_commits_total";
const LOGGED: &str = "bellwether_watched_writes_total";
const DROPPED: &str = "bellwether_watched_writes_dropped_total";
const FREE: &str = "bellwether_store_free_bytes";
const DISK: &str = "bellwether_store_disk_bytes";
const REFUSING: &str = "bellwether_store_refusing";
const SERIES: &str = "bellwether_series";
const SERIES_LIMIT: &str = "bellwether_series_limit";
const RECORDS: &str = "bellwether_records";
const RECORD_BYTES: &str = "bellwether_record_bytes";
const RECORD_SEGMENTS: &str = "bellwether_record_segments";
const RECORD_SEGMENT_BYTES: &str = "bellwether_record_segment_bytes";
const RECORD_CHUNKS: &str = "bellwether_record_chunks";
const MEMORY: &str = "process_resident_memory_bytes";
const UPTIME: &str = "bellwether_uptime_seconds";

/// Upper bounds of the durations' buckets, in seconds: fine where a durable write on a fast disk lies, coarse up to
/// the longest a request may take.
const BUCKETS: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

/// How often histograms are drained while nobody reads `/metrics`; between drains every duration takes 8 bytes.
const UPKEEP: Duration = Duration::from_secs(5);

/// A recorder with the buckets the front's and its neighbours' durations need: every metric that ends in `_seconds`
/// has them. Install it before [`crate::Front::new`], which looks its counters up once.
///
/// # Panics
/// Never: the buckets are not empty.
#[must_use]
pub fn prometheus() -> PrometheusBuilder {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), BUCKETS)
        .expect("there are buckets")
}

/// Keeps the recorder's memory bounded while nobody reads `/metrics`. Never returns: spawn it.
pub async fn keep_up(recorder: PrometheusHandle) {
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        ticks.tick().await;
        recorder.run_upkeep();
    }
}

/// The front's own counters.
pub(crate) struct Telemetry {
    /// One entry for each route there is and each dialect that was called: as many as the host has, not as many as
    /// callers make up.
    routes: RwLock<HashMap<Box<str>, Arc<RouteMeters>>>,
    replayed: Counter,
    /// Those whose series were counted last.
    organisations: Mutex<BTreeSet<OrganisationId>>,
}

/// The counters of one route.
pub(crate) struct RouteMeters {
    route: Box<str>,
    /// Few: the methods and statuses this route has answered.
    seen: RwLock<Vec<(&'static str, StatusCode, Counter, Histogram)>>,
    /// That it could not be answered at present: who is told to come again may do so thousands of times.
    pub(crate) unavailable: Seldom,
}

impl Telemetry {
    pub(crate) fn new() -> Self {
        describe();
        Self { routes: RwLock::default(), replayed: counter!(REPLAYED), organisations: Mutex::default() }
    }

    /// The counters of `route`: a template as `/v1/metrics/{metric}`, never a caller's own path.
    pub(crate) fn route(&self, route: &str) -> Arc<RouteMeters> {
        if let Some(meters) = self.routes.read().get(route) {
            return Arc::clone(meters);
        }
        let meters = || {
            Arc::new(RouteMeters { route: route.into(), seen: RwLock::default(), unavailable: Seldom::new() })
        };
        Arc::clone(self.routes.write().entry(route.into()).or_insert_with(meters))
    }

    /// Counts an answer that was repeated for its `Idempotency-Key`.
    pub(crate) fn replayed(&self) {
        self.replayed.increment(1);
    }
}

impl RouteMeters {
    /// Counts one answer.
    pub(crate) fn answered(&self, method: &Method, status: StatusCode, took: Duration) {
        let method = known(method);
        let count = |requests: &Counter, duration: &Histogram| {
            requests.increment(1);
            duration.record(took.as_secs_f64());
        };
        let same = |seen: &&(&str, StatusCode, Counter, Histogram)| seen.0 == method && seen.1 == status;
        if let Some((_, _, requests, duration)) = self.seen.read().iter().find(same) {
            return count(requests, duration);
        }
        let route = String::from(&*self.route);
        let requests = counter!(REQUESTS, "route" => route.clone(), "method" => method, "status" => status.as_str().to_owned());
        let duration = histogram!(DURATION, "route" => route, "method" => method);
        count(&requests, &duration);
        let mut seen = self.seen.write();
        if seen.iter().find(same).is_none() {
            seen.push((method, status, requests, duration));
        }
    }
}

/// The method's name; one for all that nobody defined, so that callers cannot make up labels.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Sets what is only known when asked.
pub(crate) fn refresh(services: &Services) {
    let health = services.parts.store.health();
    gauge!(AT_WORK).set(services.limits.at_work() as f64);
    gauge!(UPTIME).set(services.started.elapsed().as_secs_f64());
    counter!(SYNCS).absolute(health.syncs);
    counter!(COMMITS).absolute(health.commits);
    let log = services.parts.metrics.log_state();
    counter!(LOGGED).absolute(log.latest);
    counter!(DROPPED).absolute(log.dropped);
    let series = &services.parts.series;
    let counts = series.series_by_organisation();
    for (organisation, count) in &counts {
        gauge!(SERIES, "organisation" => organisation.to_string()).set(*count as f64);
    }
    // What was once shown is until the host ends: of an organisation that is gone, that it has none.
    let there: BTreeSet<_> = counts.into_iter().map(|(organisation, _)| organisation).collect();
    let mut shown = services.telemetry.organisations.lock();
    for gone in shown.difference(&there) {
        gauge!(SERIES, "organisation" => gone.to_string()).set(0.0);
    }
    *shown = there;
    drop(shown);
    gauge!(SERIES_LIMIT).set(series.limits().series as f64);
    for kind in RecordKind::ALL {
        let totals = services.records().totals(kind);
        gauge!(RECORDS, "kind" => kind.plural()).set(totals.records as f64);
        gauge!(RECORD_BYTES, "kind" => kind.plural()).set(totals.size as f64);
        gauge!(RECORD_SEGMENTS, "kind" => kind.plural()).set(totals.segments as f64);
        gauge!(RECORD_SEGMENT_BYTES, "kind" => kind.plural()).set(totals.segment_bytes as f64);
        gauge!(RECORD_CHUNKS, "kind" => kind.plural()).set(totals.chunks as f64);
    }
    gauge!(REFUSING).set(if health.refusing.is_some() { 1.0 } else { 0.0 });
    if let Some(bytes) = health.free_bytes {
        gauge!(FREE).set(bytes as f64);
    }
    if let Some(bytes) = health.disk_bytes {
        gauge!(DISK).set(bytes as f64);
    }
    if let Some(bytes) = resident_memory() {
        gauge!(MEMORY).set(bytes as f64);
    }
}

/// Bytes of memory this process holds, where the system tells.
pub(crate) fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

fn describe() {
    describe_counter!(REQUESTS, Unit::Count, "Requests answered, by route, method and status.");
    describe_histogram!(
        DURATION,
        Unit::Seconds,
        "How long requests took until their answer began, by route and method."
    );
    describe_gauge!(AT_WORK, Unit::Count, "Requests at work.");
    describe_counter!(REPLAYED, Unit::Count, "Answers repeated for their Idempotency-Key.");
    describe_counter!(SYNCS, Unit::Count, "How often the store made its journal durable.");
    describe_counter!(COMMITS, Unit::Count, "Batches committed to the store.");
    describe_counter!(LOGGED, Unit::Count, "Entries the log of watched writes ever had.");
    describe_counter!(
        DROPPED,
        Unit::Count,
        "Entries of that log that were dropped because nobody had read them in time."
    );
    describe_gauge!(FREE, Unit::Bytes, "Bytes free on the store's file system.");
    describe_gauge!(DISK, Unit::Bytes, "Bytes the store takes on disk.");
    describe_gauge!(REFUSING, Unit::Count, "1 while the store takes no writes.");
    describe_gauge!(SERIES, Unit::Count, "Tagged series there are, by organisation.");
    describe_gauge!(SERIES_LIMIT, Unit::Count, "How many one organisation may have.");
    describe_gauge!(RECORDS, Unit::Count, "Events and logs there are, by kind.");
    describe_gauge!(RECORD_BYTES, Unit::Bytes, "What their texts take unpacked, by kind.");
    describe_gauge!(RECORD_SEGMENTS, Unit::Count, "Files they are packed in, by kind.");
    describe_gauge!(RECORD_SEGMENT_BYTES, Unit::Bytes, "What those files take on disk, by kind.");
    describe_gauge!(RECORD_CHUNKS, Unit::Count, "Chunks of them in the store, not yet in files, by kind.");
    describe_gauge!(MEMORY, Unit::Bytes, "Memory the process holds.");
    describe_gauge!(UPTIME, Unit::Seconds, "How long the host has been up.");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_route_method_and_status() {
        let recorder = prometheus().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            let telemetry = Telemetry::new();
            let route = telemetry.route("/v1/samples");
            for status in [StatusCode::OK, StatusCode::OK, StatusCode::BAD_REQUEST] {
                route.answered(&Method::POST, status, Duration::from_millis(3));
            }
            telemetry.route("/v1/samples").answered(
                &Method::from_bytes(b"BREW").unwrap(),
                StatusCode::OK,
                Duration::ZERO,
            );
        });
        let shown = recorder.handle().render();
        for line in [
            r#"bellwether_http_requests_total{route="/v1/samples",method="POST",status="200"} 2"#,
            r#"bellwether_http_requests_total{route="/v1/samples",method="POST",status="400"} 1"#,
            r#"bellwether_http_requests_total{route="/v1/samples",method="other",status="200"} 1"#,
            r#"bellwether_http_request_duration_seconds_bucket{route="/v1/samples",method="POST",le="0.0025"} 0"#,
            r#"bellwether_http_request_duration_seconds_bucket{route="/v1/samples",method="POST",le="0.005"} 3"#,
        ] {
            assert!(shown.contains(line), "{line} is not in\n{shown}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_knows_its_memory() {
        assert!(resident_memory().is_some_and(|bytes| bytes > 1 << 20));
    }
}
