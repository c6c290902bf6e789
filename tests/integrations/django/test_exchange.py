"""Requests as Django has them, over WSGI and over ASGI; `test_views` has more of paths, `test_body` of bodies."""
from __future__ import annotations

import io
import json
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.handlers.asgi import ASGIRequest
from django.test import AsyncClient

from legacy_plugins.integrations.django.exchange import bridge_request, request_environ
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
