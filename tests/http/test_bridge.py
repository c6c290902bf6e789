"""The bridge: the order of the checks, the params that a plugin gets, and the table of statuses."""
from __future__ import annotations

import json
import logging
import threading
from dataclasses import replace
from typing import Any, Dict, List, Tuple

import pytest

from legacy_plugins import errors, schemas
from legacy_plugins.config.model import PluginConfig
from legacy_plugins.config.policies import HttpPolicy, LogPolicy, RateLimit, RestartPolicy
from legacy_plugins.host.lifecycle import PluginState
from legacy_plugins.http import HttpBridge
from tests.http.fakes import FakeClient, FakeHost, problem, request, route

OPEN = HttpPolicy(public_routes=("*",))
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def _bridge(*routes: Any, http: HttpPolicy = OPEN, authorize: Any = None, **facts: Any) -> Tuple[HttpBridge, FakeHost,
                                                                                                 FakeClient]:
    """A bridge over one ready plugin `shop`, open to everybody unless told otherwise."""
    host = FakeHost(PluginConfig("shop", "/p", http=http, **facts))
    client = host.declare("shop", *(routes or (route(),)))
    return HttpBridge(host, authorize=authorize), host, client  # type: ignore[arg-type]


@pytest.mark.req("R22", "R2")
def test_what_a_plugin_gets() -> None:
    """All of the request that the wire contract names, in its shape."""
    bridge, host, _ = _bridge(route("/items/{id}/{rest...}", "POST"), authorize=lambda *_: {"id": 7})
    host.config = replace(host.config, plugins=(replace(host.config.plugins[0], http=HttpPolicy()),))
    bridge.handle(request(
        "POST", "/api/plugins/shop/items/42/a/b/", b'{"name": "x"}', script_root="/app",
        content_type="application/json",
        query={"tag": ["a", "b"]}, headers=[("Accept", "application/json"), ("Cookie", "s=1"), ("Traceparent", TRACE)],
        client_address="203.0.113.9", scheme="https", host="example.org", request_id="r-1"))
    (call,) = host.calls
    assert call.plugin == "shop"
    assert call.method == "plugin/handleRequest"
    assert call.timeout is not None
    assert 4 < call.timeout <= 5
    deadline = call.params.pop("deadlineMs")
    assert deadline == int(call.timeout * 1000)
    assert call.params == {
        "route": "/items/{id}/{rest...}", "path": "/items/42/a/b", "method": "POST", "mount": "/app/api/plugins/shop",
        "pathParams": {"id": "42", "rest": "a/b"}, "query": {"tag": ["a", "b"]},
        "headers": {"accept": "application/json"},
        "client": {"address": "203.0.113.9", "scheme": "https", "host": "example.org"}, "body": {"name": "x"},
        "bodyEncoding": "json", "user": {"id": 7}, "requestId": "r-1", "traceparent": TRACE}


@pytest.mark.req("R22")
def test_the_params_fit_the_published_schema() -> None:
    """What the bridge sends with nothing but a path is what the wire's schema promises to plugin authors."""
    bridge, host, _ = _bridge(route("/"))
    assert bridge.handle(request(path="/api/plugins/shop")).status == 200
    (call,) = host.calls
    schemas.validator("http-request-params").validate(call.params)
    assert (call.params["path"], call.params["body"], call.params["user"]) == ("/", None, None)
    assert "traceparent" not in call.params


def test_the_answer_carries_the_requests_id() -> None:
    """Good and bad answers alike; a client's id that is no plain token is replaced."""
    bridge, host, _ = _bridge()
    good = bridge.handle(request(request_id="r-1"))
    assert (good.status, good.body, good.header("x-request-id")) == (200, b'"ok"', "r-1")
    bad = bridge.handle(request(path="/api/plugins/shop/none", request_id="a\nb"))
    assert problem(bad)["requestId"] == bad.header("x-request-id") != "a\nb"
    assert host.calls[0].params["requestId"] == "r-1"


