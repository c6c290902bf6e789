"""What runs on this machine, read from /proc: servers, their workers, plugins and guards.

A process belongs to a server when it carries the server's mark in its environment, which workers inherit and the
plugins' configuration passes on. A plugin and whatever it started carry the token of the host process that started it;
a guard has that token in its command line.
"""
from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Set, Tuple, TypeVar

from legacy_plugins.transport.guard import TOKEN_VARIABLE

#: The environment variable that tells a server's processes from all others.
MARK_VARIABLE = "SERVED_MARK"

_T = TypeVar("_T")
_tick = threading.Event()  # never set
_GUARD = b"legacy-plugins-guard"


class Process(NamedTuple):
    """A process that runs. `started` (clock ticks) tells a pid from its next owner's."""

    pid: int
    parent: int
    started: int
    token: Optional[str]
    mark: Optional[str]
    guard: bool
    command: str

    @property
    def identity(self) -> Tuple[int, int]:
        """What no other process ever has."""
        return self.pid, self.started


def look() -> Dict[int, Process]:
    """pid -> process, of all that run now; zombies do not."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            process = read(int(entry.name))
            if process is not None:
                found[process.pid] = process
    return found


def read(pid: int) -> Optional[Process]:
    """One process; None where it is gone, a zombie, or not ours to look at."""
    folder = Path("/proc") / str(pid)
    try:
        stat = (folder / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        environment = dict(item.partition(b"=")[::2] for item in (folder / "environ").read_bytes().split(b"\0"))
        arguments = (folder / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    if stat[0] in "ZX":
        return None
    token = environment.get(TOKEN_VARIABLE.encode())
    guard = _GUARD in arguments
    if guard:
        token = arguments[arguments.index(_GUARD) + 2]
    mark = environment.get(MARK_VARIABLE.encode())
    return Process(pid, int(stat[1]), int(stat[19]), None if token is None else token.decode(),
                   None if mark is None else mark.decode(), guard, b" ".join(arguments).decode("utf-8", "replace"))


def below(table: Dict[int, Process], roots: Iterable[int]) -> Set[int]:
    """The pids of all descendants of `roots`, and `roots`."""
    found, grown = set(roots), True
    while grown:
        more = {process.pid for process in table.values() if process.parent in found} - found
        found |= more
        grown = bool(more)
    return found


def wait_for(check: Callable[[], _T], what: str, seconds: float) -> _T:
    """Poll a condition of other processes, which send no news: its first true value."""
    end = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        _tick.wait(0.02)


def commands(processes: Iterable[Process]) -> List[str]:
    """For messages: who is meant."""
    return [f"{process.pid}: {process.command[:80]}" for process in processes]
