"""A host's life in one process: first use, stop from anywhere, many threads, several hosts."""
from __future__ import annotations

import json
import logging
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, List

import pytest

from legacy_plugins import PluginHost, PluginState, errors, signals
from legacy_plugins.http import HttpBridge
from legacy_plugins.rpc.reactor import Reactor
from tests.http.fakes import problem, request

from .conftest import PROGRAMS, LogBook, Recorder, configuration, flush_notices, is_running, plugin, run_script

Make = Callable[..., PluginHost]
STOPPED = [PluginState.STOPPED]


@pytest.mark.req("D1", "R10")
def test_the_first_use_may_come_from_many_threads_at_once(make_host: Make, tmp_path: Path) -> None:
    """All of them wait for the same start: one process, and no call finds the plugin stopped."""
    trace = tmp_path / "trace"
    host = make_host(plugin("a", {"trace": str(trace)}))
    together = threading.Barrier(8)

    def call(number: int) -> Any:
        together.wait(20)
        return host["a"].request("echo", [number])
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, range(8))) == [[number] for number in range(8)]
    assert len(trace.read_text().splitlines()) == 1


def test_asking_starts_nothing(make_host: Make) -> None:
    """Status, health, routes, names and facts of a host that was never used are had without a process or a thread."""
    host = make_host(plugin("a", required=True))
    before = threading.active_count()
    assert host.status()[0].state is PluginState.STOPPED
    assert host.routes() == ()
    assert not host.healthy
    assert (host["a"].pid, host["a"].metadata, host["a"].routes, host["a"].last_crash, host["a"].log_tail()) == (
        None, None, (), None, ())
    assert threading.active_count() == before


