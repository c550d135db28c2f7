"""The vendor's own clients against a running host: arguments are base URL, API key, application key.

Prints one line per promise; fails at the first that does not hold.
"""

import sys
import time

import datadog
from datadog_api_client import ApiClient, Configuration
from datadog_api_client.exceptions import ApiException, ForbiddenException, NotFoundException
from datadog_api_client.v1.api.authentication_api import AuthenticationApi
from datadog_api_client.v1.api.metrics_api import MetricsApi as MetricsV1
from datadog_api_client.v1.model.distribution_point import DistributionPoint
from datadog_api_client.v1.model.distribution_points_content_encoding import DistributionPointsContentEncoding
from datadog_api_client.v1.model.distribution_points_payload import DistributionPointsPayload
from datadog_api_client.v1.model.distribution_points_series import DistributionPointsSeries
from datadog_api_client.v1.model.metric_content_encoding import MetricContentEncoding as EncodingV1
from datadog_api_client.v1.model.metric_metadata import MetricMetadata
from datadog_api_client.v1.model.metrics_payload import MetricsPayload
from datadog_api_client.v1.model.point import Point
from datadog_api_client.v1.model.series import Series
from datadog_api_client.v2.api.metrics_api import MetricsApi as MetricsV2
from datadog_api_client.v2.model.formula_limit import FormulaLimit
from datadog_api_client.v2.model.metric_content_encoding import MetricContentEncoding as EncodingV2
from datadog_api_client.v2.model.metric_intake_type import MetricIntakeType
from datadog_api_client.v2.model.metric_payload import MetricPayload
from datadog_api_client.v2.model.metric_point import MetricPoint
from datadog_api_client.v2.model.metric_resource import MetricResource
from datadog_api_client.v2.model.metric_series import MetricSeries
from datadog_api_client.v2.model.metrics_aggregator import MetricsAggregator
from datadog_api_client.v2.model.metrics_data_source import MetricsDataSource
from datadog_api_client.v2.model.metrics_scalar_query import MetricsScalarQuery
from datadog_api_client.v2.model.metrics_timeseries_query import MetricsTimeseriesQuery
from datadog_api_client.v2.model.query_formula import QueryFormula
from datadog_api_client.v2.model.scalar_formula_query_request import ScalarFormulaQueryRequest
from datadog_api_client.v2.model.scalar_formula_request import ScalarFormulaRequest
from datadog_api_client.v2.model.scalar_formula_request_attributes import ScalarFormulaRequestAttributes
from datadog_api_client.v2.model.scalar_formula_request_queries import ScalarFormulaRequestQueries
from datadog_api_client.v2.model.scalar_formula_request_type import ScalarFormulaRequestType
from datadog_api_client.v2.model.timeseries_formula_query_request import TimeseriesFormulaQueryRequest
from datadog_api_client.v2.model.timeseries_formula_request import TimeseriesFormulaRequest
from datadog_api_client.v2.model.timeseries_formula_request_attributes import TimeseriesFormulaRequestAttributes
from datadog_api_client.v2.model.timeseries_formula_request_queries import TimeseriesFormulaRequestQueries
from datadog_api_client.v2.model.timeseries_formula_request_type import TimeseriesFormulaRequestType

base, api_key, application_key = sys.argv[1:]


def holds(promise, condition, seen=None):
    """Prints the promise, or ends the run with what was seen."""
    if not condition:
        sys.exit(f"does not hold: {promise}: {seen!r}")
    print(promise)


def refused(kind, call):
    """The body of the error of this kind that a call ends in."""
    try:
        answer = call()
    except ApiException as error:
        holds(f"{call.__doc__} is a {kind.__name__}", isinstance(error, kind), error)
        return error.body
    sys.exit(f"does not hold: {call.__doc__} is refused: {answer!r}")


def client(api_key=api_key, application_key=application_key):
    configuration = Configuration(host=base)
    configuration.api_key["apiKeyAuth"] = api_key
    configuration.api_key["appKeyAuth"] = application_key
    configuration.enable_retry = False
    return ApiClient(configuration)


api = client()
v1, v2 = MetricsV1(api), MetricsV2(api)
now = int(time.time())
minute = now - now % 60 - 120  # a whole one that is over

answer = AuthenticationApi(api).validate()
holds("a good key is valid", answer.valid is True, answer)


def bad_key():
    """a bad key"""
    return AuthenticationApi(client(api_key="wrong")).validate()


body = refused(ForbiddenException, bad_key)
holds("a bad key is told in errors", body["errors"] == ["Forbidden"], body)


def no_application_key():
    """a read with a bad application key"""
    return MetricsV1(client(application_key="wrong")).list_active_metrics(_from=now - 3600)


refused(ForbiddenException, no_application_key)

