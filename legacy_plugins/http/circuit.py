"""Keeps one poisoned route from taking its whole plugin down.

A request that crashes its plugin, sent again and again, would use up the plugin's restarts until it is given up. Owns
the count of such crashes by route: after two the route alone answers 503, for as long as the plugin must stay up for
its restarts to be counted afresh (`restart.resetAfterMs`). A route that crashes its plugin again right after that is
closed again at once; quiet for twice that time, its count is forgotten. Every route whose request was in flight at the
crash is counted, since nothing tells which one did it, and once, however many of its requests were. Any thread, no
lock: an increment lost to a race costs one crash more.
"""
from __future__ import annotations

import os
import time
import weakref
from typing import TYPE_CHECKING, Any, Callable, Dict, NamedTuple, Tuple

from legacy_plugins.http.problems import HttpProblem, retry_after

if TYPE_CHECKING:
    from legacy_plugins.host import PluginHost

#: Crashes that close a route.
CRASHES = 2


class _Crashes(NamedTuple):
    number: int
    last: float
    report: Any


class RouteCircuit:
    """The crashes of all routes of one host, by process, plugin and path."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._crashes: Dict[Tuple[int, str, str], _Crashes] = {}

    def check(self, plugin: str, path: str, quiet_seconds: float) -> None:
        """Raise `HttpProblem` 503 with Retry-After while the route is closed.

        `path`: the route's, as declared. `quiet_seconds`: how long a route stays closed after its last crash.
        """
        if not self._crashes:
            return
        key = (os.getpid(), plugin, path)
        crashes = self._crashes.get(key)
        if crashes is None:
            return
        age = self._clock() - crashes.last
        if age > 2 * quiet_seconds:
            self._crashes.pop(key, None)
        elif crashes.number >= CRASHES and age < quiet_seconds:
            raise HttpProblem(503, "the plugin ended more than once while it handled this route",
                              headers=(retry_after(quiet_seconds - age),))

    def crashed(self, plugin: str, path: str, report: Any) -> None:
        """Count a crash that happened while a request of the route was in flight; `report` tells one from the next."""
        key = (os.getpid(), plugin, path)
        known = self._crashes.get(key, _Crashes(0, 0.0, None))
        if report is None or report != known.report:
            self._crashes[key] = _Crashes(known.number + 1, self._clock(), report)


_circuits: weakref.WeakKeyDictionary[PluginHost, RouteCircuit] = weakref.WeakKeyDictionary()


def circuit_of(host: PluginHost) -> RouteCircuit:
    """The crashes of a host's routes; the same for all of its mounts, since each leads to the same plugins."""
    return _circuits.setdefault(host, RouteCircuit())
