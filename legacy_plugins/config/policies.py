"""The parts of a plugin's configuration: one frozen dataclass for each mapping in the file, with its defaults.

Names are the file's keys in snake_case, units are the file's: milliseconds as integers where a name ends in `_ms`.
Values are taken as they are; `loader` is what checks them. The methods are pure. Any thread. No I/O, clock or logging.
"""
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Optional, Tuple

from legacy_plugins.protocol.patterns import globs

__all__ = [
    "EventPolicy", "Expect", "FaultPolicy", "HealthPolicy", "HttpPolicy", "Limits", "LogPolicy", "RateLimit",
    "RestartPolicy", "ReverseRpcPolicy", "freeze_lists",
]

FORWARD_HEADERS = (
    "accept", "accept-language", "content-type", "user-agent", "if-none-match", "if-modified-since", "range",
)
RESPONSE_HEADERS = (
    "content-type", "content-disposition", "content-language", "content-range", "accept-ranges", "cache-control",
    "etag", "last-modified", "location", "vary", "link", "retry-after", "www-authenticate",
)
_MOST_DOUBLINGS = 64  # more than enough to pass any `max_backoff_ms`; keeps 2 ** attempt small


def freeze_lists(policy: Any) -> None:
    """Turn the lists of a frozen dataclass into tuples, for those who make one by hand."""
    for field in dataclasses.fields(policy):
        value = getattr(policy, field.name)
        if isinstance(value, list):
            object.__setattr__(policy, field.name, tuple(value))


def _matches(text: str, patterns: Tuple[str, ...]) -> bool:
    return globs(patterns).match(text)


@dataclass(frozen=True)
class Expect:
    """What the handshake's answer must say: the plugin's own `name`, a prefix of its `version`; None: anything."""

    name: Optional[str] = None
    version: Optional[str] = None


@dataclass(frozen=True)
class RestartPolicy:
    """Whether, how often and after which delay a crashed plugin is started again."""

    enabled: bool = True
    max_retries: int = 3
    backoff_ms: int = 2000
    strategy: str = "exponential"
    max_backoff_ms: int = 60000
    jitter: float = 0.2
    reset_after_ms: int = 60000

    def delay_ms(self, attempt: int, random: float) -> float:
        """The delay in milliseconds before restart number `attempt` (from 1).

        Linear: `backoff_ms` times the attempt. Exponential: doubled with each attempt. Never over `max_backoff_ms`;
        then moved by up to the fraction `jitter` either way. `random`: a number from 0 up to but not including 1.
        """
        factor = attempt if self.strategy == "linear" else 2 ** min(attempt - 1, _MOST_DOUBLINGS)
        delay = min(self.backoff_ms * factor, self.max_backoff_ms)
        return delay * (1 + self.jitter * (2 * random - 1))


@dataclass(frozen=True)
class FaultPolicy:
    """The message fault number `limit` within `per_seconds` ends the process."""

    limit: int = 3
    per_seconds: int = 60


@dataclass(frozen=True)
class HealthPolicy:
    """Periodic `plugin/health` requests; so many `failures` in a row restart the plugin."""

    enabled: bool = False
    interval_ms: int = 30000
    timeout_ms: int = 5000
    failures: int = 3


@dataclass(frozen=True)
class EventPolicy:
    """Which events reach the plugin, which it may publish, and what a slow plugin's queue holds."""

    include: Tuple[str, ...] = ()
    exclude: Tuple[str, ...] = ()
    publish: Tuple[str, ...] = ()
    queue_size: int = 1000
    overflow: str = "dropOldest"
    ack: bool = False
    ack_timeout_ms: int = 5000
    max_redeliveries: int = 3

    def __post_init__(self) -> None:
        freeze_lists(self)

    def wants(self, event_type: str) -> bool:
        """Whether events of this type are delivered: `exclude` goes first, then `include`; an empty one means all."""
        if _matches(event_type, self.exclude):
            return False
        return not self.include or _matches(event_type, self.include)

    def may_publish(self, event_type: str) -> bool:
        """Whether the plugin may publish events of this type: only those that `publish` matches."""
        return _matches(event_type, self.publish)


@dataclass(frozen=True)
class ReverseRpcPolicy:
    """Bounds on the plugin's calls to the host."""

    methods: Tuple[str, ...] = ()
    max_concurrency: int = 4
    timeout_ms: int = 5000

    def __post_init__(self) -> None:
        freeze_lists(self)

    def grants(self, method: str) -> bool:
        """Whether the plugin may call this service; no pattern at all grants every registered one."""
        return not self.methods or _matches(method, self.methods)


@dataclass(frozen=True)
class RateLimit:
    """So many requests within so many seconds."""

    requests: int
    per_seconds: int = 1


@dataclass(frozen=True)
class HttpPolicy:
    """The plugin's routes on the web. Header names are lower-case, `file_roots` absolute."""

    public_routes: Tuple[str, ...] = ()
    forward_headers: Tuple[str, ...] = FORWARD_HEADERS
    response_headers: Tuple[str, ...] = RESPONSE_HEADERS
    html_sandbox: bool = True
    schema_patterns: bool = False
    file_roots: Tuple[str, ...] = ()
    max_body_bytes: int = 1048576
    max_concurrency: int = 4
    rate_limit: Optional[RateLimit] = None

    def __post_init__(self) -> None:
        freeze_lists(self)

    def is_public(self, method: str, path_template: str) -> bool:
        """Whether the operator opened this route to everybody.

        `path_template`: the path as the plugin declared it (`/items/{id}`); a `*` crosses slashes. `method`: the
        request's, upper-case; HEAD is open where GET is, since it reaches the same route.
        """
        methods = (method, "GET") if method == "HEAD" else (method,)
        for entry in self.public_routes:
            wanted, _, pattern = entry.rpartition(" ")
            if (not wanted or wanted in methods) and globs((pattern,)).match(path_template):
                return True
        return False


@dataclass(frozen=True)
class LogPolicy:
    """What becomes of the plugin's stderr. `redact`: regular expressions whose matches are replaced."""

    level: str = "INFO"
    lines_per_second: int = 100
    burst: int = 500
    max_line_bytes: int = 65536
    tail_lines: int = 200
    redact: Tuple[str, ...] = ()

    def __post_init__(self) -> None:
        freeze_lists(self)


@dataclass(frozen=True)
class Limits:
    """Bounds on the conversation and on the process; None, and 0 notifications a second, mean no bound."""

    max_frame_bytes: int = 16777216
    max_pending: int = 1024
    queue_bytes: int = 4194304
    message_timeout_ms: int = 10000
    write_stall_ms: int = 10000
    notifications_per_second: int = 2000
    open_files: Optional[int] = None
    cpu_seconds: Optional[int] = None
    data_mb: Optional[int] = None
