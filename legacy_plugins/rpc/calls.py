"""The calls that wait for an answer, as real Futures in a bounded table.

Every call ends exactly once, because whoever takes it out of the table, and nobody else, ends it: the reader with an
answer, a caller whose patience ended, `cancel`, the time-out of a submitted call, or the owner of a dead conversation.
"""
from __future__ import annotations

import concurrent.futures
import operator
import os
import threading
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from legacy_plugins.errors import PluginError, PluginNotRunning
from legacy_plugins.rpc.deadline import Deadline
from legacy_plugins.rpc.dispatcher import Dispatcher
from legacy_plugins.rpc.latch import Latch
from legacy_plugins.rpc.outbox import Entry
from legacy_plugins.rpc.reactor import Timer

#: The ways in which a call ends.
ANSWERED, FAILED, TIMED_OUT, CANCELLED, CRASHED = "answered", "failed", "timed_out", "cancelled", "crashed"
OUTCOMES = (ANSWERED, FAILED, TIMED_OUT, CANCELLED, CRASHED)
_Future = concurrent.futures.Future  # the hot path does without `super()`


class TooManyCalls(Exception):
    """The table is full."""


class TableClosed(Exception):
    """The conversation has ended; `error()` makes what its calls fail with."""

    def __init__(self, error: Callable[[], PluginError]) -> None:
        super().__init__()
        self.error = error


class _Condition(threading.Condition):
    """Entered and left in C alone: a signal handler finds no moment at which it is taken and the `with` not begun."""

    __enter__ = property(operator.attrgetter("_lock.__enter__"))  # type: ignore[assignment]
    __exit__ = property(operator.attrgetter("_lock.__exit__"))  # type: ignore[assignment]


class Call(_Future):  # type: ignore[type-arg]  # generic only from Python 3.9 on
    """One request in flight. Works with `wait`, `as_completed` and `asyncio.wrap_future`.

    A forked child has a copy that nobody will end: asked for its result, it raises `PluginNotRunning`.
    """

    def __init__(self, table: CallTable, method: str, deadline: Deadline,
                 on_progress: Optional[Callable[[Any], None]], dispatcher: Dispatcher) -> None:
        super().__init__()
        self.id = 0  # none yet
        self.method = method
        self.deadline = deadline
        self.started = time.monotonic()
        self.on_progress = on_progress
        self.entry: Optional[Entry] = None
        self.timer: Optional[Timer] = None
        self.over = Latch()  # what this library waits for; see there for why not the condition. Set after callbacks ran
        self._condition.__class__ = _Condition  # `Future`'s own, which the reader needs when it ends the call
        self._table = table
        self._dispatcher = dispatcher

    def result(self, timeout: Optional[float] = None) -> Any:
        """What the other side answered, within `timeout` seconds; raises what the call failed with."""
        if self._table.owner != os.getpid():
            self._check_inherited()
        if not (self.over.is_set() or self.done() or self.over.wait(timeout)):
            raise concurrent.futures.TimeoutError
        return _Future.result(self)

    def exception(self, timeout: Optional[float] = None) -> Optional[BaseException]:
        """What the call failed with, None where it did not; raises `TimeoutError` after `timeout` seconds."""
        if self._table.owner != os.getpid():
            self._check_inherited()
        if not (self.over.is_set() or self.done() or self.over.wait(timeout)):
            raise concurrent.futures.TimeoutError
        return _Future.exception(self)

    def set_result(self, result: Any) -> None:
        """For whoever has taken the call out of the table."""
        _Future.set_result(self, result)
        self.over.set()

    def set_exception(self, exception: Optional[BaseException]) -> None:
        """For whoever has taken the call out of the table."""
        _Future.set_exception(self, exception)
        self.over.set()

    def cancel(self) -> bool:
        """Give the call up; the plugin is told. False when it has ended already, other than by being cancelled."""
        if self._table.owner != os.getpid():
            self._check_inherited()
        if self._table.take(self.id, CANCELLED) is None:
            return self.cancelled()
        super().cancel()
        self.set_running_or_notify_cancel()  # wakes `wait` and `as_completed`
        self.over.set()
        self._table.given_up(self, CANCELLED)
        return True

    def _check_inherited(self) -> None:
        """In a forked child: what had ended before the fork has its result all the same."""
        if self._table.find(self.id) is self:
            raise PluginNotRunning(message=f"the call of {self.method!r} belongs to the process from which this one "
                                   "was forked; make another one here")

    def add_done_callback(self, fn: Callable[..., Any]) -> None:
        """Run `fn(call)` on the dispatch thread once the call has ended; never dropped."""
        super().add_done_callback(lambda call: self._dispatcher.post(fn, call))

    def add_internal_callback(self, fn: Callable[..., Any]) -> None:
        """Run `fn(call)` on the thread that ends the call: for code of this library that neither blocks nor raises."""
        super().add_done_callback(fn)


