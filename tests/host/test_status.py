"""Counters of everything, and the frozen value that they become."""
from __future__ import annotations

import dataclasses
import threading
import time
from types import SimpleNamespace
from typing import Any, Callable

import pytest

from legacy_plugins import PluginHost, PluginState, errors
from legacy_plugins.host.incarnation import Incarnation
from legacy_plugins.host.status import EVENT_OUTCOMES, PluginCounters, PluginStatus
from legacy_plugins.rpc.calls import ANSWERED, CRASHED, OUTCOMES, TIMED_OUT, CallOutcome

from .conftest import LogBook, Recorder, plugin

Make = Callable[..., PluginHost]


@pytest.mark.req("R42")
def test_latency_is_that_of_answered_calls() -> None:
    """Median and 95th percentile are of the last answered calls, in milliseconds; other outcomes do not blur them."""
    counters = PluginCounters()
    assert counters.latency() == {}
    for number in range(1, 101):
        counters.call_ended(CallOutcome("x", ANSWERED, number / 1000))
    for outcome in (TIMED_OUT, CRASHED):
        counters.call_ended(CallOutcome("x", outcome, 1e6))
    assert counters.latency() == {"p50": pytest.approx(51), "p95": pytest.approx(96)}
    assert counters.calls() == {**dict.fromkeys(OUTCOMES, 0), "answered": 100, "timed_out": 1, "crashed": 1}


def test_only_the_last_samples_count() -> None:
    """A plugin that was slow once is not slow for ever, and the samples are bounded."""
    counters = PluginCounters()
    for seconds in [9.0] * 1000 + [0.001] * 512:
        counters.call_ended(CallOutcome("x", ANSWERED, seconds))
    assert counters.latency() == {"p50": pytest.approx(1), "p95": pytest.approx(1)}


def test_what_is_handed_out_is_a_copy() -> None:
    """Whoever changes what he got changes nothing for others."""
    counters = PluginCounters()
    counters.calls().clear()
    counters.events().clear()
    assert set(counters.calls()) == set(OUTCOMES)
    assert set(counters.events()) == set(EVENT_OUTCOMES)


def test_counting_from_many_threads_loses_nothing() -> None:
    """The counters are exact."""
    counters = PluginCounters()

    def count() -> None:
        for _ in range(2000):
            counters.event("queued")
            counters.fault()
    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (counters.events()["queued"], counters.faults) == (8000, 8000)


def test_a_status_is_frozen() -> None:
    """A status is a value of one moment."""
    status: Any = PluginStatus("a", PluginState.READY)
    with pytest.raises(dataclasses.FrozenInstanceError):
        status.state = PluginState.FAILED


@pytest.mark.req("R42")
def test_status_tells_everything(make_host: Make, heard: Recorder) -> None:
    """State, process, version, calls by outcome, latency, events, restarts and the last crash are in one value."""
    host = make_host(plugin("a", {"answer": {"version": "2.5"}}, required=True, events={"exclude": ["Noise"]}))
    before = time.time()
    host.start()
    client = host["a"]
    waiting = client.submit("wait", {"seconds": 30})
    client.request("echo")
    with pytest.raises(errors.RpcError):
        client.request("wait", {"wrong": 1})
    with pytest.raises(errors.PluginTimeout):
        client.request("wait", {"seconds": 30}, timeout=0.05)
    client.submit("wait", {"seconds": 30}).cancel()
    host.broadcast("Noise")
    host.broadcast("News")
    heard.wait("request_finished", "a", 4)
    (status,) = host.status()
    assert (status.name, status.state, status.pid, status.version, status.required, status.reason) == (
        "a", PluginState.READY, client.pid, "2.5", True, "ready")
    assert before <= status.since <= time.time()
    assert status.in_flight == 1
    assert status.calls == {"answered": 1, "failed": 1, "timed_out": 1, "cancelled": 1, "crashed": 0}
    assert 0 < status.latency["p50"] <= status.latency["p95"]
    assert (status.events["queued"], status.events["filtered"]) == (1, 1)
    assert (status.restarts, status.last_crash, status.faults, status.log_lines_suppressed) == (0, None, 0, 0)
    with pytest.raises(errors.PluginCrashed):
        client.request("die")
    assert isinstance(waiting.exception(20), errors.PluginCrashed)
    heard.wait_state("a", "ready", 2)
    status = client.status()
    assert (status.restarts, status.calls["crashed"], status.in_flight) == (1, 2, 0)
    assert status.last_crash is not None
    assert status.last_crash.exit_code == 3
    assert status.last_crash == client.last_crash


@pytest.mark.req("R24", "R25")
def test_suppressed_log_lines_are_counted_and_told_even_in_silence(make_host: Make, heard: Recorder) -> None:
    """A flood that ends is followed by one notice of how much was suppressed, without any further output."""
    host = make_host(plugin("a", logs={"linesPerSecond": 1, "burst": 5}))
    host["a"].request("log", {"text": "line\n" * 100})
    heard.wait("plugin_log", "a", 6)
    lines = [facts["message"] for facts in heard.of("plugin_log", "a")]
    assert lines[:5] == ["line"] * 5
    assert lines[5].startswith("95 lines suppressed")
    assert host["a"].status().log_lines_suppressed == 95


def test_a_look_that_comes_too_early_is_repeated() -> None:
    """Where the flood went on when it was about to be told, somebody looks again, though the plugin is silent now."""
    class Stage:
        _notice_armed = True
        log = SimpleNamespace(flush=lambda: None, notice_due=1e12)
        armed = 0

        def _arm_notice(self) -> None:
            assert not self._notice_armed
            self.armed += 1
    stage: Any = Stage()
    Incarnation._flush_log(stage)
    assert stage.armed == 1
    stage.log.notice_due = None
    Incarnation._flush_log(stage)
    assert stage.armed == 1


@pytest.mark.req("R3", "R24")
def test_stderr_is_the_plugins_log(make_host: Make, heard: Recorder, log: LogBook) -> None:
    """Each line reaches the plugin's logger with its level and pid, and stays in the tail."""
    host = make_host(plugin("a"))
    host["a"].request("log", {"text": "plain\nERROR: broken\n<4>careful\n"})
    heard.wait("plugin_log", "a", 3)
    told = [(facts["level"], facts["message"], facts["pid"]) for facts in heard.of("plugin_log", "a")]
    assert [(level, message) for level, message, _ in told] == [(20, "plain"), (40, "broken"), (30, "careful")]
    assert {pid for _, _, pid in told} == {host["a"].pid}
    record: Any = log.wait("broken")
    assert (record.name, record.levelname, record.plugin, record.pid) == (
        "legacy_plugins.plugin.a", "ERROR", "a", host["a"].pid)
    assert host["a"].log_tail() == ("plain", "ERROR: broken", "<4>careful")
