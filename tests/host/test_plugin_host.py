"""The host as applications use it: first use, calls, failure of one among many, stop."""
from __future__ import annotations

import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Callable, List

import pytest

from legacy_plugins import PluginHost, PluginState, errors

from .conftest import PROGRAMS, Recorder, configuration, plugin

Make = Callable[..., PluginHost]


@pytest.mark.req("D1", "R10")
def test_constructing_starts_nothing() -> None:
    """A host that is only constructed has no process, no thread and no descriptor more than before."""
    threads, fds = threading.active_count(), set(os.listdir("/proc/self/fd"))
    host = PluginHost(configuration(plugin("a")))
    assert host.status()[0].state is PluginState.STOPPED
    assert threading.active_count() == threads
    assert set(os.listdir("/proc/self/fd")) == fds


@pytest.mark.req("D8", "R1", "R7", "R11")
def test_first_call_starts_the_plugin_and_waits_for_it(make_host: Make) -> None:
    """A call on a host that was never started starts its plugins, waits for the handshake and returns the answer."""
    host = make_host(plugin("a"))
    params = {"text": "gr\u00fc\u00df dich \U0001f600"}
    assert host["a"].request("echo", params) == params
    assert host["a"].state is PluginState.READY


@pytest.mark.req("R12", "R13")
def test_handshake_tells_the_plugins_metadata(make_host: Make) -> None:
    """What the plugin says in the handshake is the client's metadata."""
    answer = {"version": "2.5", "capabilities": ["x"], "events": ["Sync*"], "reverseRpc": True}
    host = make_host(plugin("a", {"answer": answer}))
    host.start()
    metadata = host["a"].metadata
    assert metadata is not None
    assert (metadata.name, metadata.version, metadata.capabilities, metadata.events, metadata.reverse_rpc) == (
        "a", "2.5", ("x",), ("Sync*",), True)
    assert host["a"].status().version == "2.5"


@pytest.mark.req("R3", "R12", "R35")
@pytest.mark.fault("P1", "P3")
def test_fifty_plugins_start_side_by_side(make_host: Make, heard: Recorder) -> None:
    """With one plugin hanging in its handshake and one missing, the other 48 are ready long before the time-out."""
    plugins = [plugin(f"p{number}") for number in range(48)]
    hanging = plugin("hanging", {"hang": True}, handshakeTimeoutMs=60000)
    missing = {"name": "missing", "command": str(PROGRAMS / "nothing-here")}
    host = make_host(hanging, missing, *plugins)
    started = time.monotonic()
    host.start(wait=False)
    for name in host:
        if name.startswith("p"):
            host[name].wait_ready(50)
    assert time.monotonic() - started < 50
    states = {status.name: status for status in host.status()}
    assert states["hanging"].state is PluginState.STARTING
    assert states["missing"].state is PluginState.FAILED
    assert "nothing-here" in states["missing"].reason
    assert "nothing-here" in str(heard.wait("plugin_unavailable", "missing")["error"])


@pytest.mark.req("R12", "R35")
@pytest.mark.fault("P3")
def test_start_does_not_raise_for_a_plugin_that_hangs(make_host: Make) -> None:
    """`start()` returns when the hanging handshake has timed out, and the status says so."""
    host = make_host(plugin("a", {"hang": True}, handshakeTimeoutMs=200, restart={"enabled": False}), plugin("b"))
    host.start()
    status = host["a"].status()
    assert status.state is PluginState.FAILED
    assert "handshakeTimeoutMs" in status.reason
    assert host["b"].request("echo", [1]) == [1]


@pytest.mark.req("D4", "D5", "R7")
def test_every_reply_goes_to_its_caller(make_host: Make) -> None:
    """10,000 calls from 32 threads, answered out of order after random delays, each get their own answer."""
    host = make_host(plugin("a", limits={"maxPending": 5000}))
    host.start()
    client = host["a"]

    def call(number: int) -> bool:
        if number % 10:
            return bool(client.request("echo", [number], timeout=60) == [number])
        return bool(client.request("wait", {"seconds": random.random() / 100, "value": number}, timeout=60) == number)

    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(call, range(10_000)))
    assert client.status().calls["answered"] == 10_000