@pytest.mark.fault("H9")
def test_want_of_threads_at_the_first_use(make_host: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that needs a plugin says that it is unavailable, with the reason; a stop needs none. Then it works."""
    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")
    host = make_host(plugin("a"))
    monkeypatch.setattr("legacy_plugins.rpc.reactor.shared_reactor", lambda: reactor)
    monkeypatch.setattr("legacy_plugins.host.runtime.shared_reactor", lambda: reactor)
    reactor = Reactor()
    bridge = HttpBridge(host)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        for use in (lambda: host["a"].request("echo"), lambda: host.broadcast("E"), host.start, host["a"].start,
                    lambda: host["a"].submit("echo"), lambda: host["a"].stop(), lambda: host["a"].restart()):
            with pytest.raises(errors.PluginUnavailable, match=r"a thread or of descriptors.*can't start new thread"):
                use()
        assert host.status()[0].state is PluginState.STOPPED
        answer = bridge.handle(request(path="/api/plugins/a/x"))
        assert (answer.status, problem(answer)["status"]) == (503, 503)
        host.stop()
    host.start()
    assert host["a"].request("echo", [1]) == [1]


@pytest.mark.fault("H9")
def test_want_of_descriptors_at_the_first_use() -> None:
    """The same where the supervision's pipe cannot be opened; and all is well again once there are descriptors."""
    output = run_script("""
import os, resource, sys, json
from legacy_plugins import PluginHost, errors
host = PluginHost(json.loads(sys.argv[1]))
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
taken = []
try:
    while True:
        taken.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
for use in (lambda: host["a"].request("echo", [1]), lambda: host.broadcast("E"), host.start):
    try:
        use()
    except errors.PluginUnavailable as error:
        print("open files" in str(error))
host.stop()
for fd in taken:
    os.close(fd)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
host.start()
print(host["a"].request("echo", [2]))
host.stop()
""", json.dumps(configuration(plugin("a"))))
    assert (output.count("True\n"), output.splitlines()[-1]) == (3, "[2]")


@pytest.mark.req("R15")
def test_a_host_that_was_stopped_before_its_first_use_stays_down(make_host: Make) -> None:
    """After `stop()` nothing starts by itself, whether anything ran before or not; `start()` does."""
    host = make_host(plugin("a"))
    host.stop()
    with pytest.raises(errors.PluginNotRunning):
        host["a"].request("echo")
    assert host.broadcast("E").dropped == ("a",)
    host["a"].start()
    assert host["a"].request("echo", [1]) == [1]


def test_a_plugin_that_was_stopped_before_the_first_use_is_not_started_by_it(make_host: Make) -> None:
    """The first use starts the others."""
    host = make_host(plugin("a"), plugin("b"))
    host["a"].stop()
    assert host["b"].request("echo", [1]) == [1]
    assert host["a"].state is PluginState.STOPPED
    host.start()
    assert host["a"].state is PluginState.READY


def test_a_host_is_a_context_manager(make_host: Make) -> None:
    """Inside plugins run, afterwards none does."""
    with make_host(plugin("a")) as host:
        assert host["a"].state is PluginState.READY
    assert host["a"].state is PluginState.STOPPED


@pytest.mark.req("D6")
def test_signals_say_who_sends_them_and_about_whom(make_host: Make) -> None:
    """The sender is the host, `plugin=` the name; receivers run on the dispatch thread; one that raises hurts none."""
    told: List[Any] = []
    complete = threading.Event()

    def fail(sender: Any, **_: Any) -> None:
        raise LookupError("a receiver's own trouble")

    def ready(sender: Any, plugin: str, **facts: Any) -> None:
        told.append((sender, plugin, sorted(facts), threading.current_thread().name))
        complete.set()
    host, other = make_host(plugin("a")), make_host(plugin("a"))
    with signals.plugin_ready.connected_to(fail), signals.plugin_ready.connected_to(ready, sender=host):
        other.start()
        host.start()
        assert complete.wait(20)
        flush_notices()
    assert told == [(host, "a", ["metadata"], "legacy-plugins-dispatch")]


@pytest.mark.req("D1", "D4")
def test_threads_and_descriptors_of_several_hosts() -> None:
    """Each plugin has a reader, a writer and a stderr thread and at most six descriptors; all hosts of a process
    share one supervising and one dispatch thread."""
    output = run_script("""
import json, os, sys, threading
from legacy_plugins import PluginHost
def facts():
    return sorted(thread.name for thread in threading.enumerate()), len(os.listdir("/proc/self/fd"))
config = json.loads(sys.argv[1])
with PluginHost(config) as one:
    before = facts()
    with PluginHost(config):
        print(json.dumps([before, facts()]))
""", json.dumps(configuration(plugin("a"), plugin("b"))))
    (threads, fds), (more_threads, more_fds) = json.loads(output.splitlines()[-1])
    own = [f"{name}-{role}" for name in "ab" for role in ("reader", "stderr", "writer")]
    assert threads == sorted(["MainThread", "legacy-plugins-dispatch", "legacy-plugins-supervisor", *own])
    assert more_threads == sorted([*threads, *own])
    assert more_fds - fds <= 12


def test_hosts_are_independent(make_host: Make) -> None:
    """Two hosts with the same configuration have plugins of their own; the end of one does not touch the other's."""
    one, other = make_host(plugin("a")), make_host(plugin("a"))
    for host in (one, other):
        host.start()
    assert one["a"].pid != other["a"].pid
    one.stop()
    assert other["a"].request("echo", [1]) == [1]


@pytest.mark.req("R15")
@pytest.mark.fault("P15")
def test_stop_from_a_done_callback(make_host: Make) -> None:
    """A callback on the dispatch thread may stop the host it belongs to, and sees it stopped."""
    host = make_host(plugin("a"))
    seen: List[PluginState] = []
    done = threading.Event()

    def callback(_: Any) -> None:
        host.stop()
        seen.append(host["a"].state)
        done.set()
    host["a"].submit("echo").add_done_callback(callback)
    assert done.wait(20)
    assert seen == STOPPED


@pytest.mark.req("R15")
@pytest.mark.fault("P15")
def test_stop_from_a_signal_receiver(make_host: Make) -> None:
    """A receiver may stop the host, even while the state it is told of has just been entered."""
    host = make_host(plugin("a"))
    seen: List[PluginState] = []
    done = threading.Event()

    def receiver(sender: Any, **_: Any) -> None:
        host.stop()
        seen.append(host["a"].state)
        done.set()
    with signals.plugin_ready.connected_to(receiver, sender=host):
        host.start(wait=False)
        assert done.wait(20)
    assert seen == STOPPED


@pytest.mark.req("R15")
@pytest.mark.fault("P15", "V3")
def test_stop_from_a_service(make_host: Make) -> None:
    """A function that a plugin called may stop that very plugin; the call that waits for it fails."""
    host = make_host(plugin("a", allowReverseRpc=True, shutdownTimeoutMs=500))
    seen: List[PluginState] = []
    done = threading.Event()

    @host.service("host/stop")
    def stop(params: Any, caller: Any) -> None:
        host[caller.plugin].stop()
        seen.append(host[caller.plugin].state)
        done.set()
    with pytest.raises(errors.PluginNotRunning):
        host["a"].request("ask", {"method": "host/stop"})
    assert done.wait(20)
    assert seen == STOPPED


@pytest.mark.fault("P15")
def test_a_stop_waits_for_its_own_processes_and_no_others(make_host: Make) -> None:
    """Stops and starts from two threads neither wait for each other's processes nor kill them."""
    host = make_host(plugin("a", shutdownTimeoutMs=10_000))
    host.start()
    done = threading.Event()

    def start() -> None:
        while not done.is_set():
            host.start()
    starter = threading.Thread(target=start)
    starter.start()
    try:
        for _ in range(5):
            started = time.monotonic()
            host.stop()
            assert time.monotonic() - started < 10, "it waited for a process that another thread started"
    finally:
        done.set()
        starter.join(20)
    host.start()
    assert host["a"].request("echo", [1]) == [1]
    assert host["a"].last_crash is None


@pytest.mark.fault("P15")
def test_start_and_stop_of_a_host_from_many_threads(make_host: Make, heard: Recorder, tmp_path: Path) -> None:
    """Whatever comes last wins for all plugins alike, and no process stays behind."""
    trace = tmp_path / "trace"
    host = make_host(*(plugin(name, {"trace": str(trace)}) for name in "abc"))

    def command(seed: int) -> None:
        chosen = random.Random(seed)
        for _ in range(8):
            chosen.choice([host.start, host.stop, lambda: host.start(wait=False)])()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(command, range(4)))
    flush_notices()
    host.runtime().wait_settled(20)
    assert len({host[name].state for name in host}) == 1
    host.stop()
    assert {host[name].state for name in host} == set(STOPPED)
    assert not any(is_running(int(line.split()[1])) for line in trace.read_text().splitlines())
    assert all(crash["crash"] is None for crash in heard.of("plugin_crashed"))


