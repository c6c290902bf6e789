"""How tests start the programs in this folder, and wait for what becomes of processes, threads and descriptors."""
from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, List, Optional, Set

from legacy_plugins.rpc import JsonRpcProcess

PROGRAMS = Path(__file__).parent
ROOT = PROGRAMS.parents[1]
ECHO = [sys.executable, "-S", "-E", str(PROGRAMS / "echo.py")]
#: How long anything may take that must happen, in seconds; a busy machine may let a process wait for many.
SECONDS = 30.0
_tick = threading.Event()  # never set


class PatientProcess(JsonRpcProcess):
    """A program that gets more time for its answers by default: a busy machine may let a process wait for many."""

    def request(self, method: str, params: Any = None, timeout: float = SECONDS, **how: Any) -> Any:
        return super().request(method, params, timeout, **how)


def eventually(condition: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    """Wait until a condition holds that nobody announces: the end of a thread, the death of a process."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        _tick.wait(0.002)


def descriptors() -> Set[int]:
    """The open descriptors of this process."""
    return {int(fd) for fd in os.listdir("/dev/fd") if os.path.exists(f"/dev/fd/{fd}")}


def threads(*names: str) -> List[str]:
    """The names of the running threads that belong to conversations with these names."""
    return [thread.name for thread in threading.enumerate()
            if any(thread.name.startswith(name + "-") for name in names)]


def state(pid: int) -> Optional[str]:
    """What the kernel says of a process: R, S, T, Z, ...; None when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def children() -> Set[int]:
    """The children of this process that were not reaped."""
    found: Set[int] = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "stat").read_text().rsplit(")", 1)[1].split()[1] == str(os.getpid()):
                found.add(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended
    return found
