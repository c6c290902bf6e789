"""How much of a plugin, and of the web server's threads, the requests for its routes may take.

Owns one `PluginLimits` a plugin and process: the places for concurrent requests, and the token bucket of the rate
limit. They are made at first use in the process that uses them: a lock made before a fork, or before gevent patches
`threading`, can stay locked for ever. Nothing waits here; who finds no place is told at once. Any thread; the lock
guards the counters and is never held while anything else happens.
"""
from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from typing import Callable, Dict, Iterator, Optional, Tuple

from legacy_plugins.config.policies import HttpPolicy, RateLimit
from legacy_plugins.http.problems import HttpProblem, retry_after

#: What a client is told to wait for a place: requests are short.
_PLACE_SECONDS = 1.0


class TokenBucket:
    """So many requests within so many seconds, all of them at once if they come so. The caller holds a lock."""

    def __init__(self, limit: RateLimit, now: float) -> None:
        self._capacity = float(limit.requests)
        self._rate = limit.requests / limit.per_seconds
        self._tokens = self._capacity
        self._filled = now

    def take(self, now: float) -> float:
        """0 where the request is within the limit, else the seconds until one will be."""
        self._tokens = min(self._capacity, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        if self._tokens < 1:
            return (1 - self._tokens) / self._rate
        self._tokens -= 1
        return 0.0


class PluginLimits:
    """The limits of one plugin in one process."""

    def __init__(self, policy: HttpPolicy, clock: Callable[[], float] = time.monotonic) -> None:
        self.policy = policy
        self._clock = clock
        self._lock = threading.Lock()  # guards _taken and _bucket
        self._taken = 0
        self._bucket = TokenBucket(policy.rate_limit, clock()) if policy.rate_limit is not None else None

    def check_rate(self) -> None:
        """Count a request; raises `HttpProblem` 429 with Retry-After where it is one too many."""
        if self._bucket is None:
            return
        with self._lock:
            delay = self._bucket.take(self._clock())
        if delay:
            raise HttpProblem(429, "too many requests for this plugin", headers=(retry_after(delay),))

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold one of the plugin's places; raises `HttpProblem` 503 with Retry-After where none is free."""
        with self._lock:
            if self._taken >= self.policy.max_concurrency:
                raise HttpProblem(503, "the plugin is serving as many requests as it may",
                                  headers=(retry_after(_PLACE_SECONDS),))
            self._taken += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken -= 1


class LimitTable:
    """The limits of all plugins, by process and name. Has no lock: each step is one atomic operation of a dict."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._limits: Dict[Tuple[int, str], PluginLimits] = {}

    def of(self, plugin: str, policy: HttpPolicy) -> PluginLimits:
        """The plugin's limits in this process; new ones where a reload changed its policy."""
        key = (os.getpid(), plugin)
        known: Optional[PluginLimits] = self._limits.get(key)
        if known is None:
            return self._limits.setdefault(key, PluginLimits(policy, self._clock))
        if known.policy != policy:
            known = self._limits[key] = PluginLimits(policy, self._clock)
        return known
