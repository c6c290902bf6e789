"""What callers learn of a plugin's state, and how they wait for it to change."""
from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from legacy_plugins import errors
from legacy_plugins.host.availability import Availability, View
from legacy_plugins.host.lifecycle import PluginState
from legacy_plugins.rpc.connection import Connection
from legacy_plugins.rpc.deadline import Deadline

S = PluginState
CONNECTION = cast("Connection", object())


def available(*states: PluginState, **facts: Any) -> Availability:
    """An availability that went through these states; `facts` are the last one's."""
    subject = Availability("a", S.STOPPED)
    for state in states[:-1]:
        subject.change(View(state))
    if states:
        subject.change(View(states[-1], **facts))
    return subject


def test_a_call_gets_the_connection_of_a_ready_plugin() -> None:
    """Where the plugin is ready its connection is had at once."""
    assert available(S.STARTING, S.READY, connection=CONNECTION).connection(Deadline(0)) is CONNECTION


def test_a_call_waits_for_a_start_that_is_under_way() -> None:
    """While the plugin starts, callers wait, and all of them wake when it is ready."""
    subject = available(S.STARTING)
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(subject.connection, Deadline(20)) for _ in range(4)]
        subject.change(View(S.READY, connection=CONNECTION))
        assert [call.result(20) for call in calls] == [CONNECTION] * 4


def test_a_call_waits_for_a_start_that_was_only_asked_for() -> None:
    """From the moment of the command until it is carried out, a call waits instead of failing."""
    subject = available()
    subject.start_asked()
    with pytest.raises(errors.PluginTimeout, match=r"'a' was still starting after 0\.01 s"):
        subject.connection(Deadline(0.01))
    subject.start_seen()
    with pytest.raises(errors.PluginNotRunning):
        subject.connection(Deadline(20))


def test_a_ready_plugin_without_connection_is_waited_for() -> None:
    """Between the end of its conversation and its next state, nobody is told anything that is not true yet."""
    subject = available(S.STARTING, S.READY, connection=CONNECTION)
    subject.update(connection=None)
    with pytest.raises(errors.PluginTimeout):
        subject.connection(Deadline(0.01))
    subject.change(View(S.BACKOFF, retry_at=time.monotonic() + 60))
    with pytest.raises(errors.PluginUnavailable) as caught:
        subject.connection(Deadline(20))
    assert caught.value.retry_after == pytest.approx(60, abs=5)


@pytest.mark.parametrize(("states", "kind"), [
    ((), errors.PluginNotRunning), ((S.DISABLED,), errors.PluginNotRunning),
    ((S.STARTING, S.STOPPING), errors.PluginNotRunning), ((S.STARTING, S.BACKOFF), errors.PluginUnavailable),
    ((S.STARTING, S.FAILED), errors.PluginUnavailable)])
def test_a_plugin_that_is_down_says_why(states: Any, kind: Any) -> None:
    """The error has the class for the state, names the plugin, its state and the reason."""
    subject = available(*states, reason="the moon") if states else available()
    with pytest.raises(kind, match="'a' is ") as caught:
        subject.connection(Deadline(20))
    assert caught.value.state is subject.view.state
    assert caught.value.retry_after is None
    assert not states or "the moon" in str(caught.value)
    assert subject.view.state is not S.BACKOFF or "'a' is waiting to be restarted: the moon" in str(caught.value)


@pytest.mark.parametrize("error", [
    errors.PluginStartFailed("a", message="no such file"), errors.HandshakeFailed("a", message="wrong name"),
    errors.UntrustedCommand(["evil"], plugin="a")])
def test_what_made_a_start_fail_is_what_callers_get(error: errors.PluginError) -> None:
    """A plugin that cannot start raises the very error, a new object each time, since tracebacks grow."""
    subject = available(S.STARTING, S.FAILED, error=error)
    caught = []
    for _ in range(2):
        with pytest.raises(type(error)) as info:
            subject.connection(Deadline(20))
        caught.append(info.value)
    assert str(caught[0]) == str(error)
    assert len({id(one) for one in (*caught, error)}) == 3


def test_a_restart_is_waited_for_through_the_stop() -> None:
    """While a plugin is stopped in order to be started again, calls wait."""
    subject = available(S.STARTING, S.READY)
    subject.change(View(S.STOPPING, start_follows=True))
    with pytest.raises(errors.PluginTimeout):
        subject.connection(Deadline(0.01))


def test_settled_means_that_every_command_was_carried_out() -> None:
    """A ready plugin that somebody asked to start anew is not settled before that was seen to."""
    subject = available(S.STARTING, S.READY, connection=CONNECTION)
    assert subject.settled()
    subject.start_asked()
    subject.start_asked()
    subject.start_seen()
    assert not subject.settled()
    subject.start_seen()
    assert subject.settled()


def test_waiting_is_bounded() -> None:
    """`wait` says whether what was waited for came."""
    subject = available()
    assert not subject.wait(lambda: False, 0.01)
    done = threading.Event()
    waiter = threading.Thread(target=lambda: subject.wait(done.is_set, 20))
    waiter.start()
    done.set()
    subject.update(pid=7)
    waiter.join(20)
    assert not waiter.is_alive()
    assert subject.view.pid == 7


def test_a_state_that_may_not_follow_is_refused_and_changes_nothing() -> None:
    """A transition that the table does not have is a defect, and leaves the state as it was."""
    subject = available()
    with pytest.raises(RuntimeError, match="'a' cannot go from 'stopped' to 'ready'"):
        subject.change(View(S.READY))
    assert subject.view.state is S.STOPPED
