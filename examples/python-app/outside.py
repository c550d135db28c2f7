"""Lets urllib send by the host: a component has no sockets, but it can be granted `http-client`."""

import email.message
import io
import urllib.error
import urllib.request
import urllib.response

from componentize_py_types import Err
from wit_world.imports import http_client


class Outside(urllib.request.BaseHandler):
    def http_open(self, request):
        headers = [http_client.Header(name, value) for name, value in request.header_items()]
        # Where none is given urllib hands on an object that stands for the default, and the host has its own.
        timeout = int(request.timeout * 1000) if isinstance(request.timeout, (int, float)) else None
        try:
            answer = http_client.send(
                http_client.Request(request.get_method(), request.full_url, headers, request.data or b"", timeout)
            )
        except Err as error:
            raise urllib.error.URLError(getattr(error.value, "value", "it took too long"))
        message = email.message.Message()
        for header in answer.headers:
            message[header.name] = header.value
        response = urllib.response.addinfourl(io.BytesIO(answer.body), message, request.full_url, answer.status)
        response.msg = str(answer.status)
        return response

    https_open = http_open


def install():
    """Has `urllib.request.urlopen` send by the host. Redirects are followed, each held against the grant."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        Outside,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.HTTPRedirectHandler,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    opener.addheaders = []
    urllib.request.install_opener(opener)
