"""The table of pending calls: every call ends once, as a real Future, whoever comes first."""
from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import random
import threading
from typing import Any, Callable, List, Optional, Tuple

import pytest

from legacy_plugins.errors import PluginCrashed
from legacy_plugins.rpc.calls import (
    ANSWERED,
    CANCELLED,
    CRASHED,
    FAILED,
    OUTCOMES,
    TIMED_OUT,
    Call,
    CallTable,
    TableClosed,
    TooManyCalls,
)
from legacy_plugins.rpc.deadline import Deadline
from legacy_plugins.rpc.dispatcher import Dispatcher
from legacy_plugins.rpc.reactor import Reactor
from tests.plugins.programs import SECONDS


class Table:
    """A table, with what was given up."""

    def __init__(self, max_pending: int = 1000) -> None:
        self.given_up: List[Tuple[Call, str]] = []
        self.dispatcher = DISPATCHER
        self.table = CallTable(itertools.count(1).__next__, max_pending, self.dispatcher,
                               given_up=lambda call, outcome: self.given_up.append((call, outcome)))

    def open(self, method: str = "m", on_progress: Optional[Callable[[Any], None]] = None) -> Call:
        """A pending call."""
        call = self.table.make(method, Deadline(SECONDS), on_progress)
        self.table.open(call)
        return call

    def answer(self, call: Call, result: Any = None) -> bool:
        """As the reader does."""
        taken = self.table.take(call.id, ANSWERED)
        if taken is not None:
            taken.set_result(result)
        return taken is not None


DISPATCHER = Dispatcher()


@pytest.mark.req("D5", "R7")
def test_a_call_gets_its_own_answer() -> None:
    """Ids are issued in order and find their call; a call that has ended is found no more."""
    table = Table()
    calls = [table.open(f"m{number}") for number in range(3)]
    assert [call.id for call in calls] == [1, 2, 3]
    assert table.table.find(2) is calls[1]
    assert table.table.pending_methods() == ["m0", "m1", "m2"]
    assert table.answer(calls[1], "two")
    assert (calls[1].result(0), table.table.find(2), len(table.table)) == ("two", None, 2)
    assert not table.answer(calls[1], "again")
    assert table.table.last_method == "m2"


def test_how_long_the_oldest_call_has_been_waiting() -> None:
    """The time of the oldest call that waits yet, and none where none does."""
    table = Table()
    assert table.table.pending_since() is None
    first, second = table.open(), table.open()
    assert table.table.pending_since() == first.started
    table.answer(first)
    assert table.table.pending_since() == second.started


def test_a_call_that_was_not_sent_is_forgotten() -> None:
    """It counts as nothing; forgetting it twice, or after its end, says so."""
    table = Table()
    call = table.open()
    assert table.table.forget(call.id)
    assert not table.table.forget(call.id)
    assert table.table.outcomes == dict.fromkeys(OUTCOMES, 0)


@pytest.mark.fault("B2")
def test_the_table_has_a_bound() -> None:
    """One call too many is refused, uses up no id, and fits when another has ended."""
    table = Table(max_pending=2)
    first, _ = table.open(), table.open()
    with pytest.raises(TooManyCalls):
        table.open()
    table.answer(first)
    assert table.open().id == 3


def test_outcomes_are_counted_once() -> None:
    """Each call counts as what whoever took it said."""
    table = Table()
    for outcome in (ANSWERED, FAILED, TIMED_OUT, TIMED_OUT):
        call = table.open()
        assert table.table.take(call.id, outcome) is call
        assert table.table.take(call.id, ANSWERED) is None
    table.open().cancel()
    table.open()
    assert len(table.table.close(lambda: PluginCrashed(plugin="p"))) == 1
    assert table.table.outcomes == {ANSWERED: 1, FAILED: 1, TIMED_OUT: 2, CANCELLED: 1, CRASHED: 1}


@pytest.mark.fault("P4")
def test_a_closed_table() -> None:
    """It hands out what was pending, and refuses new calls with the error of the end, one each."""
    table = Table()
    pending = [table.open(), table.open()]
    assert table.table.close(lambda: PluginCrashed(plugin="p")) == tuple(pending)
    errors = []
    for _ in range(2):
        with pytest.raises(TableClosed) as caught:
            table.open()
        errors.append(caught.value.error())
    assert all(isinstance(error, PluginCrashed) for error in errors)
    assert errors[0] is not errors[1]
    assert not pending[0].cancel()


# ---- as Futures


def test_cancel() -> None:
    """It ends the call, wakes whoever waits, tells the owner once; a call that has ended cannot be cancelled."""
    table = Table()
    call, other = table.open(), table.open()
    waiting: List[Any] = []
    waiter = threading.Thread(target=lambda: waiting.append(concurrent.futures.wait([call], SECONDS)))
    waiter.start()
    assert call.cancel()
    waiter.join(SECONDS)
    assert waiting[0].done == {call}
    assert call.cancel()
    assert call.cancelled()
    assert table.given_up == [(call, CANCELLED)]
    with pytest.raises(concurrent.futures.CancelledError):
        call.result(0)
    table.answer(other, 1)
    assert not other.cancel()
    assert len(table.given_up) == 1


