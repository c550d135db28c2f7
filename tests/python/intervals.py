"""An independent computation of daily values from a CSV: arguments are the file and the time zone. Prints JSON.

A file without the column `host` is one series, named "". Beside the aggregates of the values, `rows` counts all rows that
have a time."""

import json
import sys

import pandas

file, zone = sys.argv[1:]
frame = pandas.read_csv(file)
if "host" not in frame:
    frame["host"] = ""
frame["value"] = pandas.to_numeric(frame["value"], errors="coerce")
frame["time"] = pandas.to_datetime(frame["timestamp"], errors="coerce", utc=True)
frame = frame.dropna(subset=["time"])
frame["day"] = frame["time"].dt.tz_convert(zone).dt.normalize()
rows = frame.groupby(["host", "day"]).size()
days = frame.dropna(subset=["value"]).groupby(["host", "day"])["value"]
result = {}
for kind, values in (("sum", days.sum()), ("count", days.count()), ("min", days.min()), ("max", days.max()), ("average", days.mean()), ("rows", rows)):
    for (host, day), value in values.items():
        start = day.tz_convert("UTC").strftime("%Y-%m-%dT%H:%M:%SZ")
        result.setdefault(kind, {}).setdefault(host, {})[start] = float(value)
json.dump(result, sys.stdout)
