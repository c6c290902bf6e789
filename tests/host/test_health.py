"""Health checks: what counts, what does not, and what follows."""
from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any, Callable, List, Tuple, cast

import pytest

from legacy_plugins import PluginHost, errors
from legacy_plugins.config.policies import HealthPolicy
from legacy_plugins.host.health import HealthCheck
from legacy_plugins.host.notices import Notices
from legacy_plugins.rpc.calls import Call
from legacy_plugins.rpc.connection import Connection
from legacy_plugins.rpc.dispatcher import Dispatcher
from legacy_plugins.rpc.reactor import Timer

from .conftest import LogBook, Recorder, plugin

Make = Callable[..., PluginHost]
FAST = {"enabled": True, "intervalMs": 50, "timeoutMs": 200, "failures": 2}
MISSED = errors.PluginTimeout("no answer in time")


class Patient:
    """A connection whose plugin answers what the test says; the steps of its check run when the test says so."""

    def __init__(self, failures: int = 2) -> None:
        self.name = "a"
        self.calls: List[float] = []  # since when other calls have been in flight
        self.sick: List[str] = []
        self._asked: List[Any] = []
        self._steps: List[Tuple[float, Callable[[], None]]] = []
        self.check = HealthCheck(cast("Connection", self), HealthPolicy(True, 1000, 500, failures),
                                 Notices(None, Dispatcher()), post=lambda step, *args: step(*args),
                                 later=self._later, on_sick=self.sick.append)
        self.check.start()

    def _later(self, delay: float, step: Callable[[], None]) -> Timer:
        self._steps.append((delay, step))
        return cast("Timer", threading.Timer(0, step))  # never started; it can be cancelled

    def at_work_since(self, moment: float) -> bool:
        """As `Connection`."""
        return any(started < moment for started in self.calls)

    def submit(self, method: str, params: Any, timeout: float) -> Any:
        """As `Connection`."""
        assert (method, params, timeout) == ("plugin/health", {}, 0.5)
        if isinstance(self._answer, errors.PluginBusy):
            raise self._answer
        return self

    def add_internal_callback(self, callback: Callable[[Any], None]) -> None:
        """As `Call`: answered at once."""
        callback(self)

    def cancelled(self) -> bool:
        """As `Call`."""
        return False

    def exception(self, timeout: float) -> Any:
        """As `Call`."""
        return self._answer if isinstance(self._answer, BaseException) else None

    def result(self, timeout: float) -> Any:
        """As `Call`."""
        return self._answer

    def answer(self, *answers: Any) -> None:
        """One check for each answer."""
        for answer in answers:
            self._answer = answer
            ((delay, step),) = self._steps
            assert delay == 1.0
            self._steps.clear()
            step()


def test_failures_in_a_row_count() -> None:
    """As many failures in a row as the policy says mean sick, once, and nothing is asked after that."""
    patient = Patient(2)
    patient.answer({"status": "failing", "message": "no disk"}, {"status": "ok"}, {"status": "failing"})
    assert patient.sick == []
    patient.answer({"status": "failing", "message": "no\ndisk"})
    assert patient.sick == ["2 health checks in a row failed, the last one: it says that it is failing: no\\ndisk"]
    assert patient._steps == []


@pytest.mark.parametrize("answer", [
    MISSED, errors.RpcError(7, "no"), errors.PluginBusy("a"), {"status": "fine"}, [], None, {"status": "failing"}])
def test_what_counts_as_a_failure(answer: Any) -> None:
    """No answer, an error, an answer of another shape, and the plugin's own word."""
    patient = Patient(1)
    patient.answer(answer)
    assert len(patient.sick) == 1


@pytest.mark.parametrize("answer", [{"status": "ok"}, {"status": "degraded", "message": "slow"},
                                    errors.MethodNotFound(-32601, "unknown")])
def test_what_does_not(answer: Any) -> None:
    """A plugin that is degraded, or has no such method, is alive."""
    patient = Patient(1)
    patient.answer(answer, answer)
    assert patient.sick == []


