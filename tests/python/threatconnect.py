"""The vendor's own client against a running host: arguments are base URL, access id, secret, token.

Prints one line per promise; fails at the first that does not hold.
"""

import os
import sys
import tempfile

from tcex import TcEx
from tcex.requests_tc import TcSession
from tcex.requests_tc.auth.hmac_auth import HmacAuth
from tcex.requests_tc.auth.token_auth import TokenAuth
from tcex.input.field_type.sensitive import Sensitive

base, access_id, secret, token = sys.argv[1:]
os.chdir(tempfile.mkdtemp())  # the client writes its log files where it stands


def holds(promise, condition, seen=None):
    """Prints the promise, or ends the run with what was seen."""
    if not condition:
        sys.exit(f"does not hold: {promise}: {seen!r}")
    print(promise)


tcex = TcEx(
    config={
        "tc_api_access_id": access_id,
        "tc_api_secret_key": secret,
        "tc_api_path": base,
        "tc_log_path": "log",
        "tc_out_path": "out",
        "tc_temp_path": "tmp",
        "tc_log_level": "error",
    }
)
v2 = tcex.api.tc.v2

metric = v2.metric("Added Reports", "Added reports daily count.", "Sum", "Daily", keyed=True)
metric.add_keyed(value=1, key="app1")
answer = metric.add_keyed(value=2, key="app1", return_value=True)
holds("a keyed sum answers its running value", answer["value"] == 3.0, answer)
answer = metric.add_keyed(value=42, key="app1", date="2008-12-12T12:12:12Z", return_value=True)
holds("an old date falls into its own day", answer == {"value": 42.0, "date": "2008-12-12T00:00:00Z"}, answer)

again = v2.metric("Added Reports", "Added reports daily count.", "Sum", "Daily", keyed=True)
holds("the client finds its metric again", again._metric_id == metric._metric_id, again._metric_id)

plain = v2.metric("playbook runs", "Average run", "Average", "Hourly")
plain.add(value=10, weight=1)
answer = plain.add(value="40", weight=2, return_value=True)
holds("an average is weighted, and a numeric string is a number", answer["value"] == 30.0, answer)

session = TcSession(auth=HmacAuth(access_id, Sensitive(secret)), base_url=base)
listed = session.get("/v2/customMetrics", params={"resultLimit": 1, "resultStart": 1}).json()
holds("a page holds what was asked for", [m["name"] for m in listed["data"]["customMetricConfig"]] == ["playbook runs"], listed)
holds("a page counts all", listed["data"]["resultCount"] == 2, listed)
odd = session.get("/v2/customMetrics/Added%20Reports", params={"b": "x y+z/ü", "a": "1"})
holds("escapes and order are signed as they are sent", odd.status_code == 200, odd.text)

bearer = TcSession(auth=TokenAuth(Sensitive(token)), base_url=base)
holds("a token does as well", bearer.get("/v2/customMetrics").status_code == 200)
wrong = TcSession(auth=HmacAuth(access_id, Sensitive("wrong")), base_url=base)
refused = wrong.get("/v2/customMetrics")
holds("a wrong secret is refused in the vendor's format", refused.status_code == 401 and refused.json()["status"] == "Failure", refused.text)

deleted = session.delete(f"/v2/customMetrics/{metric._metric_id}")
holds("a metric can be deleted", deleted.ok, deleted.text)
holds("and is gone", session.get(f"/v2/customMetrics/{metric._metric_id}").status_code == 404)