@pytest.mark.req("R3", "R36", "R37")
@pytest.mark.fault("P4", "L5")
def test_crash_fails_all_pending_calls_with_its_report(make_host: Make, heard: Recorder) -> None:
    """A plugin that dies with 21 calls in flight fails them all at once; the report has exit code and stderr tail."""
    host = make_host(plugin("a", restart={"backoffMs": 60000}))
    host.start()
    client = host["a"]
    calls = [client.submit("wait", {"seconds": 60}, timeout=60) for _ in range(20)]
    stderr = "Traceback (most recent call last):\n  File \"x\"\nValueError: boom\n"
    calls.append(client.submit("die", {"code": 3, "stderr": stderr}, timeout=60))
    states = []
    calls[0].add_done_callback(lambda _: states.append(client.state))
    for call in calls:
        error = call.exception(5)
        assert isinstance(error, errors.PluginCrashed)
        assert error.plugin == "a"
        assert error.crash.exit_code == 3
        assert error.crash.stderr_tail[-1] == "ValueError: boom"
        assert "Traceback" not in str(error)
    crash = heard.wait("plugin_crashed", "a")["crash"]
    assert crash == client.last_crash
    assert client.status().calls["crashed"] == 21
    heard.wait("request_finished", "a", count=21)
    assert states == [PluginState.BACKOFF]


@pytest.mark.req("R3", "R36")
def test_other_plugins_go_on_when_one_crashes(make_host: Make) -> None:
    """A crash leaves the other plugin's process, and its calls in flight, alone."""
    host = make_host(plugin("a"), plugin("b"))
    host.start()
    pid = host["b"].pid
    call = host["b"].submit("wait", {"seconds": 0.3, "value": "alive"}, timeout=30)
    with pytest.raises(errors.PluginCrashed):
        host["a"].request("die")
    assert call.result(30) == "alive"
    assert host["b"].pid == pid


@pytest.mark.req("R37")
def test_a_slow_answer_is_a_time_out_and_is_cancelled(make_host: Make) -> None:
    """A call past its deadline raises `PluginTimeout`, the plugin is told to cancel, later calls are answered."""
    host = make_host(plugin("a"))
    with pytest.raises(errors.PluginTimeout, match=r"'a' did not answer 'wait' within 0\.5 s;") as caught:
        host["a"].request("wait", {"seconds": 60}, timeout=0.5)
    assert isinstance(caught.value, TimeoutError)
    assert len(host["a"].request("cancelled", {"count": 1})) == 1
    assert host["a"].status().calls["timed_out"] == 1


def test_a_call_during_backoff_fails_at_once_with_the_time_of_the_next_start(make_host: Make) -> None:
    """While a restart is due later, calls raise `PluginUnavailable` with `retry_after` instead of waiting."""
    host = make_host(plugin("a", restart={"backoffMs": 30000}))
    host.start()
    with pytest.raises(errors.PluginCrashed):
        host["a"].request("die")
    with pytest.raises(errors.PluginUnavailable) as caught:
        host["a"].request("echo", timeout=20)
    assert caught.value.retry_after == pytest.approx(30, abs=5)
    assert caught.value.state is PluginState.BACKOFF


@pytest.mark.req("R29", "R35")
def test_an_untrusted_command_never_runs(make_host: Make, tmp_path: Path) -> None:
    """A program outside every trusted directory is not executed; its use raises `UntrustedCommand`."""
    program, trace = tmp_path / "evil", tmp_path / "trace"
    program.write_text(f"#!/bin/sh\ntouch {trace}\n")
    program.chmod(0o755)
    host = make_host({"name": "evil", "command": str(program)}, plugin("good"))
    with pytest.raises(errors.UntrustedCommand, match="evil"):
        host["evil"].request("x")
    assert host["good"].request("echo", [1]) == [1]
    assert host["evil"].state is PluginState.FAILED
    assert not trace.exists()


