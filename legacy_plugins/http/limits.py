"""How much of a plugin, and of the web server's threads, the requests for its routes may take.

Owns one `PluginLimits` a plugin and process: the places for concurrent requests, and the token bucket of the rate
limit. They know of no policy, since a reload changes it while places are taken: each step brings the bound it goes by,
and what was taken before counts on. They are made at first use in the process that uses them: a lock made before a
fork, or before gevent patches `threading`, can stay locked for ever. Nothing waits here for a place or for a token;
who finds none is told at once. Any thread; the lock guards the counters and is never held while anything else happens.
"""
from __future__ import annotations

import os
import threading
import time
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Callable, Dict, Iterator, Optional, Tuple

from legacy_plugins.config.policies import RateLimit
from legacy_plugins.http.problems import HttpProblem, retry_after
from legacy_plugins.http.rate_storage import RateStorage

if TYPE_CHECKING:
    from legacy_plugins.host import PluginHost

#: What a client is told to wait for a place: requests are short.
_PLACE_SECONDS = 1.0


class TokenBucket:
    """So many requests within so many seconds, all of them at once if they come so. The caller holds a lock.

    Counts the tokens that are out, not those that are left: so a limit that a reload changes goes on from there.
    """

    def __init__(self, now: float) -> None:
        self._out = 0.0
        self._counted = now

    def take(self, limit: RateLimit, now: float) -> float:
        """0 where the request is within the limit, else the seconds until one will be."""
        rate = limit.requests / limit.per_seconds
        self._out = max(0.0, min(self._out, limit.requests) - (now - self._counted) * rate)
        self._counted = now
        missing = self._out + 1 - limit.requests
        if missing > 0:
            return missing / rate
        self._out += 1
        return 0.0


class PluginLimits:
    """What the requests of one plugin take in one process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # guards _taken and _bucket
        self._taken = 0
        self._bucket = TokenBucket(clock())

    def take(self, limit: RateLimit) -> float:
        """Count a request; 0 where it is within the limit, else the seconds until one will be."""
        with self._lock:
            return self._bucket.take(limit, self._clock())

    @contextmanager
    def place(self, most: int) -> Iterator[None]:
        """Hold one of the plugin's `most` places; raises `HttpProblem` 503 with Retry-After where none is free."""
        with self._lock:
            if self._taken >= most:
                raise HttpProblem(503, "the plugin is serving as many requests as it may",
                                  headers=(retry_after(_PLACE_SECONDS),))
            self._taken += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken -= 1


class LimitTable:
    """The limits of all plugins, by process and name. Has no lock: each step is one atomic operation of a dict.

    `scope`: what the processes that share a storage call their host; hosts of another name do not count together.
    """

    def __init__(self, scope: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self._scope = scope
        self._clock = clock
        self._limits: Dict[Tuple[int, str], PluginLimits] = {}
        self._storages: Dict[int, RateStorage] = {}

    def of(self, plugin: str) -> PluginLimits:
        """What the plugin's requests take in this process; always the same object."""
        key = (os.getpid(), plugin)
        known = self._limits.get(key)
        return known if known is not None else self._limits.setdefault(key, PluginLimits(self._clock))

    def check_rate(self, plugin: str, limit: Optional[RateLimit], storage_url: Optional[str]) -> None:
        """Count a request; raises `HttpProblem` 429 with Retry-After where it is one too many.

        `storage_url`: where all processes count together; None: this process counts for itself, which it also does
        while the storage cannot be asked.
        """
        if limit is None:
            return
        delay = None if storage_url is None else self._storage(storage_url).take(plugin, limit)
        if delay is None:
            delay = self.of(plugin).take(limit)
        if delay:
            raise HttpProblem(429, "too many requests for this plugin", headers=(retry_after(delay),))

    def _storage(self, url: str) -> RateStorage:
        """The storage of this process; a new one where a reload changed its address."""
        process = os.getpid()
        known = self._storages.get(process)
        if known is None:
            known = self._storages.setdefault(process, RateStorage(url, self._scope, self._clock))
        if known.url != url:
            known = self._storages[process] = RateStorage(url, self._scope, self._clock)
        return known


_tables: weakref.WeakKeyDictionary[PluginHost, LimitTable] = weakref.WeakKeyDictionary()


def limits_of(host: PluginHost) -> LimitTable:
    """The limits of a host's plugins; the same for all of its mounts, since a plugin is one however it is reached."""
    return _tables.setdefault(host, LimitTable(host.name))
