"""From an accepted call to its answer: runs user code, and turns whatever becomes of it into an answer.

Every call is answered exactly once: with its handler's result, with the error that the handler raised, with "internal
error" for any other exception and for results that cannot be sent, with "cancelled" where it had not begun, with "busy"
where it was not accepted. The traceback of an exception goes to the plugin's log, never to the host.

`accept` and `cancel`: reader thread; `_run`: the executor's threads.
"""
from __future__ import annotations

import logging
import os
import sys
import threading
from typing import Any, Optional

from legacy_plugins.protocol.messages import BUSY, CANCELLED, INTERNAL_ERROR, TIMED_OUT
from legacy_plugins.rpc.connection import Connection
from legacy_plugins.sdk.error import Error
from legacy_plugins.sdk.executors import Executor
from legacy_plugins.sdk.jobs import CURRENT, Job, JobTable
from legacy_plugins.sdk.log_format import users_part

_log = logging.getLogger("legacy_plugins.sdk")


class Runner:
    """See the file's first paragraph. Nothing runs before `open` is set."""

    def __init__(self, connection: Connection, executor: Executor, jobs: JobTable) -> None:
        self.open = threading.Event()
        self._connection = connection
        self._executor = executor
        self._jobs = jobs
        self._pid = os.getpid()
        self._lost = 0  # events and notifications for which there was no room

    def accept(self, job: Job) -> None:
        """Run the job when its turn comes, or say that there is no room."""
        if not self._jobs.add(job):
            self._refuse_room(job)
            return
        submit = self._executor.submit_event if job.event else self._executor.submit_call
        if not submit(self._run, job):
            self._jobs.end(job)
            self._refuse_room(job)

    def cancel(self, params: Any) -> None:
        """`$/cancelRequest`: a call that has not begun is answered, one that runs is marked."""
        job = self._jobs.cancel(params.get("id") if isinstance(params, dict) else None)
        if job is not None:
            self._connection.refuse(job.request_id, CANCELLED, f"{job.what} was cancelled before it began")

    def _refuse_room(self, job: Job) -> None:
        if job.request_id is not None:
            self._connection.refuse(job.request_id, BUSY, f"busy: too many calls wait, {job.what} was refused")
            return
        self._lost += 1
        if self._lost & (self._lost - 1) == 0:  # the first, the second, the fourth, ...: a flood of them is no news
            _log.warning("%s was dropped, the %d. so far: too many wait for their handlers", job.what, self._lost)

    def _run(self, job: Job) -> None:
        self.open.wait()
        if not self._jobs.begin(job):
            return
        current = CURRENT.set(job)
        try:
            self._work(job)
        finally:
            if os.getpid() != self._pid:
                _end_forked_child(job)
            CURRENT.reset(current)
            self._jobs.end(job)

    def _work(self, job: Job) -> None:
        if job.deadline is not None and job.deadline.expired:
            self._refuse(job, TIMED_OUT, f"{job.what} waited for a worker until its caller's time was over")
            return
        try:
            result = job.work()
        except Error as error:
            self._refuse(job, error.code, error.message, error.data)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - user code: its caller gets an answer whatever it does
            _log.error("%s failed", job.what, exc_info=users_part(error))
            self._refuse(job, INTERNAL_ERROR, f"internal error: {type(error).__name__}")
        except BaseException:
            self._refuse(job, INTERNAL_ERROR, "internal error: the plugin was interrupted")
            raise
        else:
            self._answer(job, result)

    def _answer(self, job: Job, result: Any) -> None:
        if job.request_id is None or os.getpid() != self._pid:
            return
        self._jobs.release(job)
        try:
            self._connection.answer(job.request_id, result)
        except Exception as error:  # noqa: BLE001 - encoding runs user code too: subclasses of dict, changing ones
            _log.error("the result of %s cannot be sent: %s: %s", job.what, type(error).__name__, error)
            self._refuse(job, INTERNAL_ERROR, f"the result of {job.what} cannot be sent: {error}")

    def _refuse(self, job: Job, code: int, message: str, data: Optional[Any] = None) -> None:
        if os.getpid() != self._pid:
            return
        if job.request_id is None:
            if code != INTERNAL_ERROR:  # those were logged with their traceback
                _log.error("%s failed with error %d: %s", job.what, code, message)
            return
        self._jobs.release(job)
        try:
            self._connection.refuse(job.request_id, code, message, data)
        except Exception as error:  # noqa: BLE001 - `data` is user data
            _log.error("the error %d of %s has data that cannot be sent: %s", code, job.what, error)
            self._connection.refuse(job.request_id, code, message)


def _end_forked_child(job: Job) -> None:
    """A handler forked, and its child returned into our code: it must neither answer nor go on as a second plugin."""
    try:
        _log.error("a process forked by %s returned from the handler; end such a process with os._exit()", job.what)
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    finally:  # whatever a broken stream raises
        os._exit(1)