@pytest.mark.req("R15")
@pytest.mark.fault("P9")
def test_stop_with_a_time_out_is_bounded_by_it(make_host: Make) -> None:
    """Plugins that ignore everything are killed within the time that `stop` was given, side by side."""
    host = make_host(*(plugin(name, {"deaf": True}, shutdownTimeoutMs=60_000) for name in "abcd"))
    host.start()
    pids, started = [host[name].pid for name in host], time.monotonic()
    host.stop(timeout=1.0)
    assert time.monotonic() - started < 3
    assert not any(pid is not None and is_running(pid) for pid in pids)


def test_a_start_that_cannot_be_asked_for_leaves_nothing_pending(make_host: Make, monkeypatch: pytest.MonkeyPatch
                                                                 ) -> None:
    """Where the supervising thread cannot be started the caller gets the error, and later calls do not wait."""
    def refuse(self: Reactor, *args: Any) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")
    host = make_host(plugin("a"))
    with monkeypatch.context() as patch:
        patch.setattr(Reactor, "post", refuse)
        with pytest.raises(RuntimeError):
            host.start()
        with pytest.raises(RuntimeError):
            host["a"].request("echo")
    assert host["a"]._plugin().available.settled()
    assert host["a"].request("echo", [1]) == [1]


@pytest.mark.req("R29")
def test_switched_off_permissions_are_warned_about(log: LogBook) -> None:
    """`trust.permissions: off` is said in the log once the host is used."""
    PluginHost(configuration()).start()
    assert "trust.permissions is off" in log.wait("permissions").getMessage()


def test_doubts_are_told_once(log: LogBook, tmp_path: Path) -> None:
    """What the configuration allows and nobody can have meant is said at the first use, and of a new one anew."""
    missing, other = str(tmp_path / "missing"), str(tmp_path / "other")
    host = PluginHost({"trust": {"directories": [missing]}, "plugins": []})
    host.status()
    host.start()
    host.start()
    host.broadcast("E")
    assert log.wait(missing).levelno == logging.WARNING
    host.reload({"trust": {"directories": [other]}, "plugins": []})
    host.start()
    log.wait(other)
    flush_notices()
    assert [len(log.containing(folder)) for folder in (missing, other)] == [1, 1]


@pytest.mark.req("R11", "R29")
def test_trust_may_be_given_to_the_constructor() -> None:
    """`trust=` adds folders to those of the configuration."""
    config = {"plugins": [plugin("a")], "trust": {"commands": ["python"], "permissions": "off"}}
    with PluginHost(config) as host:
        assert "not inside a trusted directory" in host["a"].status().reason
    with PluginHost(config, trust=[str(PROGRAMS)]) as host:
        assert host["a"].request("echo", [1]) == [1]


@pytest.mark.req("R12")
def test_the_plugin_learns_who_its_host_is(make_host: Make) -> None:
    """The handshake has the plugin's expected name, and name and version of the application."""
    host = PluginHost(configuration(plugin("a", {"echoHandshake": True})), name="shop", version="7.1")
    with host:
        assert host["a"].metadata is not None
        sent = json.loads(host["a"].metadata.capabilities[0])
    assert (sent["name"], sent["version"], sent["host"]) == ("a", "7.1", {"name": "shop", "version": "7.1"})
    assert sent["protocolVersions"] == ["1.0"]
    assert sent["supportsReverseRpc"] is False
    assert sent["limits"] == {"maxFrameBytes": 16777216}
