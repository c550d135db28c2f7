"""Holds what a running host answers against its own OpenAPI document: arguments are its URL, an admin's and the operator's
token.

Every operation that reads is asked, with the ids and names the lists before it gave; what it answers must be of the
schema it declares. Prints how many answers were held against how many operations.
"""

import sys
from urllib.parse import quote

import requests
from jsonschema import Draft202012Validator

host, admin, operator = sys.argv[1:]

document = requests.get(f"{host}/openapi.json", timeout=30).json()
components = {"components": document["components"]}

# What a parameter that must be there is.
asked = {"query": "avg:cpu{*}", "name": "host"}


def get(path):
    """An answer to whoever of the two may have it."""
    for token in (admin, operator):
        answer = requests.get(f"{host}{path}", headers={"authorization": f"Bearer {token}"}, timeout=30)
        if answer.status_code != 403:
            break
    return answer


def named(prefix):
    """How the items of a list are called: by name and by id."""
    answer = get(prefix)
    if not answer.ok or "json" not in answer.headers["content-type"]:
        return []
    body = answer.json()
    items = body.get("items", []) if isinstance(body, dict) else []
    names = [str(item[name]) for item in items for name in ("name", "id", "key", "value") if item.get(name)]
    return sorted(set(names))[:20]


def filled(path):
    """The paths a path with parameters stands for here."""
    parts = path.split("/")
    for at, part in enumerate(parts):
        if part.startswith("{"):
            rest = "/".join(parts[at + 1 :])
            for name in named("/".join(parts[:at])):
                before = "/".join([*parts[:at], quote(name, safe="")])
                yield from filled(f"{before}/{rest}" if rest else before)
            return
    yield path


held, reached, wrong = 0, set(), []
for path, item in document["paths"].items():
    operation = item.get("get")
    content = (operation or {}).get("responses", {}).get("200", {}).get("content", {}).get("application/json")
    if not path.startswith("/v1/") or not content:
        continue
    validator = Draft202012Validator({**content["schema"], **components})
    required = [p["name"] for p in operation.get("parameters", []) if p["in"] == "query" and p.get("required")]
    query = "&".join(f"{name}={quote(asked[name])}" for name in required if name in asked)
    for target in filled(path):
        answer = get(f"{target}?{query}" if query else target)
        if answer.status_code in (400, 404):
            continue
        if not answer.ok:
            sys.exit(f"GET {target} answers {answer.status_code}: {answer.text}")
        for error in validator.iter_errors(answer.json()):
            wrong.append(f"GET {target}: {'/'.join(map(str, error.absolute_path))}: {error.message[:300]}")
        held += 1
        reached.add(path)

if wrong:
    sys.exit("\n".join(wrong))
print(f"{held} answers of {len(reached)} operations are as declared: {' '.join(sorted(reached))}")