@pytest.mark.fault("R1", "R2", "R3", "R20")
@pytest.mark.parametrize(("sent", "status", "plugin"), [
    (request(path="/api/plugins/none/items"), 404, None), (request(path="/api/plugins"), 404, None),
    (request(path="/elsewhere"), 404, None), (request(path="/api/plugins/shop/none"), 404, "shop"),
    (request(path="/api/plugins/Shop/items"), 404, None), (request(path="/api/plugins/shop%20/items"), 404, None),
    (request(path="/api/plugins/../plugins/shop/items"), 400, None),
    (request(path="/api/plugins//shop/items"), 400, None),
    (request(raw_path="/api/plugins%2Fshop/items"), 400, None), (request("DELETE"), 405, "shop"),
    (request("TRACE"), 405, "shop"), (request("CONNECT"), 405, "shop"), (request("get"), 405, "shop"),
    (request("GET\r\n"), 405, "shop"), (request("POST", "/api/plugins/shop/json", b"{", content_type="text/json"), 400,
                                        "shop"),
    (request("POST", "/api/plugins/shop/json", b"a", content_type="text/plain"), 415, "shop"),
    (request("POST", "/api/plugins/shop/json"), 400, "shop"),
    (request("POST", "/api/plugins/shop/json", b"[1]", content_type="text/json"), 400, "shop"),
    (request("POST", "/api/plugins/shop/json", b"x" * 65), 413, "shop"),
    (request("POST", "/api/plugins/shop/json", b"x" * 65, chunked=True), 413, "shop"),
])
def test_what_is_refused_without_the_plugin(sent: Any, status: int, plugin: Any) -> None:
    """Requests that are not for a route, or not well made, are answered here; the plugin never hears of them."""
    bridge, host, _ = _bridge(route(), route("/json", "POST", schema={"items": {"type": "string"}}),
                              http=replace(OPEN, max_body_bytes=64))
    response = bridge.handle(sent)
    document = problem(response)
    assert (response.status, document.get("plugin"), host.calls) == (status, plugin, [])
    if status == 405:
        assert response.header("allow") == "GET, HEAD, OPTIONS"


@pytest.mark.req("R20")
def test_schema_faults_are_told_by_pointer() -> None:
    """All of them; a right body reaches the plugin, and a method without a body is not asked for one."""
    bridge, host, _ = _bridge(route("/json", "GET", "POST", schema={"required": ["a"],
                                                                    "properties": {"b": {"type": "null"}}}))
    sent = request("POST", "/api/plugins/shop/json", b'{"b": 1}', content_type="application/json")
    faults = problem(bridge.handle(sent))["errors"]
    assert sorted(fault["pointer"] for fault in faults) == ["", "/b"]
    assert host.calls == []
    assert bridge.handle(request("POST", "/api/plugins/shop/json", b'{"a": 1}', content_type="text/json")).status == 200
    assert bridge.handle(request(path="/api/plugins/shop/json")).status == 200
    assert [call.params["body"] for call in host.calls] == [{"a": 1}, None]


@pytest.mark.fault("R12", "R20")
def test_head_and_options() -> None:
    """HEAD reaches the GET route as GET and sends no body; OPTIONS is the host's to answer."""
    bridge, host, _ = _bridge(route(), route("/items", "POST"))
    head = bridge.handle(request("HEAD"))
    assert (head.status, head.body, head.header("content-length")) == (200, b"", "4")
    assert [call.params["method"] for call in host.calls] == ["GET"]
    options = bridge.handle(request("OPTIONS"))
    assert (options.status, options.header("allow"), options.body) == (204, "GET, HEAD, OPTIONS, POST", b"")
    assert bridge.handle(request("OPTIONS", "/api/plugins/shop/none")).status == 404
    bad = bridge.handle(request("HEAD", "/api/plugins/shop/none"))
    assert (bad.status, bad.body) == (404, b"")
    assert len(host.calls) == 1


