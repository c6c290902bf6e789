"""The host's side of the guard: started before the first plugin, told of every process group, replaced when it dies.

Supervising thread. Without a guard (switched off, or no shell) plugins still see EOF on stdin when the host dies.
"""
from __future__ import annotations

import logging
import os
import secrets
from typing import Dict, Optional, Set

from legacy_plugins.rpc.reactor import Reactor, Timer, shared_reactor
from legacy_plugins.transport import descriptors
from legacy_plugins.transport.guard import Guard
from legacy_plugins.transport.process import open_pidfd

_log = logging.getLogger("legacy_plugins.host")
_LOOK_SECONDS = 5.0
_MAX_DEATHS = 5
_EXIT_SECONDS = 0.2  # it usually takes a tenth of that


class OrphanGuard:
    """One per process, for all its hosts. `token` marks this process's plugins."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self.token = secrets.token_hex(16)
        self._possible = True
        self._closing = False
        self._groups: Set[int] = set()
        self._guard: Optional[Guard] = None
        self._exit_fd: Optional[int] = None
        self._timer: Optional[Timer] = None
        self._deaths = 0

    @property
    def pid(self) -> Optional[int]:
        """The guard's process id, None where there is none."""
        return self._guard.pid if self._guard is not None else None

    def add(self, pgid: int) -> None:
        """A plugin was started: its process group ends with this host, whatever happens."""
        self._groups.add(pgid)
        if self._guard is None and self._possible:
            self._start()
        elif self._guard is not None and not self._guard.add(pgid):
            self._lost()

    def remove(self, pgid: int) -> None:
        """The group is gone; its number may be another's soon."""
        self._groups.discard(pgid)
        if self._guard is not None:
            if not self._guard.remove(pgid):
                self._lost()

    def close_at_exit(self) -> None:
        """The process exits and its plugins are gone: the guard makes a last sweep by itself, and ends."""
        self._closing = True  # its end is wanted from here on
        if self._guard is not None:
            self._guard.close(_EXIT_SECONDS)

    def abandon(self) -> None:
        """In a forked child: the guard is the parent's."""
        if self._guard is not None:
            self._guard.abandon()

    def _start(self) -> None:
        guard = Guard(self.token)
        if not guard.start():
            self._possible = False
            _log.warning("no guard: %s; plugins that ignore EOF may outlive a killed host", guard.reason)
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
        if guard is None or self._closing:
            return
        guard.close()  # it is killed and reaped
        self._deaths += 1
        _log.warning("the guard (pid %s) of host process %d died; starting another", guard.pid, os.getpid())
        if self._deaths <= _MAX_DEATHS:
            self._start()

    def _forget_watch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._exit_fd is not None:
            self._reactor.unwatch(self._exit_fd)
            descriptors.close(self._exit_fd)
            self._exit_fd = None


_guards: Dict[int, OrphanGuard] = {}


def shared_guard() -> OrphanGuard:
    """This process's guard; a forked child gets its own, with another token."""
    pid = os.getpid()
    guard = _guards.get(pid)
    if guard is None:
        for parent in [owner for owner in list(_guards) if owner != pid]:
            inherited = _guards.pop(parent, None)
            if inherited is not None:
                inherited.abandon()
        guard = _guards.setdefault(pid, OrphanGuard(shared_reactor()))
    return guard