class CallOutcome(NamedTuple):
    """How a call ended, for counters and signals. `seconds`: from sending to the end."""

    method: str
    outcome: str
    seconds: float


class CallTable:
    """The pending calls of one conversation. All methods: any thread."""

    def __init__(self, issue_id: Callable[[], int], max_pending: int, dispatcher: Dispatcher, *,
                 given_up: Callable[[Call, str], None]) -> None:
        # Guards _pending, outcomes, the issuing of ids, _closed. Re-entrant: a signal handler may make a call, too.
        self._lock = threading.RLock()
        self._pending: Dict[int, Call] = {}
        self.owner = os.getpid()
        self._issue_id = issue_id
        self._max_pending = max_pending
        self._dispatcher = dispatcher
        self._closed: Optional[Callable[[], PluginError]] = None
        self.given_up = given_up
        self.outcomes: Dict[str, int] = dict.fromkeys(OUTCOMES, 0)
        self.last_method: Optional[str] = None

    def __len__(self) -> int:
        return len(self._pending)

    def make(self, method: str, deadline: Deadline, on_progress: Optional[Callable[[Any], None]] = None) -> Call:
        """A call that is not pending yet: whoever holds it can give it up, at whatever point it is interrupted."""
        return Call(self, method, deadline, on_progress, self._dispatcher)

    def open(self, call: Call) -> None:
        """Make a call pending, with an id of its own. Raises `TooManyCalls`, `TableClosed`."""
        with self._lock:
            if self._closed is not None:
                raise TableClosed(self._closed)
            if len(self._pending) >= self._max_pending:
                raise TooManyCalls
            call.id = self._issue_id()
            self._pending[call.id] = call
            self.last_method = call.method

    def take(self, call_id: int, outcome: str) -> Optional[Call]:
        """The pending call, now the caller's to end, counted as `outcome`; None where somebody else has ended it."""
        with self._lock:
            call = self._pending.pop(call_id, None)
            if call is not None:
                self.outcomes[outcome] += 1
        if call is not None and call.timer is not None:
            call.timer.cancel()
        return call

    def forget(self, call_id: int) -> bool:
        """Take back a call that was never sent: it is not counted. False where somebody else has ended it."""
        with self._lock:
            return self._pending.pop(call_id, None) is not None

    def find(self, call_id: int) -> Optional[Call]:
        """The pending call, which stays pending."""
        return self._pending.get(call_id)

    def close(self, error: Callable[[], PluginError]) -> Tuple[Call, ...]:
        """Refuse new calls with `error()` from now on; the calls that were pending, now the caller's to end."""
        with self._lock:
            self._closed = error
            calls = tuple(self._pending.values())
            self._pending.clear()
            self.outcomes[CRASHED] += len(calls)
        return calls

    def pending_since(self) -> Optional[float]:
        """When the call was made that has been waiting longest, on the monotonic clock; None where none waits."""
        return next((call.started for call in list(self._pending.values())), None)

    def pending_methods(self) -> List[str]:
        """The methods in flight, oldest first."""
        return [call.method for call in list(self._pending.values())]
