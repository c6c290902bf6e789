"""No plugin outlives its host, however that ends."""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple, cast

import pytest

from legacy_plugins.host import orphans
from legacy_plugins.host.orphans import MAX_DEATHS, OrphanGuard
from legacy_plugins.rpc.reactor import Reactor

from .conftest import ROOT, LogBook, configuration, flush_notices, is_running, plugin, run_script, wait_dead

HOST = """
import json, logging, os, signal, sys, threading
from legacy_plugins import PluginHost
from legacy_plugins.host.orphans import shared_guard
host = PluginHost(json.loads(sys.argv[1]))
host.start()
assert all(status.state.value == "ready" for status in host.status()), host.status()
"""
TELL = """
print(json.dumps({"plugins": [host[name].pid for name in host], "guard": shared_guard().pid}), flush=True)
signal.pause()
"""


def start(source: str, *plugins: Dict[str, Any], **rest: Any) -> Tuple[subprocess.Popen[bytes], Dict[str, Any]]:
    """A host process that runs `source` and then waits to be killed, and what it told of itself."""
    process = subprocess.Popen([sys.executable, "-W", "error", "-c", HOST + source + TELL,
                                json.dumps(configuration(*plugins, **rest))], cwd=str(ROOT), stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        return process, json.loads(process.stdout.readline())
    except ValueError:
        process.kill()
        process.wait(20)
        raise


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL, and no more of it."""
    process.kill()
    with process:
        process.wait(20)


@pytest.mark.req("R3", "R15")
@pytest.mark.fault("H5", "G4")
def test_a_killed_host_leaves_no_plugin_behind() -> None:
    """After SIGKILL to the host, plugins that ignore EOF and SIGTERM are ended, and the guard ends too."""
    process, told = start("", plugin("a", {"deaf": True}), plugin("b", {"deaf": True}), plugin("c"))
    assert all(map(is_running, [*told["plugins"], told["guard"]]))
    kill(process)
    assert all(map(wait_dead, [*told["plugins"], told["guard"]]))


@pytest.mark.fault("H13")
def test_a_killed_guard_is_replaced() -> None:
    """The host notices, warns, and starts another guard that knows the plugins that run already."""
    process, told = start("""
first, warned = shared_guard().pid, threading.Event()
class Book(logging.Handler):
    def emit(self, record):
        if f"the guard (pid {first})" in record.getMessage() and record.levelname == "WARNING":
            warned.set()
logging.getLogger("legacy_plugins").addHandler(Book())
os.kill(first, signal.SIGKILL)
assert warned.wait(20)
host["b"].restart()
assert shared_guard().pid not in (None, first)
""", plugin("a", {"deaf": True}), plugin("b", {"deaf": True}, shutdownTimeoutMs=100))
    kill(process)
    assert all(map(wait_dead, [*told["plugins"], told["guard"]]))


@pytest.mark.req("R15")
@pytest.mark.fault("H5")
def test_without_a_guard_plugins_see_eof(tmp_path: Path) -> None:
    """`guard: false` starts none; a plugin that keeps the contract ends with its host all the same."""
    trace = tmp_path / "trace"
    process, told = start("", plugin("a", {"trace": str(trace)}), guard=False)
    (pid,) = told["plugins"]
    assert told["guard"] is None
    kill(process)
    assert wait_dead(pid)
    assert trace.read_text().splitlines() == [f"start {pid}", f"eof {pid}"]


def test_the_guard_is_there_before_the_first_plugin() -> None:
    """When the first program is started, its host's death is provided for."""
    output = run_script("""
import json, logging, sys
logging.getLogger("legacy_plugins").addHandler(logging.NullHandler())
from legacy_plugins import PluginHost
from legacy_plugins.host import launch
from legacy_plugins.host.orphans import shared_guard
start = launch.ChildProcess
def spy(spec):
    print("guarded" if shared_guard().pid else "alone", flush=True)
    return start(spec)
launch.ChildProcess = spy
with PluginHost(json.loads(sys.argv[1])):
    pass
""", json.dumps(configuration(plugin("a"))))
    assert output.split() == ["guarded"]


class Shell:
    """In the guard process's place. `made`: all of them; `good`: whether new ones can be started."""

    made: List[Shell]
    good = True
    reason = "there is no shell"

    def __init__(self, token: str) -> None:
        self.pid = None
        self.told: List[str] = []
        self.lost = False
        self.made.append(self)

    def start(self) -> bool:
        """As `Guard`."""
        return self.good

    def alive(self) -> bool:
        """As `Guard`."""
        return not self.lost

    def add(self, pgid: int) -> bool:
        """As `Guard`."""
        self.told.append(f"add {pgid}")
        return not self.lost

    def remove(self, pgid: int) -> bool:
        """As `Guard`."""
        self.told.append(f"del {pgid}")
        return not self.lost

    def close(self, timeout: float = 2.0) -> bool:
        """As `Guard`."""
        self.told.append("end")
        return True


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Iterator[type]:
    """Stand-ins for guard processes."""
    monkeypatch.setattr(Shell, "made", [], raising=False)
    monkeypatch.setattr(Shell, "good", True)
    monkeypatch.setattr(orphans, "Guard", Shell)
    yield Shell
    flush_notices()


class Clockless:
    """A reactor whose timers never come."""

    def call_later(self, delay: float, callback: Any) -> Any:
        """As `Reactor`."""
        return self

    def cancel(self) -> None:
        """As `Timer`."""


def make_guard() -> OrphanGuard:
    """A guard's host side."""
    return OrphanGuard(cast("Reactor", Clockless()))


def test_the_guard_knows_the_groups_that_are_there(shell: Any) -> None:
    """Groups are told as they come and go, all that are left to a new guard."""
    guard = make_guard()
    guard.prepare()
    for pgid in (11, 12, 13):
        guard.add(pgid)
    guard.remove(11)
    shell.made[0].lost = True
    guard.remove(12)
    assert shell.made[0].told == ["add 11", "add 12", "add 13", "del 11", "del 12", "end"]
    assert shell.made[1].told == ["add 13"]


@pytest.mark.fault("H13")
def test_a_guard_that_dies_again_and_again_is_given_up(shell: Any, log: LogBook) -> None:
    """Somebody means it: the last warning says that none is started any more, and none is."""
    guard = make_guard()
    for _ in range(MAX_DEATHS + 3):
        guard.prepare()
        shell.made[-1].lost = True
        guard.add(11)
    assert len(shell.made) == MAX_DEATHS
    assert "is not started again" in log.wait(f"died {MAX_DEATHS} times").getMessage()


@pytest.mark.fault("H14")
def test_a_host_without_a_shell_is_warned_once(shell: Any, log: LogBook) -> None:
    """Where no guard can be started, plugins run without one, and the log says so once."""
    shell.good = False
    guard = make_guard()
    for pgid in (11, 12):
        guard.prepare()
        guard.add(pgid)
    flush_notices()
    assert len(log.containing("there is no shell")) == len(shell.made) == 1


def test_the_end_of_a_guard_that_was_closed_is_no_loss(shell: Any, log: LogBook) -> None:
    """At the interpreter's exit the guard is told to end; nobody warns or starts another."""
    guard = make_guard()
    guard.prepare()
    guard.close_at_exit()
    guard._lost()
    guard.prepare()
    flush_notices()
    assert len(shell.made) == 1
    assert shell.made[0].told == ["end"]
    assert log.records == []
