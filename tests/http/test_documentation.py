"""Who sees which routes in the document, when it waits, and how often it is made."""
from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from typing import Any, Dict, List, Optional, Set, Tuple

import pytest

from legacy_plugins.config.model import PluginConfig
from legacy_plugins.config.policies import HttpPolicy, RateLimit
from legacy_plugins.errors import ConfigError, PluginError
from legacy_plugins.host.lifecycle import PluginState
from legacy_plugins.http import HttpBridge, HttpRequest, HttpResponse, documentation
from legacy_plugins.http import openapi as module
from tests.http.fakes import FakeHost, problem, request, route

PATH = "/api/plugins/openapi.json"
RESPONSE = object()


def _host(*public: str, **facts: Any) -> FakeHost:
    """`shop` with `/a` (GET, POST), `/b` (asks for authentication) and `/c`; what `public` matches is open."""
    host = FakeHost(PluginConfig("shop", "/p", http=HttpPolicy(public_routes=public, **facts)))
    host.declare("shop", route("/a", "GET", "POST", schema={"const": "secret"}), route("/b", auth=True), route("/c"))
    return host


def _bridge(host: FakeHost, authorize: Any = None) -> HttpBridge:
    return HttpBridge(host, authorize=authorize)  # type: ignore[arg-type]


def _get(bridge: HttpBridge, method: str = "GET", **facts: Any) -> HttpResponse:
    return bridge.handle(request(method, facts.pop("path", PATH), **facts))


def _shown(response: HttpResponse) -> Set[Tuple[str, str]]:
    assert response.status == 200
    paths: Dict[str, Dict[str, Any]] = json.loads(response.body)["paths"]
    return {(path[-1], method) for path, item in paths.items() for method in item if method != "parameters"}


ALL = {("a", "get"), ("a", "head"), ("a", "post"), ("a", "options"), ("b", "get"), ("b", "head"), ("b", "options"),
       ("c", "get"), ("c", "head"), ("c", "options")}


@pytest.mark.req("R23")
@pytest.mark.parametrize(("public", "allowed", "expected"), [
    ((), None, None), (("/c",), None, {entry for entry in ALL if entry[0] == "c"}),
    (("*",), None, {entry for entry in ALL if entry[0] != "b"}), (("/b",), None, None),
    (("GET *",), None, {("a", "get"), ("a", "head"), ("a", "options"), ("c", "get"), ("c", "head"), ("c", "options")}),
    ((), "", None), ((), "abc", ALL), ((), "c", {entry for entry in ALL if entry[0] == "c"}),
    (("/b",), "", {entry for entry in ALL if entry[0] == "b"}),
    (("/b",), "a", {entry for entry in ALL if entry[0] != "c"}),
    (("POST /a",), "", {("a", "post"), ("a", "options")}),
])
def test_a_route_is_shown_to_whom_may_call_it(public: Tuple[str, ...], allowed: Optional[str],
                                              expected: Optional[Set[Tuple[str, str]]]) -> None:
    """The document and the routes decide alike; with nothing to show it is refused, as the routes are."""
    authorize = None if allowed is None else lambda native, plugin, declared: declared.path[1] in allowed
    bridge = _bridge(_host(*public), authorize)
    response = _get(bridge)
    if expected is None:
        assert problem(response)["status"] == 403
        assert b"/a" not in response.body
    else:
        assert _shown(response) == expected
        assert (b"secret" in response.body) == (("a", "post") in expected)
    may = expected or set()
    for path, method in ALL:
        if method != "options":
            sent = request(method.upper(), f"/api/plugins/shop/{path}", b'"secret"' if method == "post" else b"",
                           content_type="application/json" if method == "post" else None)
            assert (bridge.handle(sent).status == 200) == ((path, method) in may), (path, method)


def test_schemas_of_what_is_not_shown_are_not_shown() -> None:
    """A component stands in the document with an operation that uses it, or not at all."""
    host = FakeHost(PluginConfig("shop", "/p"))
    host.declare("shop", route("/a", "POST", schema={"const": "open"}), route("/b", "POST", schema={"const": "hidden"}))
    response = _get(_bridge(host, lambda native, plugin, declared: declared.path == "/a"))
    assert list(json.loads(response.body)["components"]["schemas"]) == ["Problem", "shop_body_a"]
    assert b"hidden" not in response.body


def test_the_hook_is_asked_once_a_route_with_the_readers_request() -> None:
    """About routes that the operator opened it is not asked at all."""
    asked: List[Tuple[Any, str, str]] = []

    def authorize(native: Any, plugin: str, declared: Any) -> bool:
        asked.append((native, plugin, declared.path))
        return True

    host = _host("/c", "GET /a")
    assert _shown(_get(_bridge(host, authorize), native="request")) == ALL
    assert asked == [("request", "shop", "/a"), ("request", "shop", "/b")]


