"""The host's side of the guard: started before the first plugin, told of every process group, replaced when it dies.

Supervising thread, but for the end of the process. Without a guard (switched off, or no shell) plugins still see EOF on
stdin when the host dies.
"""
from __future__ import annotations

import logging
import os
import secrets
from typing import Any, Optional, Set

from legacy_plugins.host.notices import log_later
from legacy_plugins.rpc.dispatcher import shared_dispatcher
from legacy_plugins.rpc.reactor import Reactor, Timer, shared_reactor
from legacy_plugins.transport import descriptors
from legacy_plugins.transport.guard import Guard
from legacy_plugins.transport.per_process import PerProcess
from legacy_plugins.transport.process import open_pidfd

_LOOK_SECONDS = 5.0
#: So many guards of one process may die; whoever kills that many means it.
MAX_DEATHS = 5
_EXIT_SECONDS = 0.2  # it usually takes a tenth of that


class OrphanGuard:
    """One per process, for all its hosts. `token` marks this process's plugins."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self.token = secrets.token_hex(16)
        self._possible = True
        self._groups: Set[int] = set()
        self._guard: Optional[Guard] = None
        self._exit_fd: Optional[int] = None
        self._timer: Optional[Timer] = None
        self._deaths = 0

    @property
    def pid(self) -> Optional[int]:
        """The guard's process id, None where there is none."""
        return self._guard.pid if self._guard is not None else None

    def prepare(self) -> None:
        """A plugin is about to be started: the guard is there before it is."""
        if self._guard is None and self._possible:
            self._start()

    def add(self, pgid: int) -> None:
        """A plugin was started: its process group ends with this host, whatever happens."""
        self._groups.add(pgid)
        if self._guard is not None and not self._guard.add(pgid):
            self._lost()

    def remove(self, pgid: int) -> None:
        """The group is gone; its number may be another's soon."""
        self._groups.discard(pgid)
        if self._guard is not None and not self._guard.remove(pgid):
            self._lost()

    def close_at_exit(self) -> None:
        """The process exits and its plugins are gone: the guard makes a last sweep by itself, and ends."""
        self._possible = False
        guard, self._guard = self._guard, None  # its end is wanted from here on
        if guard is not None:
            guard.close(_EXIT_SECONDS)

    def _start(self) -> None:
        guard = Guard(self.token)
        if not guard.start():
            self._possible = False
            _warn("no guard: %s", guard.reason)
            return
        self._guard = guard
        for pgid in self._groups:
            guard.add(pgid)
        self._exit_fd = open_pidfd(guard.pid) if guard.pid is not None else None
        if self._exit_fd is not None:
            self._reactor.watch(self._exit_fd, self._lost)
        else:
            self._timer = self._reactor.call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        """Where the system cannot tell of an exit."""
        if self._guard is not None and not self._guard.alive():
            self._lost()
        elif self._guard is not None:
            self._timer = self._reactor.call_later(_LOOK_SECONDS, self._look)

    def _lost(self) -> None:
        self._forget_watch()
        guard, self._guard = self._guard, None
        if guard is None:
            return
        guard.close()  # it is killed and reaped
        self._deaths += 1
        if self._deaths < MAX_DEATHS:
            _warn("the guard (pid %s) of host process %d died; starting another", guard.pid, os.getpid())
            self._start()
        else:
            self._possible = False
            _warn("the guard of host process %d died %d times and is not started again; plugins that ignore EOF may "
                  "outlive a killed host", os.getpid(), self._deaths)

    def _forget_watch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._exit_fd is not None:
            self._reactor.unwatch(self._exit_fd)
            descriptors.close(self._exit_fd)
            self._exit_fd = None


def _warn(text: str, *args: Any) -> None:
    """Log handlers are other people's code: not on the supervising thread."""
    log_later(shared_dispatcher(), logging.WARNING, text, *args)


_guards = PerProcess(lambda: OrphanGuard(shared_reactor()))


def shared_guard() -> OrphanGuard:
    """This process's guard; a forked child gets its own, with another token."""
    return _guards.get()
