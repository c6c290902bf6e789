"""Crashes and what follows them; commands that cross each other; defects that must end in a state."""
from __future__ import annotations

import os
import random
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, List

import pytest

from legacy_plugins import PluginHost, PluginState, errors
from legacy_plugins.host import declarations, incarnation, lifecycle, supervision
from legacy_plugins.host.events import EventQueue
from legacy_plugins.host.lifecycle import TRANSITIONS
from legacy_plugins.rpc.connection import Connection
from legacy_plugins.rpc.crash import CrashReport

from .conftest import Gate, LogBook, Recorder, configuration, flush_notices, is_running, plugin, wait_dead

Make = Callable[..., PluginHost]


def legal(recorder: Recorder, name: str) -> bool:
    """Whether each state that was announced followed the one before, and may."""
    changes = recorder.of("plugin_state_changed", name)
    assert all(change["new"] in TRANSITIONS[change["old"]] for change in changes), recorder.states(name)
    return all(one["new"] is other["old"] for one, other in zip(changes, changes[1:]))


@pytest.mark.req("R3", "R36")
@pytest.mark.fault("P13")
def test_a_crash_is_followed_by_a_restart(make_host: Make, heard: Recorder) -> None:
    """The crash is announced, then the restart with its number and delay, then the plugin is ready again."""
    host = make_host(plugin("a", restart={"backoffMs": 20, "strategy": "linear", "maxRetries": 5}))
    for number in range(3):
        with pytest.raises(errors.PluginCrashed):
            host["a"].request("die")
        heard.wait("plugin_ready", "a", number + 2)
    assert [facts["attempt"] for facts in heard.of("plugin_restarting", "a")] == [1, 2, 3]
    assert [facts["delay"] for facts in heard.of("plugin_restarting", "a")] == [0.02, 0.04, 0.06]
    assert heard.states("a") == ["starting", "ready", *["backoff", "starting", "ready"] * 3]
    assert host["a"].status().restarts == 3
    assert legal(heard, "a")


@pytest.mark.req("R10", "R35", "R36")
@pytest.mark.fault("P2", "P13")
def test_the_limit_of_retries_is_the_end(make_host: Make, heard: Recorder) -> None:
    """A plugin that dies at every start is given up after `maxRetries`; its callers learn how it died."""
    host = make_host(plugin("a", {"exit": 3}, restart={"maxRetries": 2, "backoffMs": 10}), plugin("b"))
    host.start()
    gave_up = heard.wait("plugin_gave_up", "a")
    assert gave_up["attempts"] == 2
    assert gave_up["crash"].exit_code == 3
    assert gave_up["crash"].stderr_tail == ("cannot start: the database is missing",)
    assert host["a"].state is PluginState.FAILED
    with pytest.raises(errors.PluginStartFailed, match=r"exit code 3.*the database is missing") as caught:
        host["a"].request("echo")
    assert caught.value.crash == host["a"].last_crash
    assert host["b"].request("echo", [1]) == [1]
    alarms = [facts["reason"] for facts in heard.of("plugin_unavailable", "a")]
    assert [alarm.rsplit("; ")[-1] for alarm in alarms] == [
        "restart 1 of 2 in 0.0 s", "restart 2 of 2 in 0.0 s", "given up after 2 restarts"]
    assert legal(heard, "a")


@pytest.mark.req("R36")
def test_exit_code_78_gives_up_at_once(make_host: Make, heard: Recorder) -> None:
    """EX_CONFIG says that a restart will not help: before the handshake, and later too."""
    host = make_host(plugin("a", {"exit": 78}), plugin("b"))
    host.start()
    assert host["a"].state is PluginState.FAILED
    with pytest.raises(errors.PluginCrashed):
        host["b"].request("die", {"code": 78})
    assert host["b"].state is PluginState.FAILED
    assert heard.wait("plugin_gave_up", "b")["attempts"] == 0
    assert heard.of("plugin_restarting") == []
    assert "EX_CONFIG" in host["b"].status().reason


@pytest.mark.req("R36")
def test_a_plugin_that_ends_by_itself_has_crashed(make_host: Make, heard: Recorder) -> None:
    """Exit code 0 without having been asked to end is a crash that says so."""
    host = make_host(plugin("a"))
    with pytest.raises(errors.PluginCrashed, match="without being asked to"):
        host["a"].request("die", {"code": 0})
    heard.wait_state("a", "ready", 2)


@pytest.mark.req("R3", "R36")
@pytest.mark.fault("P5")
@pytest.mark.parametrize(("number", "diagnosis"), [
    (signal.SIGSEGV, "a crash in native code"), (signal.SIGKILL, "killed from outside"), (signal.SIGTERM, "")])