@pytest.mark.fault("R2")
@pytest.mark.parametrize(("answer", "status"), [
    (errors.RpcError(422, "no"), 422), (errors.RpcError(1, "no"), 502), (errors.InternalError(-32603, "no"), 502),
    (errors.PluginTimeout("no"), 504), (errors.PluginCrashed(message="no"), 502), (errors.PluginBusy("shop"), 503),
    (errors.PluginUnavailable("shop", PluginState.BACKOFF, 1.5), 503), (errors.ProtocolError("no"), 502),
    (errors.FrameTooLarge("no"), 413), ({"status": True}, 502), (None, 502), ({"bodyFile": "/etc/passwd"}, 502),
])
def test_what_calls_end_in(answer: Any, status: int, caplog: pytest.LogCaptureFixture) -> None:
    """The table of statuses; faults of the plugin are logged with plugin and request, its being down is not again."""
    bridge, _, client = _bridge()
    client.answer = answer
    with caplog.at_level(logging.WARNING, "legacy_plugins.http"):
        response = bridge.handle(request(request_id="r-1"))
    assert problem(response)["plugin"] == "shop"
    assert response.status == status
    assert (response.header("retry-after") is not None) == (status == 503)
    logged = [(record.plugin, record.request_id) for record in caplog.records]  # type: ignore[attr-defined]
    assert logged == ([("shop", "r-1")] if status in (502, 504) else [])
    assert all("(GET /api/plugins/shop/items)" in text for text in caplog.messages)


def test_an_error_of_the_application_passes() -> None:
    """What is no error of this library is the application's to answer, such as a user that is not JSON."""
    bridge, _, _ = _bridge(authorize=lambda *_: {"id": object()}, http=HttpPolicy())
    with pytest.raises(TypeError):
        bridge.handle(request())


def test_an_error_that_the_hook_raises_passes() -> None:
    """A hook that asks another plugin in vain is not mistaken for a failure of the plugin that was asked for."""
    def authorize(*_: Any) -> Any:
        raise errors.PluginTimeout("no answer", plugin="accounts")

    bridge, host, _ = _bridge(http=HttpPolicy(), authorize=authorize)
    with pytest.raises(errors.PluginTimeout, match="no answer"):
        bridge.handle(request())
    assert host.calls == []


@pytest.mark.req("R23")
def test_the_hook_decides() -> None:
    """It may refuse, allow, identify the caller, or answer itself; routes that the operator opened do not ask it."""
    verdicts: Dict[str, Any] = {"verdict": None}
    bridge, host, _ = _bridge(route(auth=True), route("/open"), http=HttpPolicy(public_routes=("/open",)),
                              authorize=lambda native, plugin, declared: verdicts["verdict"])
    assert bridge.handle(request()).status == 403
    verdicts["verdict"] = native = object()
    answer = bridge.handle(request())
    assert answer.native is native
    assert host.calls == []
    assert bridge.handle(request(path="/api/plugins/shop/open")).status == 200
    verdicts["verdict"] = {"id": "7"}
    assert bridge.handle(request()).status == 200
    assert [call.params["user"] for call in host.calls] == [None, {"id": "7"}]


@pytest.mark.req("R23")
def test_without_a_hook_nothing_is_open_by_itself() -> None:
    """A plugin never opens itself."""
    bridge, host, _ = _bridge(route(), route("/private", auth=True), http=HttpPolicy())
    assert [bridge.handle(request(path=f"/api/plugins/shop{path}")).status for path in ("/items", "/private")] == [403,
                                                                                                                   403]
    assert host.calls == []


@pytest.mark.req("R23")
def test_the_order_of_checks() -> None:
    """Strangers cost a plugin nothing: refused before the rate is counted, which comes before the body is read."""
    http = HttpPolicy(rate_limit=RateLimit(1, 3600))
    allowed: List[bool] = []
    bridge, _, _ = _bridge(route("/items", "POST"), http=http, authorize=lambda *_: bool(allowed))

    def never(size: int) -> bytes:
        raise AssertionError("the body was read")

    unread = request("POST", content_length=5, read_body=never)
    assert [bridge.handle(unread).status for _ in range(3)] == [403, 403, 403]
    allowed.append(True)
    assert bridge.handle(request("POST")).status == 200
    limited = bridge.handle(unread)
    assert limited.status == 429
    assert 0 < int(limited.header("retry-after") or "0") <= 3600


@pytest.mark.fault("R5", "R16")
def test_a_slow_upload_takes_no_place() -> None:
    """With one place only, a request whose body is still coming does not keep others out; a call in flight does."""
    bridge, host, client = _bridge(route("/items", "GET", "POST"), http=replace(OPEN, max_concurrency=1))
    during: List[int] = []

    def read(size: int) -> bytes:
        if not during:
            during.append(bridge.handle(request()).status)
        return b""

    assert bridge.handle(request("POST", chunked=True, read_body=read)).status == 200
    assert during == [200]
    client.answer = lambda params: {"body": bridge.handle(request()).status}
    assert bridge.handle(request()).body == b"503"
    assert len(host.calls) == 3


