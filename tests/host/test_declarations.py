"""What plugins declare in the handshake and with `plugin/ready`, checked."""
from __future__ import annotations

import tracemalloc
from typing import Any, Dict, List

import pytest

from legacy_plugins.config.model import PluginConfig
from legacy_plugins.config.policies import Expect, HttpPolicy
from legacy_plugins.errors import HandshakeFailed
from legacy_plugins.host import declarations
from legacy_plugins.protocol.handshake import HandshakeResult

ANSWER = {"name": "a", "version": "1.4.2"}
ROUTE = {"path": "/items/{id}", "method": "GET"}


def config(**facts: Any) -> PluginConfig:
    """A plugin's configuration."""
    return PluginConfig(name="a", command="/p", **facts)


@pytest.mark.req("R13")
def test_a_good_answer_is_the_plugins_metadata() -> None:
    """Every key of the answer is in the result; unknown keys are ignored."""
    answer = {**ANSWER, "capabilities": ["x"], "events": ["Sync*"], "reverseRpc": True, "protocolVersion": "1.0",
              "ready": False, "routes": [ROUTE], "more": 1}
    result = declarations.check_handshake(config(), answer)
    assert (result.name, result.version, result.capabilities, result.events, result.reverse_rpc, result.ready) == (
        "a", "1.4.2", ("x",), ("Sync*",), True, False)
    assert [(route.path, route.methods) for route in result.routes] == [("/items/{id}", ("GET",))]


@pytest.mark.req("R12")
@pytest.mark.parametrize(("change", "said"), [
    ({"name": 7}, ["/name"]),
    ({"version": None}, ["/version"]),
    ({"protocolVersion": "2.0"}, ["'2.0'", "'1.0'"]),
    ({"routes": [{"path": "/x"}]}, ["/routes/0", "method"]),
    ({"routes": [{"path": "x", "method": "GET"}]}, ["'x'"]),
    ({"routes": [{"path": "/x", "method": "BREW"}]}, ["'BREW'", "GET"]),
    ({"routes": [ROUTE, {"path": "/items/{name}", "method": ["GET", "PUT"]}]}, ["/items/{id}", "/items/{name}", "GET"]),
    ({"routes": [{**ROUTE, "schema": {"$ref": "https://example.org/schema"}}]}, ["/items/{id}", "schema"]),
    ({"routes": [{**ROUTE, "schema": {"pattern": "(a+)+$"}}]}, ["schemaPatterns"]),
])
def test_a_bad_answer_says_what_is_wrong_with_it(change: Dict[str, Any], said: Any) -> None:
    """The error names the plugin, the place and the values."""
    with pytest.raises(HandshakeFailed, match="the handshake of plugin 'a' failed") as caught:
        declarations.check_handshake(config(), {**ANSWER, **change})
    assert all(text in str(caught.value) for text in said), str(caught.value)


@pytest.mark.parametrize("answer", [None, 7, "x", [], {}])
def test_an_answer_of_another_shape_is_refused(answer: Any) -> None:
    """What is no object, or lacks name and version, fails the handshake."""
    with pytest.raises(HandshakeFailed, match="schema"):
        declarations.check_handshake(config(), answer)


def test_only_some_of_many_faults_are_told() -> None:
    """A message has a bound, and says how many more there are."""
    routes = [{"path": "/x"}] * 20
    with pytest.raises(HandshakeFailed, match=r"and 15 more"):
        declarations.check_handshake(config(), {**ANSWER, "routes": routes})


@pytest.mark.req("R12")
@pytest.mark.parametrize(("expect", "fits"), [
    (Expect(), True), (Expect("a", "1."), True), (Expect("a", "1.4.2"), True), (Expect("b"), False),
    (Expect(version="2."), False), (Expect(version="1.4.2.1"), False), (Expect("A"), False)])
def test_the_configuration_may_expect_name_and_version(expect: Expect, fits: bool) -> None:
    """A version is expected by its beginning, a name exactly; a contradiction tells both values."""
    if fits:
        assert declarations.check_handshake(config(expect=expect), ANSWER).name == "a"
        return
    with pytest.raises(HandshakeFailed, match=r"expect\.(name|version)") as caught:
        declarations.check_handshake(config(expect=expect), ANSWER)
    given, wanted = ("'a'", expect.name) if expect.name else ("'1.4.2'", expect.version)
    assert given in str(caught.value)
    assert repr(wanted) in str(caught.value)


def test_schemas_are_bounded_together() -> None:
    """Many routes cannot make the host check more than it is ready to check for one."""
    routes = [{"path": f"/{number}", "method": "GET", "schema": {"description": "x" * 200_000}} for number in range(6)]
    assert declarations.check_handshake(config(), {**ANSWER, "routes": routes[:5]}).routes
    with pytest.raises(HandshakeFailed, match="more than 1048576 characters"):
        declarations.check_handshake(config(), {**ANSWER, "routes": routes})