for number, encoding in enumerate([None, EncodingV1.DEFLATE, EncodingV1.GZIP]):
    payload = MetricsPayload(
        series=[
            Series(
                metric="app.requests",
                type="count",
                interval=10,
                host=f"web-{number}",
                points=[Point([float(minute), 10.0 + number]), Point([float(minute + 10), 5.0])],
                tags=["env:prod", "service:shop"],
            )
        ]
    )
    answer = v1.submit_metrics(payload, **({} if encoding is None else {"content_encoding": encoding}))
    holds(f"v1 points are taken in {encoding}", answer.status == "ok", answer)

for number, encoding in enumerate([None, EncodingV2.DEFLATE, EncodingV2.GZIP, EncodingV2.ZSTD1]):
    payload = MetricPayload(
        series=[
            MetricSeries(
                metric="app.memory",
                type=MetricIntakeType.GAUGE,
                unit="byte",
                points=[MetricPoint(timestamp=minute, value=100.0 * (number + 1))],
                resources=[MetricResource(name=f"web-{number}", type="host")],
                tags=["env:prod"],
            )
        ]
    )
    answer = v2.submit_metrics(payload, **({} if encoding is None else {"content_encoding": encoding}))
    holds(f"v2 points are taken in {encoding}", answer.errors == [], answer)

values = [float(value) for value in range(1, 101)]
for encoding in [None, DistributionPointsContentEncoding.DEFLATE]:
    payload = DistributionPointsPayload(
        series=[
            DistributionPointsSeries(
                metric="app.latency", host="web-0", points=[DistributionPoint([float(minute), values])], tags=["env:prod"]
            )
        ]
    )
    answer = v1.submit_distribution_points(payload, **({} if encoding is None else {"content_encoding": encoding}))
    holds(f"distribution points are taken in {encoding}", answer.status == "ok", answer)


def ask(query):
    answer = v1.query_metrics(_from=minute, to=minute + 59, query=query)
    holds(f"{query} is answered", answer.status == "ok" and answer.res_type == "time_series", answer)
    holds("with the times it was asked for", (answer.from_date, answer.to_date) == (minute * 1000, (minute + 59) * 1000), answer)
    return answer.series


def point(series):
    """A line's only point."""
    points = [point.value for point in series.pointlist]
    holds("one step is one point", len(points) == 1 and series.length == 1 and points[0][0] == minute * 1000, points)
    return points[0][1]


lines = ask("sum:app.requests{env:prod} by {host}.rollup(sum, 60)")
seen = {line.tag_set[0]: point(line) for line in lines}
holds("every v1 point is counted", seen == {"host:web-0": 15.0, "host:web-1": 16.0, "host:web-2": 17.0}, seen)
holds("a line says what it is", lines[0].metric == "app.requests" and lines[0].aggr == "sum" and lines[0].interval == 60, lines[0])
lines = ask("avg:app.memory{host:web-3}.rollup(avg, 60)")
holds("zstd's points are there", point(lines[0]) == 400.0, lines)
holds("the unit came with them", lines[0].unit[0].name == "byte" and lines[0].unit[1] is None, lines[0].unit)
lines = ask("max:app.latency{*}.rollup(max, 60),sum:app.latency{*}.rollup(count, 60)")
holds("no value of a distribution is lost, and the same payload is kept once", [point(line) for line in lines] == [100.0, 100.0], lines)
holds("each line says of which query it is", [line.query_index for line in lines] == [0, 1], lines)
holds("a metric that is not there has no lines", ask("avg:app.none{*}") == [])


def bad_query():
    """a query that does not read"""
    return v1.query_metrics(_from=minute, to=now, query="avg:app.memory{")


body = refused(ApiException, bad_query)
holds("its error names the parameter", "The value provided for parameter 'query' is invalid" in body["errors"][0], body)

found = v1.list_metrics("metrics:app.m").results.metrics
holds("search finds by a part", found == ["app.memory"], found)
active = v1.list_active_metrics(_from=minute - 60)
holds("active metrics are listed", active.metrics == ["app.latency", "app.memory", "app.requests"], active)
holds("since when is told as a text", active._from == str(minute - 60), active)
active = v1.list_active_metrics(_from=minute - 60, host="web-3", tag_filter="env:prod")
holds("active metrics of a host and tag", active.metrics == ["app.memory"], active)
active = v1.list_active_metrics(_from=now + 1800)
holds("what is over is not active", active.metrics == [], active)

known = v1.get_metric_metadata("app.requests")
holds("type and interval came with the points", (known.type, known.statsd_interval) == ("count", 10), known)
changed = v1.update_metric_metadata("app.requests", MetricMetadata(description="Requests.", unit="request", per_unit="second"))
known = v1.get_metric_metadata("app.requests")
holds("metadata is changed field by field", (known.type, known.unit, known.per_unit, known.description) == ("count", "request", "second", "Requests."), known)
holds("and the change is answered", changed.description == "Requests.", changed)


