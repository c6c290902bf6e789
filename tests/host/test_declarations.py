"""What plugins declare in the handshake and with `plugin/ready`, checked."""
from __future__ import annotations

from typing import Any, Callable, Dict

import pytest

from legacy_plugins import PluginHost, PluginState, errors
from legacy_plugins.config.model import PluginConfig
from legacy_plugins.config.policies import Expect, HttpPolicy
from legacy_plugins.errors import HandshakeFailed
from legacy_plugins.host import declarations
from legacy_plugins.protocol.handshake import HandshakeResult

from .conftest import Gate, LogBook, Recorder, plugin

Make = Callable[..., PluginHost]
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


def test_patterns_in_schemas_where_the_operator_allows_them() -> None:
    """`http.schemaPatterns` lets regular expressions in."""
    answer = {**ANSWER, "routes": [{**ROUTE, "schema": {"pattern": "^a$"}}]}
    assert declarations.check_handshake(config(http=HttpPolicy(schema_patterns=True)), answer).routes


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


@pytest.mark.req("R12", "R35")
def test_a_wrong_answer_gives_up_at_once_and_the_host_goes_on(make_host: Make, heard: Recorder) -> None:
    """A plugin of another name than expected is not restarted; its callers get the error, others are served."""
    host = make_host(plugin("a", {"answer": {"name": "impostor"}}, expect={"name": "a"}), plugin("b"))
    host.start()
    assert host["a"].state is PluginState.FAILED
    with pytest.raises(errors.HandshakeFailed, match=r"'impostor'.*'a'") as caught:
        host["a"].request("echo")
    assert caught.value.crash.pid is not None
    assert host["b"].request("echo", [1]) == [1]
    assert heard.wait("plugin_gave_up", "a")["attempts"] == 0
    assert "impostor" in str(heard.wait("plugin_unavailable", "a")["error"])
    assert heard.states("a") == ["starting", "failed"]


def test_another_name_without_expectation_is_only_logged(make_host: Make, log: LogBook) -> None:
    """Without `expect` a plugin may call itself what it likes."""
    host = make_host(plugin("a", {"answer": {"name": "Acme 3000"}}))
    host["a"].wait_ready(20)
    assert log.wait("calls itself 'Acme 3000'").levelname == "INFO"


@pytest.mark.req("R12", "R36")
@pytest.mark.fault("P3")
def test_an_error_answer_is_worth_another_try(make_host: Make, heard: Recorder) -> None:
    """A handshake that is answered with an error is repeated within the restart policy, then given up."""
    error = {"code": 5, "message": "the database is not up yet"}
    host = make_host(plugin("a", {"handshakeError": error}, restart={"maxRetries": 1}))
    host.start()
    gave_up = heard.wait("plugin_gave_up", "a")
    assert gave_up["attempts"] == 1
    with pytest.raises(errors.HandshakeFailed, match="error 5: the database is not up yet"):
        host["a"].request("echo")


@pytest.mark.req("R12", "R20")
def test_a_plugin_may_become_ready_later(make_host: Make, make_gate: Callable[..., Gate]) -> None:
    """With `ready: false` the plugin is starting until `plugin/ready`, which may bring the routes."""
    gate = make_gate()
    host = make_host(plugin("a", {"answer": {"ready": False}, "ready": {"routes": [ROUTE]}, "readyGate": gate.path}))
    with pytest.raises(errors.PluginTimeout, match="still starting"):
        host["a"].request("echo", timeout=0.3)
    assert host["a"].state is PluginState.STARTING
    assert host.routes() == ()
    gate.open()
    assert host["a"].request("echo", [1]) == [1]
    assert [route.route.path for route in host.routes()] == ["/items/{id}"]


@pytest.mark.req("R12")
def test_a_plugin_that_never_becomes_ready_is_ended(make_host: Make) -> None:
    """`readyTimeoutMs` runs from the handshake; after it the start has failed, and the message names the key."""
    host = make_host(plugin("a", {"answer": {"ready": False}}, readyTimeoutMs=100, restart={"enabled": False}))
    host.start()
    with pytest.raises(errors.HandshakeFailed, match="readyTimeoutMs"):
        host["a"].request("echo")


def test_a_bad_ready_fails_the_start(make_host: Make) -> None:
    """Routes that are refused in `plugin/ready` fail the plugin for good."""
    host = make_host(plugin("a", {"answer": {"ready": False}, "ready": {"routes": [{"path": "x", "method": "GET"}]}}))
    host.start()
    assert host["a"].state is PluginState.FAILED
    assert "'x'" in host["a"].status().reason


def test_a_program_without_handshake_is_ready_once_it_runs(make_host: Make) -> None:
    """With `handshake: none` nothing of `plugin/*` is sent; events come only where the configuration asks for them."""
    host = make_host(plugin("a", {"hang": True}, handshake="none", routes=[ROUTE]),
                     plugin("b", {"hang": True}, handshake="none", events={"include": ["Sync*"]}))
    host.start()
    assert host.broadcast("SyncDone").queued == ("b",)
    assert host["a"].request("echo", [1]) == [1]
    assert [event["eventType"] for event in host["b"].request("events", {"count": 1})] == ["SyncDone"]
    assert [route.plugin for route in host.routes()] == ["a"]
    assert host["a"].request("events") == []
