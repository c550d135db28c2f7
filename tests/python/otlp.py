"""OpenTelemetry's own SDK and exporter against a running host: arguments are the host's URL and a key.

Prints one line per promise; fails at the first that does not hold.
"""

import json
import sys
import time

import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExportResult, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

base, key = sys.argv[1:]
endpoint = f"{base}/otlp/v1/metrics"
bearer = {"authorization": f"Bearer {key}"}


def holds(promise, condition, seen=None):
    """Prints the promise, or ends the run with what was seen."""
    if not condition:
        sys.exit(f"does not hold: {promise}: {seen!r}")
    print(promise)


def ask(query):
    """The values of an instant query in PromQL, by their labels."""
    answer = requests.get(f"{base}/prometheus/api/v1/query", params={"query": query}, headers=bearer, timeout=30)
    answer.raise_for_status()
    return [(element["metric"], float(element["value"][1])) for element in answer.json()["data"]["result"]]


def value(query):
    found = ask(query)
    return found[0][1] if len(found) == 1 else found


def exporter(headers=None, **options):
    """One that keeps how each of its exports ended."""
    made = OTLPMetricExporter(endpoint=endpoint, headers=bearer if headers is None else headers, **options)
    made.results = []
    export = made.export

    def watched(*arguments, **keywords):
        result = export(*arguments, **keywords)
        made.results.append(result)
        return result

    made.export = watched
    return made


def provider(sink, service, instance, views=()):
    reader = PeriodicExportingMetricReader(sink, export_interval_millis=3_600_000)
    resource = Resource.create(
        {"service.name": service, "service.namespace": "shop", "service.instance.id": instance, "host.name": "web-1"}
    )
    return MeterProvider(metric_readers=[reader], resource=resource, views=views)


# Everything an SDK measures, cumulative as it does by itself, in gzip.
cumulative = exporter(compression=Compression.Gzip)
first = provider(
    cumulative,
    "api",
    "pod-1",
    views=[View(instrument_name="payload.size", aggregation=ExponentialBucketHistogramAggregation())],
)
meter = first.get_meter("shop.meter", "1.2")
requests_made = meter.create_counter("http.requests", unit="{request}", description="Requests made.")
open_now = meter.create_up_down_counter("http.open", unit="{connection}")
duration = meter.create_histogram("http.duration", unit="s", explicit_bucket_boundaries_advisory=[0.1, 0.5, 1, 5])
size = meter.create_histogram("payload.size", unit="By")
meter.create_observable_gauge("cpu.utilization", [lambda _: [Observation(0.25, {"cpu": 0})]], unit="1")

requests_made.add(3, {"http.route": "/a", "ok": True})
requests_made.add(4, {"http.route": "/b", "ok": True})
open_now.add(5)
open_now.add(-2)
for seconds in [0.05, 0.2, 0.3, 0.4, 0.7, 2.0]:
    duration.record(seconds)
for bytes_sent in [100, 200, 300, 400, 500, 1000, 2000, 4000, 0]:
    size.record(bytes_sent)
holds("a cumulative export is taken", first.force_flush() and cumulative.results == [MetricExportResult.SUCCESS], cumulative.results)

counted = ask('http_requests_total{http_route="/a"}')
expected = {
    "__name__": "http_requests_total",
    "http_route": "/a",
    "ok": "true",
    "job": "shop/api",
    "instance": "pod-1",
    "host_name": "web-1",
    "otel_scope_name": "shop.meter",
    "otel_scope_version": "1.2",
}
labels = {name: counted[0][0].get(name) for name in expected} if len(counted) == 1 else counted
holds("a counter has its name, attributes, sender and scope", labels == expected and counted[0][1] == 3, counted)
holds("a sum over attributes", value("sum(http_requests_total)") == 7)
holds("an up-down counter is a level", value("http_open") == 3)
holds("a gauge of the unit 1 is a ratio", value('cpu_utilization_ratio{cpu="0"}') == 0.25)
holds("a histogram has its count and sum", value("http_duration_seconds_count") == 6 and abs(value("http_duration_seconds_sum") - 3.65) < 1e-9)
holds("a bucket counts what lies up to its bound", value('http_duration_seconds_bucket{le="0.5"}') == 4)
median = value("histogram_quantile(0.5, http_duration_seconds_bucket)")
holds("a quantile is between the bounds of its bucket", 0.1 < median <= 0.5, median)
median = value("histogram_quantile(0.5, payload_size_bytes_bucket)")
holds("a quantile of an exponential histogram is near", abs(median - 400) <= 0.2 * 400, median)
holds("an exponential histogram has its count and sum", value("payload_size_bytes_count") == 9 and value("payload_size_bytes_sum") == 8500)