def test_a_call_that_is_just_being_answered_cannot_be_cancelled() -> None:
    """Between taking and answering `cancel` says False, and the answer comes."""
    table = Table()
    call = table.open()
    taken = table.table.take(call.id, ANSWERED)
    assert taken is call
    assert not call.cancel()
    call.set_result(7)
    assert call.result(0) == 7


def test_wait_and_as_completed() -> None:
    """The functions of `concurrent.futures` work on calls."""
    table = Table()
    calls = [table.open() for _ in range(4)]
    table.answer(calls[2], 2)
    calls[1].cancel()
    taken = table.table.take(calls[0].id, FAILED)
    assert taken is not None
    taken.set_exception(ValueError("no"))
    done, pending = concurrent.futures.wait(calls, 0)
    assert (done, pending) == (set(calls[:3]), {calls[3]})
    answerer = threading.Thread(target=lambda: table.answer(calls[3], 3))
    answerer.start()
    assert set(concurrent.futures.as_completed(calls, SECONDS)) == set(calls)
    answerer.join(SECONDS)


def test_asyncio_waits_for_calls() -> None:
    """`asyncio.wrap_future` gives the result, the error, and passes a cancellation on."""
    table = Table()
    good, bad, given_up = (table.open() for _ in range(3))

    async def run() -> None:
        wrapped = [asyncio.wrap_future(call) for call in (good, bad, given_up)]
        threading.Thread(target=lambda: table.answer(good, "good")).start()
        assert await asyncio.wait_for(wrapped[0], SECONDS) == "good"
        taken = table.table.take(bad.id, FAILED)
        assert taken is not None
        taken.set_exception(KeyError("bad"))
        with pytest.raises(KeyError, match="bad"):
            await asyncio.wait_for(wrapped[1], SECONDS)
        wrapped[2].cancel()
        with pytest.raises(asyncio.CancelledError):
            await wrapped[2]
    asyncio.run(run())
    assert given_up.cancelled()
    assert table.given_up == [(given_up, CANCELLED)]


@pytest.mark.fault("B11")
def test_done_callbacks_run_on_the_dispatch_thread() -> None:
    """Wherever a call ends, and also when it has ended already; one that raises is logged there."""
    table = Table()
    call = table.open()
    told: List[Tuple[Any, str]] = []

    def tell(ended: Any) -> None:
        told.append((ended, threading.current_thread().name))
    call.add_done_callback(tell)
    table.answer(call)
    call.add_done_callback(tell)
    assert DISPATCHER.flush(SECONDS)
    assert told == [(call, "legacy-plugins-dispatch")] * 2


def test_internal_callbacks_run_at_once() -> None:
    """Those of the library run on the thread that ends the call."""
    table = Table()
    call = table.open()
    names: List[str] = []
    call.add_internal_callback(lambda _: names.append(threading.current_thread().name))
    table.answer(call)
    assert names == [threading.current_thread().name]


def test_the_timer_of_an_ended_call_is_cancelled() -> None:
    """Its time-out is forgotten with it."""
    table, reactor = Table(), Reactor()
    call = table.open()
    call.timer = reactor.call_later(3600, lambda: None)
    table.answer(call)
    assert call.timer.callback is None


@pytest.mark.fault("J19")
def test_who_ends_a_call_is_decided_once() -> None:
    """Reader, cancelling caller, time-out and crash race for each call: one of them wins, and the counts agree."""
    table = Table(max_pending=10_000)
    calls = [table.open() for _ in range(600)]
    wins: List[List[int]] = [[], [], []]
    start = threading.Barrier(4)

    def answer() -> None:
        for call in random.sample(calls, len(calls)):
            if table.answer(call, call.id):
                wins[0].append(call.id)

    def cancel() -> None:
        for call in random.sample(calls, len(calls)):
            if not call.done() and call.cancel():
                wins[1].append(call.id)

    def time_out() -> None:
        for call in random.sample(calls, len(calls)):
            if table.table.take(call.id, TIMED_OUT) is not None:
                call.set_exception(TimeoutError())
                wins[2].append(call.id)
    threads = [threading.Thread(target=lambda job=job: (start.wait(SECONDS), job()))  # type: ignore[misc]
               for job in (answer, cancel, time_out)]
    for thread in threads:
        thread.start()
    start.wait(SECONDS)
    crashed = table.table.close(lambda: PluginCrashed(plugin="p"))
    for call in crashed:
        call.set_exception(PluginCrashed(plugin="p"))
    for thread in threads:
        thread.join(SECONDS)
    cancelled = {call.id for call, _ in table.given_up}
    parts = [set(wins[0]), cancelled, set(wins[2]), {call.id for call in crashed}]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 600
    assert all(call.done() for call in calls)
    assert len(table.table) == 0
    outcomes = table.table.outcomes
    assert [outcomes[ANSWERED], outcomes[CANCELLED], outcomes[TIMED_OUT], outcomes[CRASHED]] == list(map(len, parts))
