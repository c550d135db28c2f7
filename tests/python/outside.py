"""Sends with urllib through the `outside.py` of an example, whose folder is the argument, and prints the milliseconds each
request gives the host: without a timeout, with none, and with two.
"""

import sys
import types
import urllib.request
from collections import namedtuple

Answer = namedtuple("Answer", "status headers body")

# What componentize-py makes of the contract, as far as it is used.
host = types.ModuleType("wit_world.imports.http_client")
host.Header = namedtuple("Header", "name value")
host.Request = namedtuple("Request", "method url headers body timeout")


def send(request):
    print(request.timeout)
    return Answer(200, [host.Header("content-type", "text/plain")], b"well")


host.send = send
imports = types.ModuleType("wit_world.imports")
imports.http_client = host
outcomes = types.ModuleType("componentize_py_types")
outcomes.Err = type("Err", (Exception,), {})
sys.modules.update(
    {
        "wit_world": types.ModuleType("wit_world"),
        "wit_world.imports": imports,
        "wit_world.imports.http_client": host,
        "componentize_py_types": outcomes,
    }
)

sys.path.insert(0, sys.argv[1])
import outside

outside.install()
for given in ({}, {"timeout": None}, {"timeout": 10}, {"timeout": 2.5}):
    with urllib.request.urlopen("http://service.example/", **given) as response:
        assert response.read() == b"well"