def test_signals_are_named(make_host: Make, number: signal.Signals, diagnosis: str) -> None:
    """The report has the signal's name, and what it usually means."""
    host = make_host(plugin("a", restart={"enabled": False}))
    with pytest.raises(errors.PluginCrashed, match=f"killed by {number.name}.*{diagnosis}") as caught:
        host["a"].request("signal", {"number": int(number)})
    assert (caught.value.crash.signal, caught.value.crash.exit_code) == (number.name, None)
    assert caught.value.crash.last_method == "signal"
    assert caught.value.crash.uptime > 0


@pytest.mark.req("R26", "R36")
def test_a_crash_report_is_redacted(make_host: Make) -> None:
    """The stderr tail and the diagnosis show what the log would, and no more."""
    host = make_host(plugin("a", logs={"redact": [r"token=\S+"]}, restart={"enabled": False}))
    with pytest.raises(errors.PluginCrashed) as caught:
        host["a"].request("die", {"stderr": "refused: token=hunter2\n"})
    assert "hunter2" not in str(caught.value) + repr(caught.value.crash) + host["a"].status().reason
    assert host["a"].log_tail()[-1].startswith("refused: ")


@pytest.mark.req("R3")
@pytest.mark.fault("P16")
def test_a_call_is_never_repeated_on_the_next_process(make_host: Make, tmp_path: Path, heard: Recorder) -> None:
    """What was in flight fails; the process that follows gets only what is called then."""
    host = make_host(plugin("a"))
    calls = [host["a"].submit("wait", {"seconds": 30}) for _ in range(5)]
    host["a"].restart()
    assert all(isinstance(call.exception(20), errors.PluginNotRunning) for call in calls)
    assert host["a"].request("cancelled") == []
    assert heard.of("plugin_crashed") == []


def test_a_restart_waits_for_the_new_process(make_host: Make, make_gate: Callable[..., Gate]) -> None:
    """`restart()` returns when the new process is ready; calls meanwhile wait for it instead of failing."""
    gate = make_gate()
    host = make_host(plugin("a", {"gate": gate.path}))
    gate.open()
    host.start()
    gate.wait_for_visitor()
    first = host["a"].pid
    with ThreadPoolExecutor(2) as pool:
        restart = pool.submit(host["a"].restart)
        gate.wait_for_visitor()
        call = pool.submit(host["a"].request, "facts")
        assert not restart.done()
        gate.open()
        restart.result(20)
        assert call.result(20)["pid"] == host["a"].pid != first


def test_failed_is_left_by_restart_and_not_by_start(make_host: Make, tmp_path: Path) -> None:
    """`start()` is for what was stopped; what has failed needs somebody who has mended it."""
    flag = tmp_path / "database"
    host = make_host(plugin("a", {"crashUnless": str(flag)}, restart={"enabled": False}))
    host.start()
    flag.touch()
    host["a"].start()
    host.start()
    assert host["a"].state is PluginState.FAILED
    assert host.broadcast("E").dropped == ("a",)
    host["a"].restart()
    assert host["a"].request("echo", [1]) == [1]


def test_start_during_backoff_does_not_wait(make_host: Make, tmp_path: Path) -> None:
    """Who asks for a start gets one now, with all retries back."""
    flag = tmp_path / "database"
    host = make_host(plugin("a", {"crashUnless": str(flag)}, restart={"backoffMs": 60_000}))
    host.start()
    assert host["a"].state is PluginState.BACKOFF
    flag.touch()
    host["a"].start()
    assert host["a"].request("echo", [1]) == [1]


@pytest.mark.fault("P15")
@pytest.mark.parametrize("state", ["backoff", "starting", "ready", "failed", "stopped", "disabled"])
def test_stop_in_any_state(make_host: Make, heard: Recorder, state: str) -> None:
    """Stopping is idempotent, ends in `stopped` (or leaves `disabled`), and nothing restarts afterwards."""
    how: Any = {"backoff": {"exit": 3}, "starting": {"hang": True}, "failed": {"exit": 78}}.get(state, {})
    host = make_host(plugin("a", how, restart={"backoffMs": 100}, enabled=state != "disabled", shutdownTimeoutMs=200))
    if state != "stopped":
        host.start(wait=False)
    if state not in ("stopped", "disabled"):
        heard.wait_state("a", state)
    host["a"].stop()
    host.stop()
    host["a"].stop()
    assert host["a"].state.value == ("disabled" if state == "disabled" else "stopped")
    with pytest.raises(errors.PluginNotRunning):
        host["a"].request("echo")
    flush_notices()
    states = heard.states("a")
    assert not host["a"]._plugin().available.wait(lambda: len(heard.states("a")) > len(states), 0.2)
    assert legal(heard, "a")