def test_the_first_refusal_is_the_answer_where_nothing_may_be_shown() -> None:
    """A response of the hook's is sent as it is, an exception is the application's, and each hides its route alone."""
    class Refused(Exception):
        """What a framework raises for 403."""

    def hook(**verdicts: Any) -> Any:
        def authorize(native: Any, plugin: str, declared: Any) -> Any:
            verdict = verdicts.get(declared.path[1], False)
            if isinstance(verdict, Exception):
                raise verdict
            return verdict
        return authorize

    host = _host()
    assert _get(_bridge(host, hook(a=RESPONSE, b=Refused()))).native is RESPONSE
    for error in (Refused(), PluginError("the hook's own")):
        with pytest.raises(type(error)):
            _get(_bridge(host, hook(a=error, b=RESPONSE)))
    with pytest.raises(TypeError):
        _get(_bridge(host, hook(a="alice")))
    assert problem(_get(_bridge(host, hook(b=RESPONSE))))["status"] == 403
    shown = _shown(_get(_bridge(host, hook(a=RESPONSE, b=Refused(), c={"id": 7}))))
    assert shown == {("c", "get"), ("c", "head"), ("c", "options")}


def test_conditions_and_caches() -> None:
    """A reader that has the document gets 304; nobody keeps it for others, or uses it unasked."""
    bridge = _bridge(_host("*"))
    first = _get(bridge)
    tag = first.header("etag")
    assert tag is not None
    assert first.header("cache-control") == "private, no-cache"
    assert (first.header("content-type"), first.header("x-content-type-options")) == ("application/json", "nosniff")
    for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        again = _get(bridge, headers=[("If-None-Match", known)])
        assert (again.status, again.body, again.header("etag")) == (304, b"", tag)
    assert _get(bridge, headers=[("IF-NONE-MATCH", '"x"')]).status == 200
    head = _get(bridge, "HEAD")
    assert (head.status, head.body, head.header("content-length")) == (200, b"", str(len(first.body)))
    assert _get(_bridge(_host("*"))).header("etag") == tag  # another worker
    assert _get(_bridge(_host("/c"))).header("etag") != tag
    assert _get(bridge, script_root="/app").header("etag") != tag


def test_it_is_made_once_until_something_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """For each reader's set of routes and each root; new routes, another configuration, a plugin that goes: anew."""
    made: List[int] = []
    encoded = module._encoded
    monkeypatch.setattr(module, "_encoded", lambda document: made.append(1) or encoded(document))
    host = _host("*")
    bridge = _bridge(host)
    for _ in range(3):
        _get(bridge)
        _get(bridge, script_root="/app")
    assert len(made) == 2
    host.declare("shop", route("/d"))
    assert _shown(_get(bridge)) == {("d", "get"), ("d", "head"), ("d", "options")}
    assert len(made) == 3
    policy = HttpPolicy(public_routes=("*",), rate_limit=RateLimit(1))
    host.config = replace(host.config, plugins=(replace(host.config.plugins[0], http=policy),))
    assert b"Refused429" in _get(bridge).body
    host.client("shop").state = PluginState.BACKOFF
    assert _shown(_get(bridge)) == set()


def test_documents_for_many_roots_are_not_all_kept() -> None:
    """The number of documents that are remembered is bounded."""
    bridge = _bridge(_host("*"))
    for number in range(3 * module.MAX_DOCUMENTS):
        _get(bridge, script_root=f"/{number}")
    assert [root for root, _ in bridge._documentation._catalog._documents] == [
        f"/{number}" for number in range(2 * module.MAX_DOCUMENTS, 3 * module.MAX_DOCUMENTS)]


def test_a_change_of_one_plugin_leaves_the_others_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what has changed is described anew, and the document is that of a worker that never saw the old one."""
    made: List[str] = []

    class Part(module._PluginPart):
        def __init__(self, declared: Any, *taken: Any) -> None:
            made.append(declared.plugin.name)
            super().__init__(declared, *taken)

    monkeypatch.setattr(module, "_PluginPart", Part)
    host = FakeHost(*(PluginConfig(name, "/p", http=HttpPolicy(public_routes=("*",))) for name in ("a", "b", "c")))
    for name in "abc":
        host.declare(name, route("/x"))
    bridge = _bridge(host)
    _get(bridge)
    host.declare("b", route("/y"))
    first = _get(bridge)
    assert made == ["a", "b", "c", "b"]
    assert _get(_bridge(host)).body == first.body


def test_nothing_is_made_for_who_may_see_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers cannot have the host describe thousands of routes."""
    bridge = _bridge(_host())
    monkeypatch.setattr(documentation, "Catalog", None)
    assert problem(_get(bridge))["status"] == 403


