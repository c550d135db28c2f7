"""Fetches a list as JSON and picks some of its items at random."""

import datetime
import json
import random
import time
import urllib.error
import urllib.request

import outside
from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.app import AppError, Description, Output, Retry_No, Retry_Yes
from wit_world.imports.types import Input, NamedValue, Value_Integer, Value_Json, Value_Text, ValueType

outside.install()


class App(exports.App):
    def describe(self):
        return Description(
            summary="Picks items of a JSON list at random.",
            inputs=[
                Input("url", ValueType.TEXT, True, None, [], False, "Where the list is."),
                Input("count", ValueType.INTEGER, False, "3", [], False, "How many to pick."),
            ],
            outputs=[
                Output("picked", ValueType.JSON, "The items, in no order."),
                Output("total", ValueType.INTEGER, "How many there were."),
                Output("picked_at", ValueType.TEXT, "When, as RFC 3339 in UTC."),
            ],
        )

    def run(self, call, inputs):
        given = {named.name: named.value.value for named in inputs}
        began = time.monotonic()
        items = fetch(given["url"])
        if not isinstance(items, list):
            raise refused(f"expected a JSON list, {given['url']} has a {type(items).__name__}")
        picked = random.sample(items, min(given["count"], len(items)))
        print(f"picked {len(picked)} of {len(items)} items in {time.monotonic() - began:.3f} s")
        now = datetime.datetime.now(datetime.timezone.utc)
        return [
            NamedValue("picked", Value_Json(json.dumps(picked))),
            NamedValue("total", Value_Integer(len(items))),
            NamedValue("picked_at", Value_Text(now.isoformat(timespec="milliseconds"))),
        ]


def fetch(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise refused(f"{url} answered {error.code}", again=error.code >= 500)
    except urllib.error.URLError as error:
        raise refused(f"{url} was not reached: {error.reason}", again=True)
    except ValueError as error:
        raise refused(f"{url} is not JSON: {error}")


def refused(message, again=False):
    return Err(AppError(message, Retry_Yes() if again else Retry_No()))
