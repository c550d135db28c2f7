"""The vendor's own clients against a running host, for events and logs: arguments are base URL, API key, application key.

Prints one line per promise; fails at the first that does not hold.
"""

import sys
import time
from datetime import datetime, timezone

import datadog
from datadog_api_client import ApiClient, Configuration
from datadog_api_client.exceptions import ApiException
from datadog_api_client.v1.api.events_api import EventsApi as EventsV1
from datadog_api_client.v1.api.logs_api import LogsApi as LogsV1
from datadog_api_client.v1.model.event_alert_type import EventAlertType
from datadog_api_client.v1.model.event_create_request import EventCreateRequest
from datadog_api_client.v1.model.event_priority import EventPriority
from datadog_api_client.v1.model.http_log import HTTPLog as HTTPLogV1
from datadog_api_client.v1.model.http_log_item import HTTPLogItem as HTTPLogItemV1
from datadog_api_client.v1.model.logs_list_request import LogsListRequest as ListV1
from datadog_api_client.v1.model.logs_list_request_time import LogsListRequestTime
from datadog_api_client.v1.model.logs_sort import LogsSort as SortV1
from datadog_api_client.v2.api.events_api import EventsApi as EventsV2
from datadog_api_client.v2.api.logs_api import LogsApi as LogsV2
from datadog_api_client.v2.model.content_encoding import ContentEncoding
from datadog_api_client.v2.model.events_list_request import EventsListRequest
from datadog_api_client.v2.model.events_query_filter import EventsQueryFilter
from datadog_api_client.v2.model.events_request_page import EventsRequestPage
from datadog_api_client.v2.model.events_sort import EventsSort
from datadog_api_client.v2.model.http_log import HTTPLog
from datadog_api_client.v2.model.http_log_item import HTTPLogItem
from datadog_api_client.v2.model.logs_list_request import LogsListRequest
from datadog_api_client.v2.model.logs_list_request_page import LogsListRequestPage
from datadog_api_client.v2.model.logs_query_filter import LogsQueryFilter
from datadog_api_client.v2.model.logs_sort import LogsSort

base, api_key, application_key = sys.argv[1:]


def holds(promise, condition, seen=None):
    """Prints the promise, or ends the run with what was seen."""
    if not condition:
        sys.exit(f"does not hold: {promise}: {seen!r}")
    print(promise)


def refused(status, call):
    """The body of the error of this status that a call ends in."""
    try:
        answer = call()
    except ApiException as error:
        holds(f"{call.__doc__} is refused with {status}", error.status == status, error)
        return error.body
    sys.exit(f"does not hold: {call.__doc__} is refused: {answer!r}")


configuration = Configuration(host=base)
configuration.api_key["apiKeyAuth"] = api_key
configuration.api_key["appKeyAuth"] = application_key
configuration.enable_retry = False
api = ApiClient(configuration)
now = int(time.time())

# Events of the first version.
v1 = EventsV1(api)
created = v1.create_event(
    EventCreateRequest(
        title="Deployed shop",
        text="Version 1.4.2",
        date_happened=now - 30,
        priority=EventPriority.NORMAL,
        host="web-1",
        tags=["env:prod", "service:shop"],
        alert_type=EventAlertType.SUCCESS,
        aggregation_key="deploy-shop",
        source_type_name="jenkins",
        device_name="sda",
        related_event_id=12,
    )
)
event = created.event
holds("an event is created", created.status == "ok" and event.title == "Deployed shop", created)
holds("its id is a whole number and a text", str(event.id) == event.id_str and event.id < 2**53, event)
got = v1.get_event(event.id).event
holds("it is got by its id", (got.text, got.date_happened, got.host) == ("Version 1.4.2", now - 30, "web-1"), got)
v1.create_event(EventCreateRequest(title="Low", text="x", priority=EventPriority.LOW, tags=["env:dev"]))


def titles(**filters):
    listed = v1.list_events(start=now - 3600, end=now + 3600, **filters)
    return [event.title for event in listed.events]


holds("events are listed, the newest first", titles() == ["Low", "Deployed shop"], titles())
holds("by priority", titles(priority=EventPriority.LOW) == ["Low"], titles(priority=EventPriority.LOW))
holds("by source", titles(sources="jenkins,chef") == ["Deployed shop"], titles(sources="jenkins,chef"))
holds("by tags", titles(tags="env:prod,service:shop") == ["Deployed shop"], titles(tags="env:prod"))
holds("without those of an aggregation", titles(unaggregated=True, exclude_aggregate=True) == ["Low"])
holds("in pages", titles(unaggregated=True, page=1) == [])


def no_event():
    """an event that is not there"""
    return v1.get_event(999999)


holds("and told in errors", refused(404, no_event)["errors"] == ["No event matches that event_id."])

