"""What the plugin is at: the calls and events that were accepted and have not ended.

Owns their states and bounds, which job runs in the current context, and the wait for the last of them. Any thread. Must
not send anything: whoever takes a job out of the table answers it.
"""
from __future__ import annotations

import threading
import time
from contextvars import ContextVar
from typing import Any, Callable, Dict, Optional

from legacy_plugins.protocol.messages import RequestId
from legacy_plugins.rpc.deadline import Deadline

#: The job that runs in this context; `contextvars.copy_context()` takes it along into a thread of the handler's own.
CURRENT: ContextVar[Optional[Job]] = ContextVar("legacy_plugins.sdk.job", default=None)


class Job:
    """One run of user code.

    `what`: for the log. `work`: does it and returns the result. `request_id`: None for what wants no answer.
    `deadline`: when its caller stops waiting. `trace`: the HTTP request's id, for the log. `event`: counts as an event.
    """

    def __init__(self, what: str, work: Callable[[], Any], *, request_id: Optional[RequestId] = None,
                 deadline: Optional[Deadline] = None, trace: Optional[str] = None, event: bool = False) -> None:
        self.what = what
        self.work = work
        self.request_id = request_id
        self.deadline = deadline
        self.trace = trace
        self.event = event
        self.started = False
        self.released = False
        self.ended = False
        self.cancelled = False


class JobTable:
    """The accepted jobs: at most `max_calls` calls and `max_events` events at a time."""

    def __init__(self, max_calls: int, max_events: int) -> None:
        self._changed = threading.Condition()  # guards everything below, and the states of all jobs
        self._room = {False: max_calls, True: max_events}
        self._open: Dict[int, Job] = {}
        self._by_id: Dict[RequestId, Job] = {}
        self._until: Optional[float] = None

    def add(self, job: Job) -> bool:
        """Accept a job; False when there is no room."""
        with self._changed:
            if self._room[job.event] <= 0:
                return False
            self._room[job.event] -= 1
            self._open[id(job)] = job
            if job.request_id is not None:
                self._by_id[job.request_id] = job
            return True

    def begin(self, job: Job) -> bool:
        """The job's turn has come; False when it was cancelled while it waited, and has been answered."""
        with self._changed:
            if job.ended:
                return False
            job.started = True
            return True

    def release(self, job: Job) -> None:
        """The job's work is done: its place is free, and it can be cancelled no more. Called before it is answered, or
        a caller that asks again at once would find its own place taken."""
        with self._changed:
            self._release(job)

    def end(self, job: Job) -> None:
        """The job is done, and answered where it wanted that."""
        with self._changed:
            self._remove(job)

    def cancel(self, request_id: Any) -> Optional[Job]:
        """Mark a call as cancelled. The job, where it had not begun and is now the caller's to answer; else None."""
        with self._changed:
            job = self._by_id.get(request_id) if type(request_id) in (int, str) else None
            if job is None:
                return None
            job.cancelled = True
            if job.started:
                return None
            self._remove(job)
            return job

    def abandon(self, grace: float) -> None:
        """The host is gone: all jobs are cancelled, and `drain` waits for them `grace` seconds more at most."""
        with self._changed:
            for job in self._open.values():
                job.cancelled = True
            self._until = time.monotonic() + grace
            self._changed.notify_all()

    def drain(self) -> bool:
        """Wait until no job is left; False when some are, since nobody waits for them any more (`abandon`)."""
        with self._changed:
            while self._open:
                left = None if self._until is None else self._until - time.monotonic()
                if left is not None and left <= 0:
                    return False
                self._changed.wait(left)
            return True

    def _remove(self, job: Job) -> None:
        """With the lock held."""
        job.ended = True
        self._release(job)
        if self._open.pop(id(job), None) is not None and not self._open:
            self._changed.notify_all()

    def _release(self, job: Job) -> None:
        """With the lock held."""
        if job.released:
            return
        job.released = True
        self._room[job.event] += 1
        if job.request_id is not None and self._by_id.get(job.request_id) is job:
            del self._by_id[job.request_id]