def test_equal_schemas_are_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """In all routes of a plugin, and over its restarts; what is refused, or good where more is allowed, is not good."""
    checked: List[Any] = []
    check = declarations.check_body_schema

    def counting(schema: Any, **facts: Any) -> None:
        checked.append(schema)
        check(schema, **facts)

    monkeypatch.setattr(declarations, "check_body_schema", counting)
    monkeypatch.setattr(declarations, "_good", {})
    monkeypatch.setattr(declarations, "_MAX_REMEMBERED", 2)
    schema = {"pattern": "^a"}

    def declare(*schemas: Any, allowed: bool = True) -> None:
        routes = [{"path": f"/{number}", "method": "POST", "schema": given} for number, given in enumerate(schemas)]
        declarations.check_handshake(config(http=HttpPolicy(schema_patterns=allowed)), {**ANSWER, "routes": routes})

    for _ in range(2):
        declare(schema, dict(schema), {"const": 1}, schema)
    assert checked == [schema, {"const": 1}]
    for _ in range(2):
        with pytest.raises(HandshakeFailed, match="schemaPatterns"):
            declare(schema, allowed=False)
    assert len(checked) == 4
    declare({"const": True})
    assert len(declarations._good) == 1


@pytest.mark.parametrize(("key", "value", "said"), [
    ("routes", [{}] * 100_000, "/routes: the array has 100000 items"),
    ("events", ["a"] * 600_000, "/events: the array has 600000 items"),
    ("routes", [{"path": "/", "method": [1] * 600_000}], "/routes/0/method: the array is not valid"),
    ("routes", [{"path": "/", "method": ["x" * 17] * 600_000}], "/routes/0/method: the array is not valid"),
])
def test_a_giant_answer_is_refused_without_looking_at_all_of_it(key: str, value: Any, said: str) -> None:
    """A frame full of faults costs neither gigabytes nor many seconds: faults are counted, and not quoted at length."""
    tracemalloc.start()
    try:
        with pytest.raises(HandshakeFailed, match=said):
            declarations.check_handshake(config(), {**ANSWER, key: value})
        assert tracemalloc.get_traced_memory()[1] < 16 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_paths_are_bounded_together() -> None:
    """A thousand routes of ten segments are taken; what would make each request look at more is refused."""
    routes = [{"path": f"/{number}" + "/a" * 9, "method": "GET"} for number in range(1000)]
    first = declarations.check_handshake(config(), {**ANSWER, "routes": routes, "ready": False})
    assert len(first.routes) == 1000
    more = [*routes, {"path": "/x", "method": "GET"}]
    for check in (lambda: declarations.check_handshake(config(), {**ANSWER, "routes": more}),
                  lambda: declarations.check_ready(config(), first, {"routes": more})):
        with pytest.raises(HandshakeFailed, match="1001 routes have 10001 segments together, the most is 10000"):
            check()


def test_event_patterns_are_bounded() -> None:
    """A hundred patterns are taken, for each event is matched with all of them."""
    patterns = [f"Sync{number}*" for number in range(101)]
    first = declarations.check_handshake(config(), {**ANSWER, "events": patterns[:100], "ready": False})
    assert len(first.events) == 100
    with pytest.raises(HandshakeFailed, match="/events"):
        declarations.check_handshake(config(), {**ANSWER, "events": patterns})
    with pytest.raises(HandshakeFailed, match="/events"):
        declarations.check_ready(config(), first, {"events": patterns})


def test_patterns_in_schemas_where_the_operator_allows_them() -> None:
    """`http.schemaPatterns` lets regular expressions in."""
    answer = {**ANSWER, "routes": [{**ROUTE, "schema": {"pattern": "^a$"}}]}
    assert declarations.check_handshake(config(http=HttpPolicy(schema_patterns=True)), answer).routes


def test_the_place_of_a_fault() -> None:
    """A fault of the whole answer has a place too, which is not that of a member without a name."""
    with pytest.raises(HandshakeFailed, match="at its top: null is not of type"):
        declarations.check_handshake(config(), None)
    with pytest.raises(HandshakeFailed, match="at /name: 7 is not of type"):
        declarations.check_handshake(config(), {**ANSWER, "name": 7})


@pytest.mark.req("R20")
def test_ready_replaces_what_the_handshake_declared() -> None:
    """What `plugin/ready` declares counts; what it leaves out stays."""
    first = declarations.check_handshake(config(), {**ANSWER, "events": ["A"], "routes": [ROUTE], "ready": False})
    assert declarations.check_ready(config(), first, None) == first
    second = declarations.check_ready(config(), first, {"events": ["B"]})
    assert (second.events, second.routes) == (("B",), first.routes)
    third = declarations.check_ready(config(), first, {"routes": []})
    assert (third.events, third.routes) == (("A",), ())


@pytest.mark.parametrize("params", [7, [], {"routes": 1}, {"routes": [{"path": "x", "method": "GET"}]},
                                    {"events": [1]}])
def test_a_bad_ready_is_refused(params: Any) -> None:
    """`plugin/ready` is checked as the handshake is."""
    with pytest.raises(HandshakeFailed):
        declarations.check_ready(config(), HandshakeResult("a", "1"), params)


def test_a_program_without_handshake_has_the_configurations_routes() -> None:
    """With `handshake: none` the operator declares; what is wrong with it is told as of a handshake."""
    assert declarations.configured(config(handshake="none", routes=(ROUTE,))).routes[0].path == "/items/{id}"
    with pytest.raises(HandshakeFailed):
        declarations.configured(config(handshake="none", routes=({"path": "x", "method": "GET"},)))
