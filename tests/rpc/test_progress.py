"""The progress of a call: in order, bounded, and never at the cost of the call's deadline."""
from __future__ import annotations

import threading
from typing import Any, Callable, List, Tuple

import pytest

from legacy_plugins.errors import PluginTimeout
from legacy_plugins.rpc.calls import Call
from legacy_plugins.rpc.deadline import Deadline
from legacy_plugins.rpc.dispatcher import Dispatcher
from legacy_plugins.rpc.progress import MAX_WAITING, PostedProgress, WaitingProgress
from tests.plugins.programs import SECONDS
from tests.rpc.conftest import Talk

Begin = Callable[..., Talk]


class _Table:
    """As much of a `CallTable` as a call asks for."""

    owner = -1

    def find(self, call_id: int) -> None:
        """As `CallTable`."""


def make_call(seconds: float = SECONDS) -> Call:
    """A call that nobody will answer but the test."""
    return Call(_Table(), "m", Deadline(seconds), None, Dispatcher())  # type: ignore[arg-type]


def test_values_come_in_order_and_the_last_one_before_the_end() -> None:
    """Whatever was put before the call's end reaches the receiver, which runs on the waiting thread."""
    told: List[Tuple[Any, threading.Thread]] = []
    progress = WaitingProgress(make_call(), lambda value: told.append((value, threading.current_thread())))

    def other_side() -> None:
        for number in range(50):
            progress.put(number)
        progress.end()
    thread = threading.Thread(target=other_side)
    thread.start()
    progress.relay()
    thread.join(SECONDS)
    assert told == [(number, threading.current_thread()) for number in range(50)]


@pytest.mark.fault("B9", "B11")
def test_a_slow_receiver_loses_the_oldest_values() -> None:
    """So many wait, and no more: memory does not depend on how fast they come."""
    told: List[int] = []
    progress = WaitingProgress(make_call(), told.append)
    for number in range(MAX_WAITING + 7):
        progress.put(number)
    progress.end()
    progress.relay()
    assert told == list(range(7, MAX_WAITING + 7))


@pytest.mark.fault("B9")
def test_values_that_wait_do_not_prolong_the_call() -> None:
    """With the time over, a receiver is called no more, however many values wait."""
    call, told = make_call(0.05), []

    def slow(value: int) -> None:
        told.append(value)
        for _ in range(MAX_WAITING):
            progress.put(value + 1)
        while not call.deadline.expired:
            threading.Event().wait(0.01)
    progress = WaitingProgress(call, slow)
    progress.put(0)
    with pytest.raises(TimeoutError):
        progress.relay()
    assert told == [0]


def test_an_answer_counts_even_where_values_wait_at_the_deadline() -> None:
    """A call that has been answered ends as such, not as a time-out."""
    call = make_call(0.05)

    def slow(value: int) -> None:
        while not call.deadline.expired:
            threading.Event().wait(0.01)
        call.set_result("done")
        progress.end()
    progress = WaitingProgress(call, slow)
    progress.put(0)
    progress.put(1)
    progress.relay()
    assert call.result(0) == "done"


@pytest.mark.fault("B9", "B11")
def test_a_submitted_call_has_one_job_on_the_dispatch_thread() -> None:
    """Callbacks of others wait behind at most one job a call, and nothing is lost of what fits."""
    dispatcher, gate, told = Dispatcher(), threading.Event(), []
    dispatcher.post(gate.wait, SECONDS)
    progress = PostedProgress(dispatcher, told.append)
    for number in range(MAX_WAITING * 10):
        progress.put(number)
    assert dispatcher._jobs.qsize() <= 2  # the gate's, where its thread has not begun, and ours
    gate.set()
    assert dispatcher.flush(SECONDS)
    assert told == list(range(MAX_WAITING * 9, MAX_WAITING * 10))


def test_values_that_come_during_the_handing_over_are_handed_over_too() -> None:
    """Neither a value nor the telling of it is lost between two looks."""
    dispatcher, told = Dispatcher(), []

    def receive(value: int) -> None:
        told.append(value)
        if value < 500:
            progress.put(value + 1)
    progress = PostedProgress(dispatcher, receive)
    progress.put(0)
    for _ in range(20):
        assert dispatcher.flush(SECONDS)
    assert told == list(range(501))


@pytest.mark.fault("B9")
def test_a_flood_of_progress_ends_at_the_time_out(talk: Begin) -> None:
    """A caller whose receiver is slower than the other side gets its time-out all the same."""
    connection, _, far = talk()

    def serve() -> None:
        request = far.take()
        assert request is not None
        for value in range(5000):
            far.send(method="$/progress", params={"id": request["id"], "value": value})
    server = threading.Thread(target=serve)
    server.start()
    told: List[int] = []

    def slow(value: int) -> None:
        told.append(value)
        threading.Event().wait(0.05)
    with pytest.raises(PluginTimeout):
        connection.request("m", None, 0.5, on_progress=slow)
    server.join(SECONDS)
    assert 0 < len(told) < 100