@pytest.mark.fault("P15")
def test_disable_outlasts_start_and_a_stop_that_is_under_way(make_host: Make, make_gate: Callable[..., Gate]) -> None:
    """A `start()` during the stop of a `disable()` is in vain; an `enable()` is not."""
    gate = make_gate()
    host = make_host(plugin("a", {"shutdownGate": gate.path}))
    host.start()
    with ThreadPoolExecutor(2) as pool:
        disable = pool.submit(host["a"].disable)
        gate.wait_for_visitor()
        host["a"].start(wait=False)
        gate.open()
        disable.result(20)
        assert host["a"].state is PluginState.DISABLED
        host["a"].enable()
        disable = pool.submit(host["a"].disable)
        gate.wait_for_visitor()
        enable = pool.submit(host["a"].enable)
        assert host["a"]._plugin().available.wait(lambda: host["a"]._plugin().available.view.start_follows, 20)
        gate.open()
        for command in (disable, enable):
            command.result(20)
    assert host["a"].request("echo", [1]) == [1]
    gate.open()
    host.stop()


@pytest.mark.fault("P15", "P9")
def test_a_second_stop_may_be_in_a_greater_hurry(make_host: Make, log: LogBook) -> None:
    """A stop with little time shortens one that has begun with much."""
    host = make_host(plugin("a", {"deaf": True}, shutdownTimeoutMs=60_000))
    host.start()
    pid = host["a"].pid
    host["a"]._plugin().stop("patiently")
    host["a"].stop(timeout=0.5)
    assert pid is not None
    assert not is_running(pid)
    assert host["a"].state is PluginState.STOPPED
    assert log.containing("were not gone") == []


@pytest.mark.fault("P15")
def test_a_timer_that_was_due_already_starts_nothing_after_a_stop(make_host: Make, heard: Recorder) -> None:
    """A stop and the end of the backoff may come in the same moment: the stop counts."""
    host = make_host(plugin("a", {"exit": 3}, restart={"maxRetries": 1000, "backoffMs": 1, "maxBackoffMs": 1}))
    for _ in range(30):
        host["a"].start(wait=False)
        heard.wait_state("a", "backoff", len(heard.of("plugin_restarting")) + 1)
        host["a"].stop()
        assert host["a"].state is PluginState.STOPPED
    flush_notices()
    assert heard.states("a")[-1] == "stopped"
    assert legal(heard, "a")


@pytest.mark.fault("P15")
def test_commands_from_many_threads_end_in_a_legal_state(make_host: Make, heard: Recorder, tmp_path: Path) -> None:
    """Any mixture of commands and crashes passes through legal states alone and leaves no process behind."""
    trace = tmp_path / "trace"
    host = make_host(plugin("a", {"trace": str(trace)}, shutdownTimeoutMs=500, restart={"backoffMs": 5}))

    def command(seed: int) -> None:
        chosen = random.Random(seed)
        for _ in range(10):
            what = chosen.choice(["start", "stop", "restart", "restart", "disable", "enable", "die", "host", "reload"])
            try:
                if what == "die":
                    host["a"].request("die", timeout=1)
                elif what == "host":
                    host.stop() if chosen.random() < 0.5 else host.start()
                elif what == "reload":
                    host.reload(host.config)
                else:
                    getattr(host["a"], what)(timeout=20)
            except (errors.PluginUnavailable, errors.PluginTimeout):
                pass
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(command, range(6)))
    host.start()
    host["a"].restart()
    assert host["a"].request("echo", [1]) == [1]
    host.stop()
    flush_notices()
    assert heard.states("a")[-1] == "stopped"
    assert legal(heard, "a")
    pids = {int(line.split()[1]) for line in trace.read_text().splitlines()}
    assert not [pid for pid in pids if is_running(pid)]


@pytest.mark.fault("H11")
@pytest.mark.parametrize(("owner", "name"), [
    (declarations, "check_handshake"), (supervision.Supervision, "adopt"), (supervision.Standing, "back_off"),
    (lifecycle.RestartBudget, "after_crash"), (CrashReport, "of"), (incarnation.Incarnation, "_climb")])