def no_metric():
    """metadata of a metric that is not there"""
    return v1.get_metric_metadata("app.none")


refused(NotFoundException, no_metric)

listed = [metric.id for metric in v2.list_tag_configurations().data]
holds("v2 lists metrics", listed == ["app.latency", "app.memory", "app.requests"], listed)
pages = [metric.id for metric in v2.list_tag_configurations_with_pagination(page_size=2)]
holds("in pages", pages == listed, pages)
tags = v2.list_tags_by_metric_name("app.requests").data.attributes.tags
holds("all tags of a metric", tags == ["env:prod", "host:web-0", "host:web-1", "host:web-2", "service:shop"], tags)

request = TimeseriesFormulaQueryRequest(
    data=TimeseriesFormulaRequest(
        type=TimeseriesFormulaRequestType.TIMESERIES_REQUEST,
        attributes=TimeseriesFormulaRequestAttributes(
            _from=minute * 1000,
            to=minute * 1000 + 59_000,
            interval=60_000,
            queries=TimeseriesFormulaRequestQueries(
                [
                    MetricsTimeseriesQuery(data_source=MetricsDataSource.METRICS, query="sum:app.requests{*} by {host}", name="a"),
                    MetricsTimeseriesQuery(data_source=MetricsDataSource.METRICS, query="sum:app.memory{*} by {host}", name="b"),
                ]
            ),
            formulas=[QueryFormula(formula="b / a"), QueryFormula(formula="a", limit=FormulaLimit(count=1))],
        ),
    )
)
attributes = v2.query_timeseries_data(request).data.attributes
holds("a formula is reckoned", attributes.values.value[0].value == [100.0 / 15.0], attributes)
holds("its lines say their tags", attributes.series.value[0].group_tags.value == ["host:web-0"], attributes)
indices = [series.query_index for series in attributes.series.value]
holds("a limit cuts no timeseries", indices.count(0) == 3 and indices.count(1) >= 3, attributes)
holds("times are shared", attributes.times.value == [minute * 1000], attributes)


def scalar(query, **more):
    request = ScalarFormulaQueryRequest(
        data=ScalarFormulaRequest(
            type=ScalarFormulaRequestType.SCALAR_REQUEST,
            attributes=ScalarFormulaRequestAttributes(
                _from=minute * 1000,
                to=minute * 1000 + 59_000,
                queries=ScalarFormulaRequestQueries(
                    [MetricsScalarQuery(data_source=MetricsDataSource.METRICS, query=query, aggregator=MetricsAggregator.SUM, name="a")]
                ),
                **more,
            ),
        )
    )
    return v2.query_scalar_data(request).data.attributes.columns


columns = scalar("sum:app.requests{*}")
holds("a scalar is one number", [column.values for column in columns] == [[48.0]], columns)
columns = scalar("sum:app.requests{*} by {host}", formulas=[QueryFormula(formula="a", limit=FormulaLimit(count=1))])
holds("a limit holds", [len(column.values) for column in columns] == [1, 1], columns)

# The older client: keys in headers, raises where an answer has errors.
datadog.initialize(api_key=api_key, app_key=application_key, api_host=base, mute=False, hostname_from_config=False)
answer = datadog.api.Metric.send(metric="old.load", points=[(minute, 1), (minute + 1, 3)], host="web-9", tags=["env:prod"], type="gauge")
holds("the older client sends", answer == {"status": "ok"}, answer)
answer = datadog.api.Metric.send(metrics=[{"metric": "old.load", "points": (float(minute) + 2.5, 5)}], compress_payload=True, attach_host_name=False)
holds("compressed too", answer == {"status": "ok"}, answer)
answer = datadog.api.Distribution.send(distributions=[{"metric": "old.latency", "points": [(minute, [1, 2, 3])]}])
holds("and distributions", answer == {"status": "ok"}, answer)
answer = datadog.api.Metric.query(start=minute, end=minute + 59, query="avg:old.load{*} by {host}.rollup(avg, 60)")
seen = {series["scope"]: series["pointlist"][0][1] for series in answer["series"]}
holds("and queries", seen.get("host:web-9") == 2.0 and len(seen) == 2, seen)
answer = datadog.api.Metric.list(minute - 60)
holds("and lists", "old.load" in answer["metrics"], answer)
answer = datadog.api.Infrastructure.search(q="metrics:old")
holds("and searches", answer["results"]["metrics"] == ["old.latency", "old.load"], answer)
answer = datadog.api.Metadata.update(metric_name="old.load", type="rate", description="Old.")
holds("and describes", datadog.api.Metadata.get(metric_name="old.load")["type"] == "rate", answer)
