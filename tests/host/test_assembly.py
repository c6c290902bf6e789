"""A process with everything around it, or none."""
from __future__ import annotations

import os
import threading
import time
from typing import Any, Callable, List

import pytest

from legacy_plugins import PluginHost, PluginState
from legacy_plugins.host import assembly
from legacy_plugins.host.incarnation import Incarnation
from legacy_plugins.host.orphans import OrphanGuard
from legacy_plugins.transport.process import ChildProcess

from .conftest import plugin

Make = Callable[..., PluginHost]


@pytest.mark.fault("H11")
def test_a_process_that_cannot_be_looked_after_is_killed(make_host: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should anything fail once the process runs, it does not stay behind, and the start has failed."""
    processes: List[Any] = []
    released = threading.Event()

    def broken(config: Any, process: Any, *rest: Any) -> Incarnation:
        processes.append(process)
        raise LookupError("a defect")

    def release(self: ChildProcess) -> None:
        give_back(self)
        released.set()
    host = make_host(plugin("a", {"deaf": True}, shutdownTimeoutMs=100))
    host.start()
    host["a"].stop()
    before, give_back = len(os.listdir("/proc/self/fd")), ChildProcess.release
    with monkeypatch.context() as patch:
        patch.setattr(assembly, "Incarnation", broken)
        patch.setattr(ChildProcess, "release", release)
        host["a"].start()
        assert released.wait(20)
    assert host["a"].state is PluginState.FAILED
    assert "a defect" in host["a"].status().reason
    assert not os.path.exists(f"/proc/{processes[0].pid}")
    deadline, tick = time.monotonic() + 20, threading.Event()
    while len(os.listdir("/proc/self/fd")) > before and time.monotonic() < deadline:
        tick.wait(0.01)  # threads of the process before may be closing theirs yet
    assert len(os.listdir("/proc/self/fd")) <= before
    host["a"].restart()
    assert host["a"].request("echo", [1]) == [1]


def test_a_guard_that_is_not_wanted_is_not_started(make_host: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `guard: false` neither the guard is made ready nor the process told to it."""
    host = make_host(plugin("a"), guard=False)
    asked: List[str] = []

    def note(self: OrphanGuard, *args: Any) -> None:
        asked.append("something")
    for name in ("prepare", "add", "remove"):
        monkeypatch.setattr(OrphanGuard, name, note)
    host.start()
    host.stop()
    assert asked == []
