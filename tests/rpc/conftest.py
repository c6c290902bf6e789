"""Conversations whose far end the test plays, and one with a real program; both must leave nothing behind."""
from __future__ import annotations

import threading
from typing import Any, Callable, Iterator, List, NamedTuple, Optional, Sequence

import pytest

from legacy_plugins.errors import PluginCrashed, PluginError
from legacy_plugins.protocol.messages import Failure, Notification, Request
from legacy_plugins.protocol.peer import MessageFault
from legacy_plugins.rpc.calls import CallOutcome
from legacy_plugins.rpc.connection import Connection
from legacy_plugins.rpc.conversation import ConnectionLimits, ConversationHandler, EndReason
from legacy_plugins.rpc.process_client import JsonRpcProcess
from tests.plugins.far_end import FarEnd, socket_pair
from tests.plugins.programs import ECHO, SECONDS, PatientProcess, children, descriptors, eventually, threads


class Heard(ConversationHandler):
    """A handler that keeps what it is told."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.requests: List[Request] = []
        self.notifications: List[Notification] = []
        self.faults: List[MessageFault] = []
        self.unassigned: List[Failure] = []
        self.stray: List[bytes] = []
        self.ends: List[EndReason] = []
        self.outcomes: List[CallOutcome] = []
        self.drained = 0

    def _keep(self, where: List[Any], what: Any) -> None:
        with self._changed:
            where.append(what)
            self._changed.notify_all()

    def wait(self, condition: Callable[[], object], what: str = "something is heard") -> None:
        """Wait until the condition holds."""
        with self._changed:
            assert self._changed.wait_for(condition, SECONDS), f"not within {SECONDS:g} s: {what}"

    def on_request(self, request: Request) -> None:
        self._keep(self.requests, request)

    def on_notification(self, notification: Notification) -> None:
        self._keep(self.notifications, notification)

    def on_fault(self, fault: MessageFault) -> None:
        self._keep(self.faults, fault)

    def on_unassigned_error(self, failure: Failure) -> None:
        self._keep(self.unassigned, failure)

    def on_stray_output(self, line: bytes) -> None:
        self._keep(self.stray, line)

    def on_end(self, reason: EndReason) -> None:
        self._keep(self.ends, reason)

    def on_drained(self) -> None:
        with self._changed:
            self.drained += 1
            self._changed.notify_all()

    def on_outcome(self, outcome: CallOutcome) -> None:
        self._keep(self.outcomes, outcome)


class Talk(NamedTuple):
    """A conversation: our side, what it was told, and the far end."""

    connection: Connection
    heard: Heard
    far: FarEnd

    def finish(self) -> None:
        """End it, as an owner does."""
        self.connection.end(EndReason("the test is over"))
        self.connection.fail_pending(_crashed)
        self.connection.close_writing(0.0)
        assert self.connection.interrupt_reader()


def _crashed() -> PluginError:
    return PluginCrashed(plugin="far", message="it crashed")


@pytest.fixture
def talk() -> Iterator[Callable[..., Talk]]:
    """A function that begins conversations over socket pairs."""
    before = descriptors()
    begun: List[Talk] = []

    def begin(limits: Optional[ConnectionLimits] = None, *, buffer_bytes: Optional[int] = None,
              **how: Any) -> Talk:
        stream, far = socket_pair(buffer_bytes)
        heard = how.pop("handler", None) or Heard()
        connection = Connection(stream, heard, name="far", limits=limits or ConnectionLimits(), **how)
        begun.append(Talk(connection, heard, far))
        connection.start()
        return begun[-1]
    yield begin
    for conversation in begun:
        conversation.finish()
    eventually(lambda: not threads("far"), f"the threads end: {threads('far')}")
    for conversation in begun:
        conversation.far.close()
    eventually(lambda: len(descriptors() - before) <= 2, "no descriptor is left but the reactor's two")


@pytest.fixture
def program() -> Iterator[Callable[..., JsonRpcProcess]]:
    """A function that starts the test plugin (tests/plugins/echo.py), or another program."""
    before, mine = descriptors(), children()
    started: List[JsonRpcProcess] = []

    def start(argv: Sequence[str] = ECHO, **how: Any) -> JsonRpcProcess:
        started.append(PatientProcess(argv, **how))
        return started[-1]
    yield start
    for process in started:
        process.close(0.2)
    names = {process.name for process in started}
    eventually(lambda: not threads(*names), f"the threads end: {threads(*names)}")
    eventually(lambda: len(descriptors() - before) <= 2, "no descriptor is left but the reactor's two")
    eventually(lambda: children() <= mine, "no zombie is left")
