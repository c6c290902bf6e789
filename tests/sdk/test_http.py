"""HTTP as route handlers see it: requests, responses, routes."""
from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, Dict, Optional

import pytest

from legacy_plugins import schemas
from legacy_plugins.rpc.deadline import Deadline
from legacy_plugins.sdk import Error, Request, Response
from legacy_plugins.sdk.http import result_of
from tests.examples.wire import WireError
from tests.sdk.plugin_process import Start

PARAMS: Dict[str, Any] = {
    "route": "/items/{id}", "path": "/items/42", "method": "post", "mount": "/app/api/plugins/shop",
    "pathParams": {"id": "42"}, "query": {"tag": ["a", "b"]}, "headers": {"content-type": "application/json"},
    "client": {"address": "203.0.113.9", "scheme": "https", "host": "example.org"},
    "body": {"name": "ä"}, "bodyEncoding": "json", "user": {"id": "7"}, "requestId": "r-1", "deadlineMs": 5000,
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}


def _with(body: Any, encoding: Optional[str], content_type: str = "text/plain") -> Request:
    return Request.parse({**PARAMS, "body": body, "bodyEncoding": encoding, "headers": {"content-type": content_type}},
                         None)


@pytest.mark.req("R22")
def test_a_request_has_all_that_came() -> None:
    """Every part of the params is an attribute."""
    deadline = Deadline(5)
    request = Request.parse(PARAMS, deadline)
    assert (request.method, request.path, request.path_params, request.query, request.route, request.mount) == (
        "POST", "/items/42", {"id": "42"}, {"tag": ["a", "b"]}, "/items/{id}", "/app/api/plugins/shop")
    assert (request.user, request.client["address"], request.request_id) == ({"id": "7"}, "203.0.113.9", "r-1")
    assert request.traceparent == PARAMS["traceparent"]
    assert request.deadline is deadline


def test_a_request_with_the_least() -> None:
    """What a host leaves out is empty."""
    request = Request.parse({"route": "/"}, None)
    assert (request.method, request.path, request.mount) == ("GET", "/", "")
    assert (request.path_params, request.query, request.headers, request.client) == ({}, {}, {}, {})
    assert (request.user, request.request_id, request.deadline, request.traceparent) == (None, None, None, None)
    assert (request.json, request.text, request.data) == (None, "", b"")


def test_a_request_can_be_made_for_a_test() -> None:
    """A route handler can be called with a request made by hand."""
    request = Request("POST", "/items/1", path_params={"id": "1"}, body={"a": 1}, body_encoding="json")
    assert (request.json, request.path_params["id"]) == ({"a": 1}, "1")


@pytest.mark.req("R22")
@pytest.mark.parametrize(("body", "encoding", "text", "data"), [
    ({"name": "ä", "n": [1, None]}, "json", '{"name":"ä","n":[1,null]}', '{"name":"ä","n":[1,null]}'.encode()),
    ("text", "json", '"text"', b'"text"'), (None, "json", "null", b"null"),
    ("näme=1", "utf-8", "näme=1", "näme=1".encode()),
    (base64.b64encode("ä".encode()).decode(), "base64", "ä", "ä".encode()), (None, None, "", b""),
])
def test_the_bodys_forms(body: Any, encoding: Optional[str], text: str, data: bytes) -> None:
    """A body can be had as text and as bytes, whatever it was sent as."""
    request = _with(body, encoding)
    assert request.text == text
    assert request.data == data


def test_a_body_that_is_not_what_the_handler_wants() -> None:
    """Asking for JSON or text that was not sent raises an error that becomes a 4xx answer."""
    assert _with({"a": 1}, "json").json == {"a": 1}
    assert _with(None, None).json is None
    for encoding in ("utf-8", "base64"):
        with pytest.raises(Error, match="the body is text/plain, not JSON") as caught:
            _ = _with("{}", encoding).json
        assert caught.value.code == 415
    with pytest.raises(Error, match="the body is image/png, not text in UTF-8") as caught:
        _ = _with(base64.b64encode(b"\xff").decode(), "base64", "image/png").text
    assert caught.value.code == 400
    for wrong in ("?", "YWI", {"a": 1}):
        request = _with(wrong, "base64")
        if isinstance(wrong, str):
            with pytest.raises(Error, match="not valid base64"):
                _ = request.data
        else:
            assert request.data == b""


@pytest.mark.req("R22")
@pytest.mark.parametrize(("returned", "wire"), [
    ({"a": 1}, {"status": 200, "body": {"a": 1}, "bodyEncoding": "json"}),
    ([1], {"status": 200, "body": [1], "bodyEncoding": "json"}),
    (False, {"status": 200, "body": False, "bodyEncoding": "json"}),
    (None, {"status": 204}),
    ("ä", {"status": 200, "body": "ä", "bodyEncoding": "utf-8",
           "headers": {"content-type": "text/plain; charset=utf-8"}}),
    (b"\xff", {"status": 200, "body": "/w==", "bodyEncoding": "base64",
               "headers": {"content-type": "application/octet-stream"}}),
    (bytearray(b"ab"), {"status": 200, "body": "YWI=", "bodyEncoding": "base64",
                        "headers": {"content-type": "application/octet-stream"}}),
    (Response("<p/>", headers={"Content-Type": "text/html"}),
     {"status": 200, "body": "<p/>", "bodyEncoding": "utf-8", "headers": {"Content-Type": "text/html"}}),
    (Response({"a": 1}, 201, {"x": "1", "vary": ["a", "b"]}),
     {"status": 201, "body": {"a": 1}, "bodyEncoding": "json", "headers": {"x": "1", "vary": ["a", "b"]}}),
    (Response(status=404), {"status": 404}),
    (Response(headers={"link": ("a", "b")}), {"status": 200, "headers": {"link": ["a", "b"]}}),
])
def test_what_a_handler_returns_becomes_the_result(returned: Any, wire: Dict[str, Any]) -> None:
    """Bodies are sent in the encoding that their type asks for, and the result is what the host's schema asks for."""
    result = result_of(returned)
    assert result == wire
    schemas.validator("http-response-result").validate(result)


