"""The progress of one call on its way to who asked for it: the latest values, oldest first.

The reader puts values in and never waits; a receiver that is slower than the values come loses the oldest of them, so
that neither memory nor the call's deadline depends on it. `relay` runs on the calling thread, `deliver` on the dispatch
thread.
"""
from __future__ import annotations

import queue
from collections import deque
from typing import Any, Callable, Deque

from legacy_plugins.rpc.calls import Call
from legacy_plugins.rpc.dispatcher import Dispatcher

#: How many values of one call may wait; the oldest is dropped for the next one.
MAX_WAITING = 100


class _Progress:
    """Values that wait, and whether somebody was told so. `put`: the reader thread."""

    def __init__(self, on_progress: Callable[[Any], None]) -> None:
        self._on_progress = on_progress
        self._values: Deque[Any] = deque(maxlen=MAX_WAITING)
        self._told = False

    def put(self, value: Any) -> None:
        """The other side has sent a value."""
        self._values.append(value)
        if not self._told:
            self._told = True
            self._tell()

    def _tell(self) -> None:
        raise NotImplementedError

    def _take_all(self) -> None:
        """Hand over what waits. A value that comes meanwhile is taken too, or told of again."""
        self._told = False
        for _ in range(MAX_WAITING):
            if not self._values:
                return
            self._before_each()
            self._on_progress(self._values.popleft())
        if self._values and not self._told:
            self._told = True
            self._tell()

    def _before_each(self) -> None:
        """Raise to hand over no more."""


class WaitingProgress(_Progress):
    """For a caller that waits for its call. `end` is the call's last word, whoever ends it."""

    def __init__(self, call: Call, on_progress: Callable[[Any], None]) -> None:
        super().__init__(on_progress)
        self._call = call
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._ended = False

    def end(self) -> None:
        """The call has ended."""
        self._ended = True
        self._bell.put(None)

    def relay(self) -> None:
        """Run the receiver until the call has ended. Raises `TimeoutError` when the call's time is over before."""
        while True:
            try:
                self._bell.get(timeout=self._call.deadline.left())
            except queue.Empty:
                if self._call.deadline.expired:
                    raise TimeoutError from None
                continue
            ended = self._ended  # asked first: what came before the end is in the queue then
            try:
                self._take_all()
            except _TimeIsOver:
                if not self._call.done():
                    raise TimeoutError from None
                return
            if ended:
                return

    def _tell(self) -> None:
        self._bell.put(None)

    def _before_each(self) -> None:
        if self._call.deadline.expired:
            raise _TimeIsOver


class PostedProgress(_Progress):
    """For a submitted call: at most one job at a time waits on the dispatch thread, before the call's callbacks."""

    def __init__(self, dispatcher: Dispatcher, on_progress: Callable[[Any], None]) -> None:
        super().__init__(on_progress)
        self._dispatcher = dispatcher

    def _tell(self) -> None:
        self._dispatcher.post(self._take_all)


class _TimeIsOver(Exception):
    """The call's deadline has passed while values wait."""