@pytest.mark.fault("R16")
def test_one_thread_makes_it_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that come meanwhile wait for it."""
    made: List[int] = []
    asked = threading.Semaphore(0)
    real = documentation.Catalog

    def slow(*given: Any) -> Any:
        made.append(1)
        for _ in range(8):
            assert asked.acquire(timeout=30)
        return real(*given)

    bridge = _bridge(_host(), lambda native, plugin, declared: declared.path == "/a" and (asked.release() or True))
    monkeypatch.setattr(documentation, "Catalog", slow)
    answers: List[HttpResponse] = []
    threads = [threading.Thread(target=lambda: answers.append(_get(bridge))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 1
    assert len({answer.body for answer in answers}) == 1
    assert [answer.status for answer in answers] == [200] * 8


def test_who_waits_too_long_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The document may take long to make; nobody waits for ever, and once it is made nobody waits at all."""
    monkeypatch.setattr(documentation, "WAIT_SECONDS", 0.01)
    bridge = _bridge(_host("*"))
    making = bridge._documentation._making.setdefault(os.getpid(), threading.Lock())
    with making:
        refused = _get(bridge)
    assert (refused.status, refused.header("retry-after")) == (503, "1")
    assert _get(bridge).status == 200
    with making:
        assert _get(bridge).status == 200


@pytest.mark.fault("R20")
def test_other_methods() -> None:
    """OPTIONS is answered for anybody, as for routes; nothing else is taken."""
    bridge = _bridge(_host())
    options = _get(bridge, "OPTIONS")
    assert (options.status, options.header("allow")) == (204, "GET, HEAD, OPTIONS")
    for method in ("POST", "TRACE", "get"):
        refused = _get(bridge, method)
        assert (refused.status, refused.header("allow")) == (405, "GET, HEAD, OPTIONS")


def test_a_first_start_is_waited_for() -> None:
    """A fresh worker's first answer has the plugins that come up in time, and leaves the others out."""
    host = FakeHost(*(PluginConfig(name, "/p", http=HttpPolicy(public_routes=("*",))) for name in ("a", "b", "c")))
    for name, state in (("a", PluginState.STARTING), ("b", PluginState.STARTING), ("c", PluginState.DISABLED)):
        host.declare(name, route(f"/{name}"))
        host.client(name).state = state
    host.client("a").on_wait = lambda: setattr(host.client("a"), "state", PluginState.READY)
    assert {path for path, _ in _shown(_get(_bridge(host)))} == {"a"}
    waits = [host.client(name).waited for name in "abc"]
    assert all(len(waited) == 1 and 0 < (waited[0] or 0) <= 5 for waited in waits)


@pytest.mark.fault("R16")
def test_who_waits_takes_a_place() -> None:
    """So readers of the document cannot hold more threads than the plugin's own requests could."""
    host = _host("*", max_concurrency=1)
    client, bridge = host.client("shop"), _bridge(host)
    client.state = PluginState.STARTING
    inner: List[HttpResponse] = []
    client.on_wait = lambda: inner.append(_get(bridge)) if not inner else None
    assert _shown(_get(bridge)) == set()
    assert problem(inner[0])["status"] == 503
    assert inner[0].header("retry-after") == "1"


@pytest.mark.parametrize("facts", [{"name": "openapi.json"}, {"route_prefix": PATH}, {"route_prefix": f"{PATH}/x"}])
def test_no_plugin_takes_its_place(facts: Dict[str, Any]) -> None:
    """A prefix there is an error of the configuration; a plugin of that name with another prefix is none."""
    with pytest.raises(ConfigError, match="is kept for the document of all routes"):
        _bridge(FakeHost(PluginConfig(**{"name": "shop", "command": "/p", **facts})))
    _bridge(FakeHost(PluginConfig("openapi.json", "/p", route_prefix="/api/plugins/other")))


@pytest.mark.parametrize(("mount", "path", "status"), [
    ("", "/openapi.json", 200), ("/x/y", "/x/y/openapi.json", 200), ("/x/y", "/x/y/openapi.json/", 200),
    ("/x/y", "/x/y/openapi.json/z", 404), ("/x/y", "/x/openapi.json", 404), ("/x/y", "/x/y/OpenAPI.json", 404),
])
def test_where_it_is(mount: str, path: str, status: int) -> None:
    """Right below the mount, in the spelling of paths that plugins have too."""
    host = FakeHost(PluginConfig("shop", "/p", http=HttpPolicy(public_routes=("*",))))
    host.declare("shop", route())
    bridge = HttpBridge(host, mount=mount)  # type: ignore[arg-type]
    sent: HttpRequest = request(path=path)
    assert bridge.handle(sent).status == status