@pytest.mark.fault("R16")
def test_more_requests_than_places_are_refused_at_once() -> None:
    """The surplus gets 503 with Retry-After while the others are served."""
    bridge, _, client = _bridge(http=replace(OPEN, max_concurrency=2))
    inside, leave = threading.Barrier(3), threading.Event()

    def answer(params: Any) -> Any:
        inside.wait(10)
        leave.wait(10)
        return {"body": 1}

    client.answer = answer
    statuses: List[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(bridge.handle(request()).status)) for _ in range(2)]
    for thread in threads:
        thread.start()
    inside.wait(10)
    surplus = bridge.handle(request())
    leave.set()
    for thread in threads:
        thread.join(10)
    assert (surplus.status, surplus.header("retry-after"), statuses) == (503, "1", [200, 200])


def test_no_more_requests_wait_for_a_start_than_may_call() -> None:
    """While a plugin does not become ready, the surplus gets 503 with Retry-After instead of a thread of the server."""
    bridge, host, client = _bridge(http=replace(OPEN, max_concurrency=1))
    client.state = PluginState.STARTING
    host.refresh()
    second: List[Any] = []
    client.on_wait = lambda: second.append(bridge.handle(request())) if not second else None
    assert bridge.handle(request()).status == 504
    assert (second[0].status, second[0].header("retry-after")) == (503, "1")


def test_a_first_start_is_waited_for() -> None:
    """A request for a plugin that is starting waits for it, and for what it then declares."""
    bridge, host, client = _bridge()
    client.state = PluginState.STARTING
    host.refresh()

    def ready() -> None:
        client.state = PluginState.READY
        host.refresh()

    client.on_wait = ready
    assert bridge.handle(request()).status == 200
    (waited,) = client.waited
    assert waited is not None
    assert 4 < waited <= 5
    bridge.handle(request())
    assert len(client.waited) == 1


def test_a_plugin_that_is_ready_before_the_hosts_tuple_says_so() -> None:
    """A request that waited is not told "no such route" because the tuple follows the state a moment later."""
    bridge, host, client = _bridge()
    client.state = PluginState.STARTING
    host.refresh()
    client.on_wait = lambda: setattr(client, "state", PluginState.READY)
    assert host.routes() == ()
    assert bridge.handle(request()).status == 200


@pytest.mark.fault("R2")
@pytest.mark.parametrize(("state", "status"), [
    (PluginState.STARTING, 504), (PluginState.STOPPED, 503), (PluginState.FAILED, 503), (PluginState.DISABLED, 503),
])
def test_a_plugin_that_is_not_there(state: PluginState, status: int) -> None:
    """Not ready within the deadline: 504; not coming: 503. Known plugins are never 404 for being down."""
    bridge, host, client = _bridge()
    client.state = state
    host.refresh()
    assert bridge.handle(request()).status == status


def test_a_plugin_that_goes_while_it_is_waited_for() -> None:
    """Ready for a moment and gone again: unavailable, not "no such route"."""
    bridge, host, client = _bridge()
    client.state = PluginState.STARTING
    host.refresh()
    client.wait_ready = lambda timeout=None: None  # type: ignore[method-assign]
    client.routes = ()
    assert bridge.handle(request()).status == 503
    client.state = PluginState.READY
    host.refresh()
    assert bridge.handle(request()).status == 404


def test_routes_change_with_the_hosts_tuple() -> None:
    """What a restarted plugin declares is served from the next request on."""
    bridge, host, _ = _bridge()
    host.declare("shop", route("/new"))
    assert [bridge.handle(request(path=f"/api/plugins/shop{path}")).status for path in ("/items", "/new")] == [404, 200]