time.sleep(1.1)
requests_made.add(2, {"http.route": "/a", "ok": True})
duration.record(0.2)
holds("a later export is taken", first.force_flush() and cumulative.results[-1] == MetricExportResult.SUCCESS)
grown = value('http_requests_total{http_route="/a"} - http_requests_total{http_route="/a"} offset 1s')
holds("a counter goes on", value('http_requests_total{http_route="/a"}') == 5 and grown == 2, grown)
least = value('min_over_time(http_requests_total{http_route="/a"}[1m])')
holds("and began at zero, when its stream says it did", least == 0, least)

# Deltas, plain.
delta = AggregationTemporality.DELTA
deltas = exporter(preferred_temporality={Counter: delta, Histogram: delta})
second = provider(deltas, "worker", "pod-2")
meter = second.get_meter("shop.meter")
jobs = meter.create_counter("jobs.done")
took = meter.create_histogram("jobs.took", unit="ms", explicit_bucket_boundaries_advisory=[10, 100])
for done in [2, 5]:
    jobs.add(done, {"queue": "mail"})
    took.record(50)
    holds(f"a delta of {done} is taken", second.force_flush() and deltas.results[-1] == MetricExportResult.SUCCESS)
    time.sleep(0.01)
holds("deltas add up", value("sum_over_time(jobs_done[1m])") == 7)
quantile = value("histogram_quantile(0.5, sum by (le) (sum_over_time(jobs_took_milliseconds_bucket[1m])))")
holds("so do the buckets of delta histograms", 10 < quantile <= 100, quantile)
known = requests.get(f"{base}/v1/series/metrics/jobs_done", headers=bearer, timeout=30).json()
holds("a delta's metric is a count", known["kind"] == "count", known)
known = requests.get(f"{base}/v1/series/metrics/http_requests_total", headers=bearer, timeout=30).json()
holds("unit and description are kept", (known["unit"], known["description"]) == ("request", "Requests made."), known)

# Who is not known.
stranger = exporter(headers={"authorization": "Bearer wrong"})
third = provider(stranger, "stranger", "pod-3")
third.get_meter("shop.meter").create_counter("never").add(1)
third.force_flush()
holds("a wrong key is refused", stranger.results == [MetricExportResult.FAILURE], stranger.results)
holds("and leaves nothing", ask("never_total") == [])

# JSON, by hand.
now = time.time_ns()
point = {"timeUnixNano": str(now), "asInt": "42", "attributes": [{"key": "shard", "value": {"intValue": "7"}}]}
timeless = {"timeUnixNano": "0", "asDouble": 1.5}
metrics = [{"name": "by.hand", "unit": "s", "gauge": {"dataPoints": [point, timeless]}}]
message = {"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]}


def post(body, **headers):
    headers = {"content-type": "application/json", **bearer, **headers}
    return requests.post(endpoint, data=body, headers=headers, timeout=30)


answer = post(json.dumps(message))
partial = answer.json()["partialSuccess"]
holds("JSON is taken, but for a point without a time", answer.status_code == 200 and partial["rejectedDataPoints"] == "1", partial)
holds("which is named", "metrics[0].gauge.data_points[1].time_unix_nano is 0" in partial["errorMessage"], partial)
holds("the other is there", value('by_hand_seconds{shard="7"}') == 42)
metrics[0]["gauge"]["dataPoints"] = [point]
answer = post(json.dumps(message))
holds("to send it again changes nothing", answer.status_code == 200 and answer.json() == {} and value("by_hand_seconds") == 42)
for body, headers, status, code, said in [
    ("{", {}, 400, 3, "EOF"),
    ('{"resourceMetrics": 5}', {}, 400, 3, "resourceMetrics is \"5\", expected a list"),
    (b"\xff", {"content-type": "application/x-protobuf"}, 400, None, None),
    ("{}", {"content-type": "text/plain"}, 415, 3, "application/x-protobuf or application/json"),
    ("{}", {"content-encoding": "br"}, 415, 3, "expected deflate, gzip, zstd or none"),
    ("{}", {"authorization": "Bearer wrong"}, 401, 16, ""),
]:
    answer = post(body, **headers)
    holds(f"{headers or body} is refused with {status}", answer.status_code == status, answer.text)
    if code is None:
        holds("in protobuf", answer.headers["content-type"] == "application/x-protobuf" and answer.content[:2] == b"\x08\x03", answer.content)
    else:
        told = answer.json()
        holds(f"and code {code}", told["code"] == code and said in told["message"], told)

# Names as they come, which an organisation can set.
answer = requests.put(f"{base}/v1/plugins/otlp/settings", json={"settings": {"names": "opentelemetry", "scope": False}}, headers=bearer, timeout=30)
holds("the settings are taken", answer.status_code == 200, answer.text)
holds("JSON is taken under them", post(json.dumps(message)).json() == {})
holds("names are unchanged", value('{"by.hand", shard="7"}') == 42)
