"""Reload: a changed plugin's new process is ready before the old one is stopped, or the old one goes on."""
from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, List

import pytest

from legacy_plugins import PluginHost, PluginState, errors
from legacy_plugins.testing import fake_plugin

from .conftest import Gate, Recorder, configuration, plugin, wait_dead

Make = Callable[..., PluginHost]


def in_background(work: Callable[[], Any]) -> List[Any]:
    """Run `work` on a thread; the list gets its result and the thread as soon as there are any."""
    found: List[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    found.append(thread)
    thread.start()
    return found


def result_of(found: List[Any]) -> Any:
    """The result of `in_background`, once it is there."""
    found[0].join(30)
    assert len(found) == 2, "it did not end"
    return found[1]


@pytest.mark.req("R41", "R3")
def test_calls_never_fail_during_a_reload(make_host: Make) -> None:
    """Threads that call all the time, with short and with long calls, do not notice any of several reloads."""
    host = make_host(plugin("a", env={"X": "0"}))
    host.start()
    done = threading.Event()
    pids = [host["a"].pid]

    def hammer(number: int) -> int:
        calls = 0
        while not done.is_set():
            if number:
                assert host["a"].request("echo", [number]) == [number]
            else:
                assert host["a"].request("wait", {"seconds": 0.1, "value": 7}) == 7
            calls += 1
        return calls
    with ThreadPoolExecutor(4) as pool:
        threads = [pool.submit(hammer, number) for number in range(4)]
        try:
            for number in range(1, 5):
                assert host.reload(configuration(plugin("a", env={"X": str(number)}))).changed == ("a",)
                pids.append(host["a"].pid)
                assert host["a"].request("wait", {"seconds": 0.1, "value": number}) == number
        finally:
            done.set()
        assert all(thread.result(30) for thread in threads)
    assert len(set(pids)) == 5
    assert host["a"].status().calls["crashed"] == 0
    host.stop()
    assert all(pid is not None and wait_dead(pid) for pid in pids)


@pytest.mark.req("R41", "R15")
def test_the_new_process_is_ready_before_the_old_one_is_stopped(make_host: Make, tmp_path: Path) -> None:
    """The old process is asked to end only when the new one serves, and is asked in order."""
    trace = tmp_path / "trace"
    host = make_host(plugin("a", {"trace": str(trace)}))
    host.start()
    old = host["a"].pid
    assert old is not None
    host.reload(configuration(plugin("a", {"trace": str(trace)}, env={"X": "1"})))
    new = host["a"].pid
    assert wait_dead(old)
    assert trace.read_text().splitlines() == [f"start {old}", f"start {new}", f"shutdown {old}", f"eof {old}"]


@pytest.mark.req("R41")
def test_a_call_may_take_its_own_time(make_host: Make) -> None:
    """The old process is kept as long as a caller waits for it, longer than `rpcTimeoutMs` and any stop."""
    host = make_host(plugin("a", rpcTimeoutMs=100, shutdownTimeoutMs=100))
    host.start()
    call = host["a"].submit("wait", {"seconds": 1.0, "value": "worth it"}, timeout=30)
    host.reload(configuration(plugin("a", rpcTimeoutMs=100, shutdownTimeoutMs=100, env={"X": "1"})))
    assert call.result(30) == "worth it"


@pytest.mark.req("R41", "R19")
def test_events_are_neither_lost_nor_doubled(make_host: Make, tmp_path: Path) -> None:
    """Events that are sent during a reload reach the old or the new process, in order, each once."""
    trace = tmp_path / "trace"
    host = make_host(plugin("a", {"trace": str(trace)}))
    host.start()
    old, done = host["a"].pid, threading.Event()

    def send() -> int:
        count = 0
        while not done.is_set():
            assert host.broadcast("E", count).queued == ("a",)
            count += 1
            done.wait(0.001)
        return count
    sender = in_background(send)
    host["a"].request("wait", {"seconds": 0.1})
    host.reload(configuration(plugin("a", {"trace": str(trace)}, env={"X": "1"})))
    host["a"].request("wait", {"seconds": 0.1})
    done.set()
    count = result_of(sender)
    assert old is not None
    assert wait_dead(old)
    host["a"].request("echo")
    events = [line.split() for line in trace.read_text().splitlines() if line.startswith("event-")]
    assert len({pid for _, pid in events}) == 2
    assert sorted(int(name[6:]) for name, _ in events) == list(range(1, count + 1))
    for process in {pid for _, pid in events}:
        numbers = [int(name[6:]) for name, pid in events if pid == process]
        assert numbers == sorted(numbers)


@pytest.mark.req("R41", "R35")
@pytest.mark.parametrize(("how", "config", "kind"), [
    ({"answer": {"name": "impostor"}}, {"expect": {"name": "a"}}, errors.HandshakeFailed),
    ({"hang": True}, {"handshakeTimeoutMs": 100}, errors.HandshakeFailed),
    ({"exit": 3}, {}, errors.PluginStartFailed),
    ({}, {"command": "/bin/sh", "args": ["-c", "true"]}, errors.UntrustedCommand),
    ({}, {"wrapper": ["no-such-wrapper"]}, errors.PluginStartFailed),
])
def test_a_failing_replacement_leaves_the_old_process_serving(make_host: Make, heard: Recorder, how: Any, config: Any,
                                                              kind: Any) -> None:
    """The report says why, without an alarm; calls go on as before; a better configuration is taken afterwards."""
    host = make_host(plugin("a"), plugin("b"))
    host.start()
    pid = host["a"].pid
    report = host.reload(configuration({**plugin("a", how), **config}, plugin("b")))
    assert type(report.failed["a"]) in (kind, *kind.__subclasses__())
    assert (report.changed, report.unchanged) == ((), ("b",))
    assert heard.of("plugin_unavailable", "a") == []
    assert host["a"].request("facts")["pid"] == pid
    assert heard.states("a") == ["starting", "ready"]
    assert host.reload(configuration(plugin("a", env={"X": "1"}), plugin("b"))).changed == ("a",)
    assert host["a"].request("facts")["pid"] != pid


@pytest.mark.fault("P16")
def test_the_old_process_may_die_while_the_new_one_is_on_trial(make_host: Make, make_gate: Callable[..., Gate],
                                                               heard: Recorder) -> None:
    """The new process takes over all the same, from backoff, and nothing of the old configuration is left."""
    gate = make_gate()
    host = make_host(plugin("a", restart={"backoffMs": 60_000}))
    host.start()
    reload = in_background(lambda: host.reload(configuration(plugin("a", {"gate": gate.path}, env={"X": "1"}))))
    gate.wait_for_visitor()
    with pytest.raises(errors.PluginCrashed):
        host["a"].request("die")
    assert host["a"].state is PluginState.BACKOFF
    gate.open()
    assert result_of(reload).changed == ("a",)
    assert host["a"].request("facts")["env"]["X"] == "1"
    heard.wait("plugin_ready", "a", 2)
    assert heard.states("a") == ["starting", "ready", "backoff", "starting", "ready"]


def test_a_restart_of_the_old_process_loses_against_the_new_one(make_host: Make, make_gate: Callable[..., Gate],
                                                                heard: Recorder, tmp_path: Path) -> None:
    """Where the old one crashed and is being restarted when the new one is ready, that start is ended."""
    gate, again, flag = make_gate("new"), make_gate("again"), tmp_path / "trace"
    host = make_host(plugin("a", {"gate": again.path, "trace": str(flag)}, shutdownTimeoutMs=200))
    again.open()
    host.start()
    reload = in_background(lambda: host.reload(configuration(plugin("a", {"gate": gate.path}, env={"X": "1"}))))
    gate.wait_for_visitor()
    with pytest.raises(errors.PluginCrashed):
        host["a"].request("die")
    heard.wait_state("a", "starting", 2)
    gate.open()
    assert result_of(reload).changed == ("a",)
    assert host["a"].request("facts")["env"]["X"] == "1"
    host.stop()
    for line in flag.read_text().splitlines():
        assert wait_dead(int(line.split()[1]))


@pytest.mark.fault("P15")
@pytest.mark.parametrize("command", ["stop", "restart", "disable"])
def test_a_command_during_the_trial_wins(make_host: Make, make_gate: Callable[..., Gate], tmp_path: Path, command: str
                                         ) -> None:
    """The new process is given up and gone, the reload says so, and the command is carried out."""
    gate, trace = make_gate(), tmp_path / "trace"
    host = make_host(plugin("a"))
    host.start()
    new = plugin("a", {"gate": gate.path, "trace": str(trace)}, shutdownTimeoutMs=200)
    reload = in_background(lambda: host.reload(configuration(new)))
    gate.wait_for_visitor()
    getattr(host["a"], command)()
    report = result_of(reload)
    assert isinstance(report.failed["a"], errors.PluginNotRunning)
    expected = {"stop": PluginState.STOPPED, "restart": PluginState.READY, "disable": PluginState.DISABLED}
    assert host["a"].state is expected[command]
    host.stop()
    assert all(wait_dead(int(line.split()[1])) for line in trace.read_text().splitlines())


def test_a_double_can_be_reloaded(make_host: Make) -> None:
    """Two runs of a fake live side by side for a moment, each with its own conversation."""
    host = make_host(plugin("a"))
    with fake_plugin(host, "a", {"echo": lambda params: params}) as fake:
        pending = host["a"].submit("echo", [0])
        assert host.reload(configuration(plugin("a", rpcTimeoutMs=9000))).changed == ("a",)
        assert pending.result(20) == [0]
        assert host["a"].request("echo", [1]) == [1]
        host.broadcast("E")
        assert len(fake.wait_for_events(1)) == 1
