"""Requests as Django has them, over WSGI and over ASGI; `test_views` has more of paths, `test_body` of bodies."""
from __future__ import annotations

import io
import json
import time
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.handlers.asgi import ASGIRequest
from django.test import AsyncClient

from legacy_plugins.integrations.django.exchange import _path, bridge_request, request_environ
from tests.integrations.django.conftest import MakeSite


def test_an_answer_over_asgi(make_site: MakeSite) -> None:
    """The view is synchronous, and Django's ASGI handler runs it all the same: path, query, body and answer."""
    site = make_site()
    site.plugin.answer = {"body": {"é": 1}}
    client = AsyncClient()

    @async_to_sync
    async def send(*request: Any) -> Any:
        return await client.generic(*request)

    response = send("POST", "/api/plugins/shop/files/a%20b?x=%C3%A9", b"hello", "text/plain")
    assert response.status_code == 405
    response = send("POST", "/api/plugins/shop/items?x=%C3%A9", b"hello", "text/plain")
    assert (response.status_code, json.loads(response.content)) == (200, {"é": 1})
    (call,) = site.host.calls
    assert (call.params["body"], call.params["query"]) == ("hello", {"x": ["é"]})
    assert send("GET", "/api/plugins/shop/files//x").status_code == 400


@pytest.mark.parametrize(("version", "fields", "length"), [
    ("1.1", [], 0), ("1.1", [(b"transfer-encoding", b"chunked")], None), ("2", [], None),
    ("2", [(b"content-length", b"5")], 5),
])
def test_what_asgi_tells_of_a_request(version: str, fields: Any, length: Any) -> None:
    """The target as it was sent, the query, and whether there is a body."""
    scope = {"type": "http", "http_version": version, "method": "POST", "path": "/x/\u00e9/y", "root_path": "/app",
             "raw_path": b"/x/%C3%A9%2Fy", "query_string": b"a=%C3%A9", "headers": [(b"host", b"localhost"), *fields]}
    native = ASGIRequest(scope, io.BytesIO(b"hello"))
    request = bridge_request(native, request_environ(native))
    assert (request.raw_path, request.query, request.content_length) == ("/x/%C3%A9%2Fy", {"a": ["\u00e9"]}, length)
    assert (request.script_root, request.host, request.native) == ("/app", "localhost", native)
    assert request.read_body(9) == b"hello"


@pytest.mark.fault("R3")
@pytest.mark.parametrize("target", ["a" * 256_000 + ":/x%FF", "http://example.org/x%FF", "x%FF", "/x%FF"])
def test_a_long_target_costs_no_time(target: str) -> None:
    """An origin is looked for at the target's beginning alone; searching so long a one took more than a minute."""
    begun = time.process_time()
    assert _path("/x%FF", target) == "/x\ufffd"
    assert time.process_time() - begun < 5


class Overriding:
    """A middleware that lets a header decide on the method."""

    def __init__(self, get_response: Any) -> None:
        self._get_response = get_response

    def __call__(self, request: Any) -> Any:
        """Override, and go on."""
        request.method = request.META.get("HTTP_X_HTTP_METHOD_OVERRIDE", request.method)
        return self._get_response(request)


@pytest.mark.fault("R18")
def test_the_method_is_the_one_that_the_checks_see(make_site: MakeSite) -> None:
    """What passed the check for forged requests as a GET reaches the plugin as a GET, not as the POST that it was."""
    site = make_site(csrf=True, MIDDLEWARE=[f"{__name__}.Overriding"])
    assert site.send("/api/plugins/shop/items", "POST", HTTP_X_HTTP_METHOD_OVERRIDE="GET").status_code == 200
    assert site.host.calls[0].params["method"] == "GET"
