"""ChainPatrol's documented requests against a running host: arguments are its URL and a token.

The numbers are counted here from the events themselves. Prints one line per promise; fails at the first that does not
hold.
"""

import random
import sys
from collections import Counter
from datetime import datetime, timedelta, timezone

import requests

host, token = sys.argv[1:]
url = f"{host}/chainpatrol/api/v2/organization/metrics"


def holds(promise, condition, seen=None):
    """Prints the promise, or ends the run with what was seen."""
    if not condition:
        sys.exit(f"does not hold: {promise}: {seen!r}")
    print(promise)


def get(key=token, **query):
    """The status and the JSON of an answer."""
    answer = requests.get(url, params=query, headers={"X-API-KEY": key} if key else {}, timeout=30)
    return answer.status_code, answer.json()


def iso(time):
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03}Z"


chance = random.Random(7)
first = datetime(2023, 11, 20, tzinfo=timezone.utc)
statuses = ["BLOCKED", "APPROVED", "AUTO_APPROVED", "WATCHLISTED", "REJECTED"]
types = ["URL", "ADDRESS", "TWITTER", "TELEGRAM", "DOMAIN", "DISCORD"]
events = []
for _ in range(3000):
    event = {
        "metric": chance.choice(["reports", "threats", "threats", "threats", "takedowns"]),
        "time": first + timedelta(milliseconds=chance.randrange(90 * 86_400_000)),
        "brand": chance.choice(["my-brand", "other-brand", None]),
        "deleted": chance.random() < 0.05,
    }
    if event["metric"] == "threats":
        event |= {"status": chance.choice(statuses), "type": chance.choice(types)}
    elif event["metric"] == "takedowns":
        event |= {"status": chance.choice(["FILED", "COMPLETED", "REJECTED"])}
    events.append(event)

series = {}
for event in events:
    tags = [f"{key}:{event[key]}" for key in ("status", "type", "brand") if event.get(key)]
    tags += ["deleted:true"] if event["deleted"] else []
    points = series.setdefault((f"chainpatrol.{event['metric']}", tuple(tags)), Counter())
    points[iso(event["time"])] += 1
body = [{"metric": m, "tags": list(tags), "points": list(points.items())} for (m, tags), points in series.items()]
written = requests.post(f"{host}/v1/series", json={"series": body}, headers={"Authorization": f"Bearer {token}"}, timeout=30)
holds("the events are written", written.ok, written.text)


def counted(start=None, end=None, brand=None):
    """What the answer should be."""
    wanted = [
        event
        for event in events
        if not event["deleted"]
        and (start is None or event["time"] >= start)
        and (end is None or event["time"] <= end)
        and (brand is None or event["brand"] == brand)
    ]
    of = lambda metric: [event for event in wanted if event["metric"] == metric]
    blocked = [event for event in of("threats") if event["status"] in ("BLOCKED", "APPROVED", "AUTO_APPROVED")]
    kinds = Counter(event["type"] for event in blocked)
    days = Counter(event["time"].strftime("%Y-%m-%d") for event in blocked)
    watchlisted = sum(event["status"] == "WATCHLISTED" for event in of("threats"))
    return {
        "metrics": {
            "reports": len(of("reports")),
            "newThreats": len(blocked),
            "threatsWatchlisted": 0 if brand else watchlisted,
            "takedownsFiled": len(of("takedowns")),
            "takedownsCompleted": sum(event["status"] == "COMPLETED" for event in of("takedowns")),
            "domainThreats": kinds["URL"] + kinds["DOMAIN"],
            "twitterThreats": kinds["TWITTER"],
            "telegramThreats": kinds["TELEGRAM"],
            "otherThreats": kinds["ADDRESS"] + kinds["DISCORD"],
        },
        "blockedByType": [
            {"type": kind, "count": count} for kind, count in sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
        ],
        "blockedByDay": [{"date": day, "count": count} for day, count in sorted(days.items())],
    }


def same(promise, expected, **query):
    status, answer = get(**query)
    holds(promise, status == 200 and answer == expected, (status, answer, expected))


same("without dates it is all time", counted())
year = datetime(2024, 1, 1, tzinfo=timezone.utc)
same("from a date on", counted(start=year), startDate="2024-01-01T00:00:00Z")
end = datetime(2024, 1, 31, 23, 59, 59, tzinfo=timezone.utc)
same("a month", counted(year, end), startDate=iso(year), endDate=iso(end))
middle = events[0]["time"].replace(microsecond=events[0]["time"].microsecond // 1000 * 1000)
same("up to an instant within a day", counted(end=middle), endDate=iso(middle))
same("one millisecond is a range", counted(middle, middle), startDate=iso(middle), endDate=iso(middle))
same("a range before everything", counted(end=first - timedelta(days=1)), endDate="2023-11-19T00:00:00Z")

message = "API key with organization access required"
unauthorized = {"error": {"code": "UNAUTHORIZED", "message": message}}
for name, key in [("no key", None), ("a wrong key", token[:-1] + ("x" if token[-1] != "x" else "y")), ("no token", "abc")]:
    answer = get(key=key)
    holds(f"{name} is refused as documented", answer == (401, unauthorized), answer)
status, answer = get(startDate="01/02/2024")
holds(
    "a date that is none is refused as documented",
    status == 400 and answer["error"]["code"] == "BAD_REQUEST" and "Invalid date format. Use ISO 8601 format." in answer["error"]["message"],
    answer,
)
status, answer = get(brandSlug="my-brand")
holds("a brand needs the flag", (status, answer["error"]["code"]) == (400, "BAD_REQUEST"), answer)
flag = requests.put(
    f"{host}/v1/plugins/chainpatrol/settings",
    json={"settings": {"brands_metrics": True}},
    headers={"Authorization": f"Bearer {token}"},
    timeout=30,
)
holds("the flag is set", flag.ok, flag.text)
same("a brand's own numbers", counted(brand="my-brand"), brandSlug="my-brand")
same("a brand's own month", counted(year, end, "other-brand"), brandSlug="other-brand", startDate=iso(year), endDate=iso(end))
answer = get(brandSlug="no-brand")
holds("an unknown brand is not found", answer == (404, {"error": {"code": "NOT_FOUND", "message": "Brand not found"}}), answer)
