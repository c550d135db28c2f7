"""Runs Python that it is given: what a language's runtime finds in the sandbox, and what becomes of misuse."""

import json
import os
import random
import secrets
import socket
import sys
import threading
import time
import uuid

from wit_world import exports
from wit_world.exports.app import Description, Output
from wit_world.imports.types import Input, NamedValue, Value_Json, ValueType


class App(exports.App):
    def describe(self):
        return Description(
            summary="Runs Python that it is given.",
            inputs=[Input("code", ValueType.TEXT, True, None, [], False, "Python that sets `result`.")],
            outputs=[Output("result", ValueType.JSON, "What `result` was in the end.")],
        )

    def run(self, call, inputs):
        # Modules are loaded when the component is made: later there is no file to load one from.
        names = dict(globals())
        exec(inputs[0].value.value, names)
        return [NamedValue("result", Value_Json(json.dumps(names.get("result"))))]