# Events of the second.
v2 = EventsV2(api)
found = v2.search_events(
    body=EventsListRequest(
        filter=EventsQueryFilter(query="service:shop status:success", _from="now-15m", to="now"),
        page=EventsRequestPage(limit=5),
        sort=EventsSort.TIMESTAMP_DESCENDING,
    )
)
inner = found.data[0].attributes.attributes
holds("events are searched", len(found.data) == 1 and inner.title == "Deployed shop", found)
holds("and say what they said", (inner.hostname, inner.source_type_name) == ("web-1", "jenkins"), inner)
holds("how long it took is a whole number", isinstance(found.meta.elapsed, int), found.meta)
found = v2.list_events(filter_query="env:*", filter_from="now-1h", sort=EventsSort.TIMESTAMP_ASCENDING, page_limit=1)
holds("they are listed in pages", found.data[0].attributes.message == "Version 1.4.2" and found.meta.page.after, found)
pages = [item.attributes.attributes.title for item in v2.list_events_with_pagination(filter_query="env:*", filter_from="now-1h", page_limit=1)]
holds("which follow each other", pages == ["Low", "Deployed shop"], pages)


def bad_search():
    """a search that does not read"""
    return v2.list_events(filter_query="service:(a")


holds("and told where", "column 11" in refused(400, bad_search)["errors"][0])

# Logs.
logs_v2, logs_v1 = LogsV2(api), LogsV1(api)
for number, encoding in enumerate([None, ContentEncoding.DEFLATE, ContentEncoding.GZIP]):
    body = HTTPLog(
        [
            HTTPLogItem(
                ddsource="nginx",
                ddtags="env:staging,version:5.1",
                hostname="i-012345678",
                message=f"request {number} timed out",
                service="payment",
                status="error",
                http={"status_code": 500 + number},
            )
        ]
    )
    more = {} if encoding is None else {"content_encoding": encoding}
    holds(f"logs are taken in {encoding}", logs_v2.submit_log(body, ddtags="team:a", **more) == {})
answer = logs_v1.submit_log(HTTPLogV1([HTTPLogItemV1(message="first version", service="old", ddtags="env:prod")]))
holds("and by the first version", answer == {}, answer)
found = logs_v2.list_logs(
    body=LogsListRequest(
        filter=LogsQueryFilter(
            query='service:payment status:error "timed out" -env:prod @http.status_code:[501 TO 599]',
            indexes=["main"],
            _from="now-15m",
            to="now+1m",
        ),
        sort=LogsSort.TIMESTAMP_ASCENDING,
        page=LogsListRequestPage(limit=5),
    )
)
first = found.data[0].attributes
holds("logs are searched", [log.attributes.message for log in found.data] == ["request 1 timed out", "request 2 timed out"], found)
holds("with their tags", {"env:staging", "team:a", "version:5.1"} <= set(first.tags), first)
holds("and attributes", first.attributes["http"]["status_code"] == 501 and first.host == "i-012345678", first)
holds("and their times", abs(first.timestamp - datetime.now(timezone.utc)).total_seconds() < 600, first)
pages = [log.attributes.message for log in logs_v2.list_logs_get_with_pagination(filter_query="*", filter_from=datetime.fromtimestamp(now - 900, timezone.utc), page_limit=1)]
holds("page by page", len(pages) == 4 and pages[0] == "first version", pages)
whole = LogsListRequest(filter=LogsQueryFilter(query="payment OR timed", _from=str((now - 900) * 1000)), page=LogsListRequestPage(limit=2))
pages = [log.id for log in logs_v2.list_logs_with_pagination(body=whole)]
holds("a search too", len(set(pages)) == 3, pages)
asked = ListV1(
    query="service:old",
    time=LogsListRequestTime(_from=datetime.fromtimestamp(now - 900, timezone.utc), to=datetime.fromtimestamp(now + 60, timezone.utc)),
    sort=SortV1.TIME_DESCENDING,
)
listed = logs_v1.list_logs(asked)
holds("the first version lists them", listed.logs[0].content.message == "first version", listed)


def bad_range():
    """a range that ends before it begins"""
    return logs_v2.list_logs_get(filter_from=datetime.now(timezone.utc), filter_to=datetime.fromtimestamp(0, timezone.utc))


refused(400, bad_range)

# The older client.
datadog.initialize(api_key=api_key, app_key=application_key, api_host=base, mute=False, hostname_from_config=False)
answer = datadog.api.Event.create(title="Old", text="of the older client", tags=["env:prod"], alert_type="info")
holds("the older client creates events", answer["status"] == "ok", answer)
answer = datadog.api.Event.get(answer["event"]["id"])
holds("and gets them", answer["event"]["text"] == "of the older client", answer)
answer = datadog.api.Event.query(start=now - 3600, end=now + 3600, priority="normal", tags=["env:prod"], unaggregated=True)
holds("and queries them", [event["title"] for event in answer["events"]] == ["Old", "Deployed shop"], answer)
body = {"query": "service:old", "time": {"from": f"{(now - 900) * 1000}", "to": f"{(now + 60) * 1000}"}, "limit": 5}
answer = datadog.api.Logs.list(body)
holds("and lists logs", len(answer["logs"]) == 1, answer)