def test_a_file_is_named_by_its_absolute_path() -> None:
    """A file is told to the host by its absolute path, relative ones seen from the plugin's folder."""
    assert Response(file="chart.png").to_wire() == {"status": 200, "bodyFile": str(Path("chart.png").absolute())}
    assert Response(file=Path("/srv/chart.png"), status=203).to_wire() == {"status": 203, "bodyFile": "/srv/chart.png"}


@pytest.mark.fault("R9", "R11")
@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda: Response(status=True), ValueError, "not True"), (lambda: Response(status=99), ValueError, "not 99"),
    (lambda: Response(status=600), ValueError, "not 600"), (lambda: Response(status="200"), ValueError, "'200'"),
    (lambda: Response("a", file="b"), ValueError, "not both"),
    (lambda: Response(headers={"x": "a\r\nb: c"}), ValueError, "line break"),
    (lambda: Response(headers={"x\n": "a"}), ValueError, "line break"),
    (lambda: Response(headers={"x": ["a", "\0"]}), ValueError, "line break"),
    (lambda: Response(headers={"x": 1}), TypeError, "has the value 1"),
    (lambda: Response(headers={1: "a"}), TypeError, "header 1"),
    (lambda: Response(headers={"x": [b"a"]}), TypeError, "strings"),
])
def test_impossible_responses_are_refused_where_they_are_made(make: Any, error: Any, message: str) -> None:
    """The author's traceback shows the place of a response that no server could send."""
    with pytest.raises(error, match=message):
        make()


SHOP = """
plugin = Plugin("shop", version="1.0")

@plugin.route("/items/{id}", methods=["GET", "PUT"])
def item(request):
    return {"id": request.path_params["id"], "method": request.method, "by": request.user, "left": LEFT(request)}

def LEFT(request):
    return 0 < request.deadline.left() <= 5 and not request.deadline.expired

@plugin.route("/items/{id}", methods=["DELETE"])
def remove(request):
    pass

@plugin.route("/image")
def image(request):
    return Response(b"\\x89PNG", headers={"content-type": "image/png"})

@plugin.route("/wrong/{how}")
def wrong(request):
    how = request.path_params["how"]
    if how == "teapot":
        raise plugin.Error(418, "I am a teapot", {"spout": True})
    if how == "object":
        return Response(object())
    return Response("", 1000) if how == "status" else request.json["a"]

plugin.run()
"""


@pytest.mark.req("R20", "R22")
def test_requests_reach_the_handler_of_their_route(start: Start) -> None:
    """A request goes to the handler of its declared path and method; HEAD goes where GET does."""
    plugin = start(SHOP)
    plugin.handshake()
    assert plugin.http("GET", "/items/{id}", id="7")["body"] == {"id": "7", "method": "GET", "by": None, "left": True}
    assert plugin.http("PUT", "/items/{id}", id="8")["body"]["method"] == "PUT"
    assert plugin.http("HEAD", "/items/{id}", id="8")["body"]["method"] == "HEAD"
    assert plugin.http("DELETE", "/items/{id}", id="8") == {"status": 204}
    assert base64.b64decode(plugin.http("GET", "/image")["body"]) == b"\x89PNG"
    assert plugin.end() == 0


@pytest.mark.req("R5", "R20")
@pytest.mark.parametrize(("method", "route", "how", "code"), [
    ("GET", "/items", "", 404), ("GET", "/items/7", "", 404), ("POST", "/items/{id}", "", 405),
    ("HEAD", "/none", "", 404), ("GET", "/wrong/{how}", "teapot", 418), ("GET", "/wrong/{how}", "object", -32603),
    ("GET", "/wrong/{how}", "status", -32603), ("GET", "/wrong/{how}", "body", -32603),
])
def test_failing_requests_get_an_error(share: Start, method: str, route: str, how: str, code: int) -> None:
    """Unknown routes and methods, errors of the handler's own, and its defects are error answers with their code."""
    plugin = share(SHOP)
    with pytest.raises(WireError) as caught:
        plugin.http(method, route, how=how)
    assert caught.value.code == code


@pytest.mark.parametrize("params", [None, [], {}, {"route": 1}])
def test_params_that_are_no_request_are_refused(share: Start, params: Any) -> None:
    """plugin/handleRequest without a route is a fault of the caller's."""
    plugin = share(SHOP)
    assert plugin.error(plugin.begin("plugin/handleRequest", params))["code"] == -32602