@pytest.mark.fault("P8")
@pytest.mark.parametrize("answer", [MISSED, errors.PluginBusy("a")])
def test_a_missed_check_of_a_busy_plugin_tells_nothing(answer: Any) -> None:
    """While another call is within its deadline, a missed check neither counts nor resets the count."""
    patient = Patient(2)
    patient.answer(answer)
    patient.calls.append(time.monotonic())
    patient.answer(*[answer] * 5)
    assert patient.sick == []
    patient.calls.clear()
    patient.answer(answer)
    assert len(patient.sick) == 1


@pytest.mark.fault("P8")
def test_calls_that_came_after_the_check_prove_nothing() -> None:
    """Steady traffic does not hide a plugin that hangs: only a call from before the check may keep it busy."""
    patient = Patient(2)
    patient.calls.append(float("inf"))
    patient.answer(MISSED, MISSED)
    assert len(patient.sick) == 1


def test_a_bad_answer_counts_even_when_busy() -> None:
    """Whoever answers that he is failing is not too busy to answer."""
    patient = Patient(1)
    patient.calls.append(time.monotonic())
    patient.answer({"status": "failing"})
    assert len(patient.sick) == 1


def test_a_stopped_check_asks_and_judges_no_more() -> None:
    """Neither a timer that was due already nor an answer that was on its way does anything."""
    patient = Patient(1)
    patient.check.stop()
    patient.answer({"status": "failing"})
    patient.check._answered(cast("Call", patient))
    assert patient.sick == []


@pytest.mark.req("R14", "R36")
@pytest.mark.parametrize("health", [{"status": "failing", "message": "the disk is gone"}, "hang"])
def test_a_sick_plugin_is_restarted(make_host: Make, heard: Recorder, log: LogBook, health: Any) -> None:
    """A plugin that fails its checks, or does not answer them, is ended as a crash that says so."""
    host = make_host(plugin("a", {"health": health}, health=FAST))
    host.start()
    crash = heard.wait("plugin_crashed", "a")["crash"]
    assert crash.fault.startswith("unhealthy: 2 health checks in a row failed")
    assert log.wait("health check 1 of 2 of plugin 'a' failed")
    heard.wait_state("a", "ready", 2)


@pytest.mark.req("R3", "R14")
@pytest.mark.fault("P8")
def test_a_stopped_process_is_found_and_killed(make_host: Make, heard: Recorder) -> None:
    """A plugin under SIGSTOP misses its checks and is killed; SIGTERM would not reach it."""
    host = make_host(plugin("a", health=FAST))
    host.start()
    pid = host["a"].pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    crash = heard.wait("plugin_crashed", "a")["crash"]
    assert (crash.signal, crash.pid) == ("SIGKILL", pid)
    heard.wait_state("a", "ready", 2)


@pytest.mark.req("R14")
@pytest.mark.fault("P8")
def test_a_long_legal_call_is_not_a_fault(make_host: Make, heard: Recorder) -> None:
    """A single-threaded plugin that works on one call for many intervals is left alone, and answers."""
    host = make_host(plugin("a", health={"enabled": True, "intervalMs": 20, "timeoutMs": 30, "failures": 1}))
    host.start()
    pid = host["a"].pid
    assert host["a"].request("block", {"seconds": 0.6}) == "done"
    assert host["a"].pid == pid
    assert heard.of("plugin_crashed") == []


def test_a_plugin_without_the_method_is_alive(make_host: Make, heard: Recorder) -> None:
    """-32601 is an answer; and no check is a call of the application's."""
    host = make_host(plugin("a", {"health": "unknown"}, health={**FAST, "intervalMs": 5, "failures": 1}))
    host.start()
    for _ in range(20):
        host["a"].request("echo")
    assert heard.of("plugin_crashed") == []
    assert host["a"].status().calls == {"answered": 20, "failed": 0, "timed_out": 0, "cancelled": 0, "crashed": 0}


def test_no_checks_by_default(make_host: Make) -> None:
    """Health checks are off unless they are switched on."""
    host = make_host(plugin("a"))
    assert not host.config.plugins[0].health.enabled
