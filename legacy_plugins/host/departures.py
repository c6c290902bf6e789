"""What a stop waits for: the processes that ran when it was carried out, and no others.

A plugin that was stopped may have been started again before whoever stopped it looks; its state would tell them
nothing. Made and waited for by any thread, filled and checked on the supervising thread.
"""
from __future__ import annotations

import logging
from typing import Iterable, List, Protocol, Tuple

from legacy_plugins.rpc.deadline import Deadline
from legacy_plugins.rpc.latch import Latch

_log = logging.getLogger("legacy_plugins.host")
#: How long killed processes may take to be gone, in seconds.
_KILL_SECONDS = 0.5


class Departure:
    """One stop of one plugin. `over`: set once its processes are gone, and the state says so."""

    def __init__(self) -> None:
        self.over = Latch()
        self.incarnations: Tuple[object, ...] = ()


class Departures:
    """The stops of one plugin that are not over. Supervising thread."""

    def __init__(self) -> None:
        self._pending: List[Departure] = []

    def add(self, departure: Departure, incarnations: Iterable[object]) -> None:
        """A stop is being carried out: these are to go."""
        departure.incarnations = tuple(incarnations)
        self._pending.append(departure)

    def check(self, still_here: Iterable[object]) -> None:
        """Tell those that wait for nobody any more."""
        here = set(still_here)
        for departure in list(self._pending):
            if here.isdisjoint(departure.incarnations):
                self._pending.remove(departure)
                departure.over.set()


class Leaver(Protocol):
    """A plugin that is being stopped."""

    name: str

    def kill(self, departure: Departure) -> None:
        """SIGKILL to the processes of a stop that are still there."""


class CommonStop:
    """The stops of several plugins, side by side, in `seconds`."""

    def __init__(self, departures: Iterable[Tuple[Leaver, Departure]], seconds: float) -> None:
        self._departures = tuple(departures)
        self._deadline = Deadline(seconds)

    def finish(self) -> bool:
        """Wait until all are gone; kill what is left when the time is over. Whether all are gone."""
        if self._wait(self._deadline):
            return True
        left = [(plugin, departure) for plugin, departure in self._departures if not departure.over.is_set()]
        _log.error("plugins %s were not gone after %.1f s; killing them",
                   ", ".join(repr(plugin.name) for plugin, _ in left), self._deadline.seconds)
        for plugin, departure in left:
            plugin.kill(departure)
        return self._wait(Deadline(_KILL_SECONDS))

    def _wait(self, deadline: Deadline) -> bool:
        return all(departure.over.wait(deadline.left()) for _, departure in self._departures)