def test_a_defect_in_the_supervision_ends_in_a_state(make_host: Make, monkeypatch: pytest.MonkeyPatch, log: LogBook,
                                                     owner: Any, name: str) -> None:
    """Whatever raises on the supervising thread, the plugin is never left in limbo, nor its process behind."""
    host = make_host(plugin("a", restart={"maxRetries": 1}), plugin("b"))
    host.start()
    pid = host["a"].pid
    with monkeypatch.context() as patch:
        def broken(*args: Any, **kwargs: Any) -> Any:
            raise LookupError("a defect")
        patch.setattr(owner, name, broken)
        host["a"].restart(timeout=5) if name in ("check_handshake", "adopt", "_climb") else crash(host)
        settled = {PluginState.FAILED, PluginState.STOPPED}
        plugin_a = host["a"]._plugin()
        assert plugin_a.available.wait(lambda: plugin_a.available.view.state in settled, 20), host["a"].status()
        with pytest.raises(errors.PluginUnavailable):
            host["a"].request("echo", timeout=20)
    assert pid is not None
    assert wait_dead(pid)
    flush_notices()
    assert any(record.exc_info for record in log.records)
    assert host["b"].request("echo", [1]) == [1]
    host["a"].restart()
    assert host["a"].request("echo", [1]) == [1]


@pytest.mark.fault("H11")
def test_a_defect_while_a_reload_hands_over_ends_in_a_state(make_host: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reload returns and tells, old and new process are gone, and the plugin can be started again."""
    host = make_host(plugin("a"))
    host.start()
    pids = [host["a"].pid]

    def broken(self: EventQueue, *args: Any) -> None:
        pids.append(host["a"]._plugin()._supervision.incarnations()[-1].pid)
        raise LookupError("a defect")
    with monkeypatch.context() as patch:
        patch.setattr(EventQueue, "attach", broken)
        report = host.reload(configuration(plugin("a", env={"X": "1"})))
    assert "a defect" in str(report.failed["a"])
    assert host["a"].state is PluginState.FAILED
    host["a"].stop()
    assert len(set(pids)) == 2
    assert not any(pid is None or is_running(pid) for pid in pids), "the stop did not wait for them"
    host["a"].restart()
    assert host["a"].request("facts")["env"]["X"] == "1"


@pytest.mark.fault("H11")
def test_a_reload_that_meets_a_defect_returns(make_host: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong before a new process was started is in the report."""
    host = make_host(plugin("a"))
    host.start()
    host["a"].stop()

    def broken(*args: Any) -> None:
        raise LookupError("a defect")
    with monkeypatch.context() as patch:
        patch.setattr(supervision.Supervision, "take_config", broken)
        report = host.reload(configuration(plugin("a", env={"X": "1"})))
    assert "a defect" in str(report.failed["a"])
    host["a"].restart()
    assert host["a"].request("echo", [1]) == [1]


def crash(host: PluginHost) -> None:
    """Make the plugin `a` crash, whatever its caller gets."""
    with pytest.raises(errors.PluginError):
        host["a"].request("die")


@pytest.mark.fault("P21")
def test_want_of_threads_is_a_crash_like_others(make_host: Make, monkeypatch: pytest.MonkeyPatch, heard: Recorder
                                                ) -> None:
    """Where no thread can be started the process is ended, and tried again after the backoff; nothing leaks."""
    failures = [1, 2]
    start = Connection.start

    def scarce(self: Connection) -> None:
        if failures:
            failures.pop()
            with monkeypatch.context() as patch:
                patch.setattr(threading.Thread, "start", raise_runtime_error)
                start(self)
        start(self)
    host = make_host(plugin("a"))
    host.start()
    host["a"].stop()
    before = footprint()
    monkeypatch.setattr(Connection, "start", scarce)
    host["a"].start()
    heard.wait_state("a", "ready", 2)
    assert "threads" in heard.of("plugin_crashed", "a")[0]["crash"].fault
    assert len(heard.of("plugin_crashed")) == 2
    host["a"].stop()
    assert footprint() == before


def raise_runtime_error(*args: Any) -> None:
    """As `Thread.start` does when the system has none left."""
    raise RuntimeError("can't start new thread")


@pytest.mark.fault("X6", "X7", "X8")
def test_many_restarts_leave_nothing_behind(make_host: Make, heard: Recorder) -> None:
    """After stops, crashes and kills in turn there are as many threads, descriptors and children as before."""
    host = make_host(plugin("a", restart={"backoffMs": 1, "maxRetries": 100}))
    host.start()
    host["a"].stop()
    before = footprint()
    pids: List[Any] = []
    for number in range(12):
        host["a"].start()
        pids.append(host["a"].pid)
        if number % 3 == 1:
            crash(host)
        elif number % 3 == 2:
            os.kill(pids[-1], signal.SIGKILL)
            heard.wait("plugin_crashed", "a", len([1 for other in range(number + 1) if other % 3]))
        host["a"].stop()
    assert footprint() == before
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]


def footprint() -> Any:
    """Threads and descriptors of this process, when those of plugins that are gone have ended."""
    for thread in threading.enumerate():
        if thread.name.startswith("a-"):
            thread.join(20)
    return sorted(thread.name for thread in threading.enumerate()), len(os.listdir("/proc/self/fd"))