@pytest.mark.fault("R19")
def test_a_route_that_crashes_its_plugin_is_closed_alone() -> None:
    """After two crashes the poisoned route answers 503 at once, the others go on, and the plugin is left in peace."""
    bridge, host, client = _bridge(route(), route("/poison"), restart=RestartPolicy(reset_after_ms=60_000))
    crashes = iter(range(10))
    client.answer = lambda params: errors.PluginCrashed(f"crash {next(crashes)}", "shop", message="crashed") \
        if params["route"] == "/poison" else {"body": 1}
    poison = [bridge.handle(request(path="/api/plugins/shop/poison")) for _ in range(5)]
    assert [response.status for response in poison] == [502, 502, 503, 503, 503]
    assert 0 < int(poison[-1].header("retry-after") or "0") <= 60
    assert bridge.handle(request()).status == 200
    assert len(host.calls) == 3


def test_an_upload_does_not_use_up_the_plugins_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the client takes to send its body, the plugin has its whole rpcTimeoutMs."""
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    bridge, host, _ = _bridge(route("/items", "POST"))

    def read(size: int) -> bytes:
        now[0] += 60
        return b""

    assert bridge.handle(request("POST", chunked=True, read_body=read)).status == 200
    assert host.calls[0].timeout == pytest.approx(5)


def test_a_deadline_that_is_over_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """When waiting and checking took all the time, the plugin is not called: 504."""
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def slow(*_: Any) -> bool:
        now[0] += 6
        return True

    bridge, host, _ = _bridge(http=HttpPolicy(), authorize=slow)
    assert bridge.handle(request()).status == 504
    assert host.calls == []


@pytest.mark.req("R33")
def test_prefixes_below_other_mounts() -> None:
    """The mount is the application's choice; a routePrefix outside it is refused when the bridge is made."""
    host = FakeHost(PluginConfig("shop", "/p", http=OPEN), PluginConfig("other", "/p", route_prefix="/ext/o/x",
                                                                        http=OPEN))
    host.declare("shop", route())
    host.declare("other", route())
    bridge = HttpBridge(host, mount="/ext/")  # type: ignore[arg-type]
    assert bridge.handle(request(path="/ext/shop/items")).status == 200
    assert bridge.handle(request(path="/ext/o/x/items")).status == 200
    assert [call.params["mount"] for call in host.calls] == ["/ext/shop", "/ext/o/x"]
    assert (bridge.prefix("shop"), bridge.prefix("other"), bridge.prefix("none")) == ("/ext/shop", "/ext/o/x", None)
    with pytest.raises(errors.ConfigError, match="'/api/plugins'"):
        HttpBridge(host)  # type: ignore[arg-type]


@pytest.mark.req("R26")
@pytest.mark.fault("L3")
def test_what_a_plugin_answered_is_logged_without_its_secrets(caplog: pytest.LogCaptureFixture) -> None:
    """The log's line of a failed request quotes the plugin on one line, redacted as its stderr is."""
    bridge, _, client = _bridge(logs=LogPolicy(redact=(r"token=\S+",)))
    client.answer = errors.RpcError(5, "no\nforged \x1b[2J token=SECRET", plugin="shop")
    with caplog.at_level(logging.WARNING, "legacy_plugins.http"):
        assert bridge.handle(request(path="/api/plugins/shop/items")).status == 502
    (text,) = caplog.messages
    assert text.isprintable()
    assert "SECRET" not in text
    assert "[redacted]" in text


@pytest.mark.req("R41")
def test_a_reload_brings_plugins_and_prefixes(caplog: pytest.LogCaptureFixture) -> None:
    """A new configuration is followed at the next request; a prefix that cannot be served is logged, not raised."""
    bridge, host, _ = _bridge()
    host.config = replace(host.config, plugins=(replace(host.config.plugins[0], route_prefix="/api/plugins/store"),
                                                PluginConfig("bad", "/p", route_prefix="/elsewhere")))
    assert bridge.handle(request()).status == 404
    assert bridge.handle(request(path="/api/plugins/store/items")).status == 200
    assert bridge.handle(request(path="/elsewhere/items")).status == 404
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "/elsewhere" in caplog.text


def test_results_are_checked_by_the_plugins_own_policy() -> None:
    """Which header fields leave is each plugin's operator setting."""
    bridge, _, client = _bridge(http=replace(OPEN, response_headers=("x-shop",)))
    client.answer = {"body": json.loads("1"), "headers": {"X-Shop": "a", "etag": "b"}}
    response = bridge.handle(request())
    assert (response.header("x-shop"), response.header("etag"), response.header("content-type")) == \
        ("a", None, "application/json")
