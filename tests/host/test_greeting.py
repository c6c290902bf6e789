"""From the handshake to readiness, with real processes."""
from __future__ import annotations

import threading
from typing import Any, Callable, List

import pytest

from legacy_plugins import PluginHost, PluginState, errors
from legacy_plugins.config.model import PluginConfig
from legacy_plugins.host import declarations
from legacy_plugins.host.health import HealthCheck
from legacy_plugins.protocol.handshake import HandshakeResult

from .conftest import Gate, LogBook, Recorder, flush_notices, plugin

Make = Callable[..., PluginHost]
ROUTE = {"path": "/items/{id}", "method": "GET"}


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


@pytest.mark.req("R3")
def test_a_long_check_holds_up_nobody_else(make_host: Make, monkeypatch: pytest.MonkeyPatch, heard: Recorder) -> None:
    """While one plugin's declarations are checked, others start, crash, are restarted and stopped."""
    begun, free = threading.Event(), threading.Event()
    check = declarations.check_handshake

    def slow(plugin_config: PluginConfig, answer: Any) -> HandshakeResult:
        if plugin_config.name == "slow":
            begun.set()
            assert free.wait(20)
        return check(plugin_config, answer)
    monkeypatch.setattr(declarations, "check_handshake", slow)
    host = make_host(plugin("slow"), plugin("b"))
    host.start(wait=False)
    assert begun.wait(20)
    with pytest.raises(errors.PluginCrashed):
        host["b"].request("die")
    heard.wait_state("b", "ready", 2)
    host["b"].stop()
    free.set()
    host["slow"].wait_ready(20)


def test_a_stop_during_a_long_check_wins(make_host: Make, monkeypatch: pytest.MonkeyPatch, heard: Recorder) -> None:
    """A plugin whose answer turns out to be good after it was stopped does not become ready any more."""
    begun, free = threading.Event(), threading.Event()
    check = declarations.check_handshake

    def slow(plugin_config: PluginConfig, answer: Any) -> HandshakeResult:
        begun.set()
        assert free.wait(20)
        return check(plugin_config, answer)
    monkeypatch.setattr(declarations, "check_handshake", slow)
    host = make_host(plugin("a", health={"enabled": True, "intervalMs": 1}, shutdownTimeoutMs=200))
    host.start(wait=False)
    assert begun.wait(20)
    with monkeypatch.context() as patch:
        asked: List[Any] = []
        patch.setattr(HealthCheck, "start", asked.append)
        readers = [thread for thread in threading.enumerate() if thread.name == "a-reader"]
        host["a"].stop()
        free.set()
        for reader in readers:
            reader.join(20)
        host["a"].stop()
        flush_notices()
    assert heard.states("a") == ["starting", "stopping", "stopped"]
    assert asked == []


def test_ready_without_having_been_asked_for_it_is_ignored(make_host: Make) -> None:
    """A plugin that was ready by its handshake cannot change its declarations afterwards."""
    host = make_host(plugin("a", {"answer": {"routes": [ROUTE]}, "ready": {"routes": []}}))
    host.start()
    assert host["a"].request("echo", [1]) == [1]
    assert [route.route.path for route in host.routes()] == ["/items/{id}"]
    assert host["a"].status().faults == 0


@pytest.mark.parametrize("defect", ["check_handshake", "check_ready"])
def test_a_defect_in_a_check_is_a_failed_start(make_host: Make, monkeypatch: pytest.MonkeyPatch, defect: str) -> None:
    """Whatever is raised on the reader thread, the plugin does not stay starting for ever."""
    def broken(*args: Any) -> Any:
        raise RecursionError("too deep")
    monkeypatch.setattr(declarations, defect, broken)
    host = make_host(plugin("a", {"answer": {"ready": False}, "ready": {}}, restart={"maxRetries": 0}))
    host.start()
    assert host["a"].state is PluginState.FAILED
    assert "too deep" in host["a"].status().reason
