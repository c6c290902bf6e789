"""A storage in which several processes count the requests of a plugin together: Redis or memcached, by `limits`.

Owns the client, its time-outs, and what happens while the storage cannot be asked: nobody waits for it again for some
seconds, the log says so once a minute, and the caller counts for itself. So a storage that is down neither opens a
plugin to any number of requests nor takes it off the web. A client belongs to one process and is made at its first
request: connections must not be shared by a fork. Any thread; the lock guards what is known of the storage's state and
is never held while it is asked. The package `limits` is imported at first use, since it is an extra.
"""
from __future__ import annotations

import logging
import threading
import time
from importlib import import_module
from typing import Any, Callable, Dict, NamedTuple, Optional
from urllib.parse import quote, urlsplit

from legacy_plugins.config.policies import RateLimit

logger = logging.getLogger("legacy_plugins.http")

#: Seconds that connecting, and an answer, may take: a request's thread waits so long at most, twice for a refusal.
TIMEOUT_SECONDS = 0.5
#: Seconds without a try after one that failed; then one request tries again.
PAUSE_SECONDS = 5.0
#: Seconds between two lines of the log about a storage that cannot be asked.
QUIET_SECONDS = 60.0

_NAMESPACE = "legacy-plugins"
_LONGEST_SCOPE = 64  # memcached takes keys of 250 characters, the plugin's name has up to 64
_LONGEST_REASON = 300


class _Counter(NamedTuple):
    """The means of `limits` to count with. `storage` is kept since old releases refer to it weakly."""

    storage: Any
    limiter: Any
    item: Callable[..., Any]


class RateStorage:
    """One storage in one process.

    `url`: as in the configuration, with what stood in for secrets filled in; it appears in no log. `scope`: processes
    count together where scope, plugin and limit are the same.
    """

    def __init__(self, url: str, scope: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.url = url
        self._scope = quote(scope, safe="")[:_LONGEST_SCOPE]
        self._clock = clock
        self._counters: Dict[str, _Counter] = {}
        self._lock = threading.Lock()  # guards _down_until, _alone and _told
        self._down_until: Optional[float] = None
        self._alone = 0
        self._told: Optional[float] = None

    def take(self, plugin: str, limit: RateLimit) -> Optional[float]:
        """Count a request; 0 where it is within the limit, else the seconds until one will be.

        None while the storage cannot be asked: the caller counts by other means. Never raises, and waits for two
        answers at most.
        """
        if not self._may_ask():
            return None
        try:
            delay = self._counted(plugin, limit)
        except Exception as error:  # noqa: BLE001 - each storage has errors of its own, and a missing package is one
            self._failed(error)
            return None
        if self._down_until is not None:
            self._recovered()
        return delay

    def _counted(self, plugin: str, limit: RateLimit) -> float:
        counter = self._counters.get("")
        if counter is None:  # two threads may each make one; the first to be done is kept
            counter = self._counters.setdefault("", _counter(self.url))
        item = counter.item(limit.requests, limit.per_seconds, _NAMESPACE)
        if counter.limiter.hit(item, self._scope, plugin):
            return 0.0
        reset: float = counter.limiter.get_window_stats(item, self._scope, plugin)[0]
        if isinstance(reset, int):  # releases of `limits` before 4 cut the fraction off
            reset += 1
        return min(max(reset - time.time(), 0.001), float(limit.per_seconds))

    def _may_ask(self) -> bool:
        """Whether the storage is up as far as is known, or this request is the one to try again."""
        with self._lock:
            if self._down_until is None:
                return True
            now = self._clock()
            if now < self._down_until:
                self._alone += 1
                return False
            self._down_until = now + PAUSE_SECONDS
            return True

    def _failed(self, error: Exception) -> None:
        with self._lock:
            now = self._clock()
            self._alone += 1
            self._down_until = now + PAUSE_SECONDS
            alone, tells = self._alone, self._told is None or now >= self._told + QUIET_SECONDS
            if tells:
                self._told = now
        if tells:
            logger.warning("the storage of rate limits, %s, cannot be asked (%s); until it can, this process counts "
                           "for itself, which it did for %d request(s)", _shown(self.url), _reason(error, self.url),
                           alone)

    def _recovered(self) -> None:
        with self._lock:
            was_down, alone = self._down_until is not None, self._alone
            self._down_until, self._alone, self._told = None, 0, None
        if was_down:
            logger.warning("the storage of rate limits, %s, can be asked again; this process had counted %d request(s) "
                           "for itself", _shown(self.url), alone)


def _counter(url: str) -> _Counter:
    """A client for the storage. Does not connect; raises what `limits` raises where it, or a driver, is missing."""
    limits, strategies = import_module("limits"), import_module("limits.strategies")
    storage = import_module("limits.storage").storage_from_string(url, **_options(url))
    # The moving window never lets more through than the limit says; memcached has the means for the fixed one alone.
    strategy = "MovingWindowRateLimiter" if hasattr(storage, "acquire_entry") else "FixedWindowRateLimiter"
    return _Counter(storage, getattr(strategies, strategy)(storage), limits.RateLimitItemPerSecond)


def _options(url: str) -> Dict[str, Any]:
    """The storage's time-outs, by the names that its driver has for them."""
    # The drivers are imported whole before `limits` looks for them: it would take one that another thread is importing.
    scheme = urlsplit(url).scheme
    if scheme == "memcached":
        import_module("pymemcache")
        return {"connect_timeout": TIMEOUT_SECONDS, "timeout": TIMEOUT_SECONDS}
    if scheme.startswith("redis"):
        import_module("redis")
        return {"socket_connect_timeout": TIMEOUT_SECONDS, "socket_timeout": TIMEOUT_SECONDS}
    return {}


def _shown(url: str) -> str:
    """The address without user, password and options."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _reason(error: Exception, url: str) -> str:
    """The error without what is secret in the address, which some drivers quote."""
    text, parts = str(error), urlsplit(url)
    for secret in filter(None, (parts.netloc.rpartition("@")[0], parts.password, parts.query)):
        text = text.replace(secret, "[redacted]")
    return f"{type(error).__name__}: {' '.join(text.split())[:_LONGEST_REASON]}"