@pytest.mark.req("R28", "R34")
@pytest.mark.fault("T9", "T11", "T12")
def test_a_plugin_gets_the_least_environment(make_host: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin sees its configured variables, the harmless standard ones and nothing else; fds 0 to 2; its folder."""
    monkeypatch.setenv("SECRET_KEY", "hunter2")
    monkeypatch.setenv("PYTHONPATH", "/evil")
    monkeypatch.setenv("PASSED", "yes")
    host = make_host(plugin("a", env={"OWN": "1"}, envPass=["PASSED"]))
    facts = host["a"].request("facts")
    assert facts["env"]["OWN"] == "1"
    assert facts["env"]["PASSED"] == "yes"
    assert not {"SECRET_KEY", "PYTHONPATH"} & set(facts["env"])
    assert facts["cwd"] == str(PROGRAMS)
    assert [fd for fd in facts["fds"] if fd > 3] == []  # 3 is the listing itself


def test_unknown_names_list_the_known_ones(make_host: Make) -> None:
    """Asking for a plugin that is not configured raises `UnknownPlugin` with the names that are."""
    host = make_host(plugin("a"), plugin("b"))
    with pytest.raises(errors.UnknownPlugin, match=r"'c'.*a, b") as caught:
        host["c"]
    assert isinstance(caught.value, KeyError)
    assert list(host) == ["a", "b"]
    assert len(host) == 2
    assert "a" in host
    assert "c" not in host


@pytest.mark.req("R15")
def test_stop_ends_all_plugins_and_nothing_starts_by_itself(make_host: Make) -> None:
    """After `stop()` no process is left, calls raise `PluginNotRunning`, and `start()` brings everything back."""
    host = make_host(plugin("a"), plugin("b"))
    host.start()
    pids = [host[name].pid for name in host]
    host.stop()
    host.stop()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(errors.PluginNotRunning):
        host["a"].request("echo")
    assert host.broadcast("E").dropped == ("a", "b")
    host.start()
    assert host["b"].request("echo", [2]) == [2]


@pytest.mark.req("R15")
@pytest.mark.fault("P9")
def test_stop_is_bounded_for_a_plugin_that_ignores_everything(make_host: Make) -> None:
    """A plugin that ignores plugin/shutdown, EOF and SIGTERM is killed; stopping takes its time-outs and no more."""
    host = make_host(plugin("a", {"deaf": True}, shutdownTimeoutMs=300))
    host.start()
    pid, started = host["a"].pid, time.monotonic()
    host.stop()
    assert 0.4 < time.monotonic() - started < 5
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_disabled_plugins_start_only_when_enabled(make_host: Make) -> None:
    """`enabled: false` keeps a plugin down through start(); `enable()` starts it, `disable()` stops it for good."""
    host = make_host(plugin("a", enabled=False))
    host.start()
    assert host["a"].state is PluginState.DISABLED
    with pytest.raises(errors.PluginNotRunning, match="disabled"):
        host["a"].request("echo")
    host["a"].enable()
    assert host["a"].request("echo", [1]) == [1]
    host["a"].disable()
    host.start()
    assert host["a"].state is PluginState.DISABLED


def test_required_plugins_decide_on_health(make_host: Make) -> None:
    """`healthy` is whether all required plugins are ready, whatever the others do."""
    host = make_host(plugin("a", required=True), {"name": "b", "command": "/no/such/program"})
    assert not host.healthy
    host.start()
    assert host.healthy
    host["a"].stop()
    assert not host.healthy


def test_commands_on_one_plugin(make_host: Make) -> None:
    """A client stops, starts and restarts its plugin alone, with a new process each time."""
    host = make_host(plugin("a"), plugin("b"))
    host.start()
    first, other = host["a"].pid, host["b"].pid
    host["a"].restart()
    assert host["a"].pid not in (None, first)
    host["a"].stop()
    assert host["a"].state is PluginState.STOPPED
    host["a"].start()
    host["a"].wait_ready(10)
    assert host["b"].pid == other


def test_progress_reaches_the_calling_thread(make_host: Make) -> None:
    """`on_progress` of `request` runs in the caller's thread, in order, before the result is returned."""
    seen = []
    host = make_host(plugin("a"))
    result = host["a"].request("progress", {"values": [1, 2, 3]},
                               on_progress=lambda value: seen.append((value, threading.current_thread())))
    assert result == "done"
    assert seen == [(value, threading.current_thread()) for value in (1, 2, 3)]


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_a_time_out_is_a_positive_number(make_host: Make, timeout: float) -> None:
    """A call is never endless: other time-outs are refused before anything is sent."""
    host = make_host(plugin("a"))
    with pytest.raises(ValueError, match="positive"):
        host["a"].request("echo", timeout=timeout)


def test_params_that_are_not_json_raise_before_anything_is_sent(make_host: Make) -> None:
    """A set, NaN or a bare string as params raises in the caller, and no call is counted."""
    host = make_host(plugin("a"))
    host.start()
    bad: Any
    for bad in ({"x": {1}}, {"x": float("nan")}, "text", {"x": "\ud800"}):
        with pytest.raises((TypeError, ValueError)):
            host["a"].request("echo", bad)
    assert host["a"].status().in_flight == 0


def test_a_banner_before_the_first_frame_is_logged_not_fatal(make_host: Make, heard: Recorder) -> None:
    """Output before the first frame is skipped, logged as the plugin's, and kept in its tail."""
    host = make_host(plugin("a", {"banner": "Welcome to Foo 1.0\nloading...\n"}))
    host.start()
    assert host["a"].request("echo", [1]) == [1]
    assert heard.wait("plugin_log", "a")["message"] == "Welcome to Foo 1.0"
    assert host["a"].log_tail()[:2] == ("Welcome to Foo 1.0", "loading...")


@pytest.mark.parametrize("wrong", ["5", True, timedelta(seconds=1), float("nan"), float("inf"), -1])
def test_wrong_time_outs_are_refused_before_anything_changes(make_host: Make, wrong: Any) -> None:
    """A command with a time-out of another type or without an end raises at once, and nothing starts or stops."""
    host = make_host(plugin("a"))
    commands: List[Callable[..., Any]] = [host.start, host.stop]
    for name in ("request", "submit"):
        commands.append(partial(getattr(host["a"], name), "echo", None))
    commands += [host["a"].start, host["a"].enable, host["a"].restart, host["a"].stop, host["a"].disable,
                 host["a"].wait_ready]
    for command in commands:
        with pytest.raises((TypeError, ValueError), match="a time-out is a"):
            command(timeout=wrong)
    assert host["a"].state is PluginState.STOPPED
    host.start()
    for command in (host.stop, host["a"].stop, host["a"].disable, host["a"].restart):
        with pytest.raises((TypeError, ValueError), match="a time-out is a"):
            command(timeout=wrong)
    assert host["a"].request("echo", [1]) == [1]
    host.stop(timeout=0)


@pytest.mark.parametrize("method", [None, 5, [], b"echo", True, ""])
def test_a_method_is_a_text(make_host: Make, method: Any) -> None:
    """Another type raises before anything is sent, also where no answer would ever tell."""
    host = make_host(plugin("a"))
    for call in (host["a"].request, host["a"].submit, host["a"].notify):
        with pytest.raises((TypeError, ValueError), match="method"):
            call(method)
    assert host["a"].state is PluginState.STOPPED


def test_progress_goes_to_a_function(make_host: Make) -> None:
    """What cannot be called is found out at once, not when progress comes."""
    host = make_host(plugin("a"))
    for call in (host["a"].request, host["a"].submit):
        with pytest.raises(TypeError, match="on_progress is a function, not 5"):
            call("echo", on_progress=5)  # type: ignore[operator]
    assert host["a"].state is PluginState.STOPPED


def test_the_applications_own_name_is_a_text() -> None:
    """It is told to plugins, who would refuse another type."""
    for wrong in ({"name": 5}, {"version": 5}):
        with pytest.raises(TypeError, match="is a text, not 5"):
            PluginHost({"plugins": []}, **wrong)  # type: ignore[arg-type]
