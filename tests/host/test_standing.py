"""A plugin's state as it changes, and who is told."""
from __future__ import annotations

import logging
from typing import Any, Iterator, List

import pytest

from legacy_plugins import errors
from legacy_plugins.host.availability import Availability
from legacy_plugins.host.lifecycle import NextStart, PluginState
from legacy_plugins.host.notices import Notices
from legacy_plugins.host.standing import Standing
from legacy_plugins.rpc.dispatcher import shared_dispatcher

from .conftest import LogBook, Recorder, flush_notices

S = PluginState


class Stage:
    """A stopped plugin `a`."""

    def __init__(self) -> None:
        self.available = Availability("a", S.STOPPED)
        self.rerouted: List[PluginState] = []
        self.standing = Standing("a", self.available, Notices("the host", shared_dispatcher()),
                                 lambda: self.rerouted.append(self.standing.state))


@pytest.fixture
def stage() -> Iterator[Stage]:
    """One whose notices are handed out at the end."""
    yield Stage()
    flush_notices()


def test_every_change_is_told(stage: Stage, heard: Recorder, log: LogBook) -> None:
    """Old state, new state and reason go to the signal and to the log."""
    stage.standing.become(S.STARTING, "start")
    stage.standing.become(S.READY, "ready", pid=7)
    flush_notices()
    assert heard.of("plugin_state_changed", "a") == [
        {"old": S.STOPPED, "new": S.STARTING, "reason": "start"},
        {"old": S.STARTING, "new": S.READY, "reason": "ready"}]
    record: Any = log.wait("starting -> ready")
    assert (record.plugin, record.pid) == ("a", 7)


def test_entering_a_state_anew_is_no_change(stage: Stage, heard: Recorder) -> None:
    """The facts are others, the state began when it began, and nobody is told."""
    since = stage.available.view.since
    stage.standing.become(S.STOPPED, "stopped once more")
    flush_notices()
    assert stage.available.view.reason == "stopped once more"
    assert stage.available.view.since == since
    assert heard.heard == []


def test_routes_change_with_readiness(stage: Stage) -> None:
    """Whoever becomes ready, or ceases to be, changes the routes; others do not."""
    for state in (S.STARTING, S.READY, S.READY, S.STOPPING, S.STOPPED):
        stage.standing.become(state, "")
    assert stage.rerouted == [S.READY, S.READY, S.STOPPING]


@pytest.mark.req("R35", "R36")
def test_backing_off_is_an_alarm_with_a_date(stage: Stage, heard: Recorder, log: LogBook) -> None:
    """Callers learn when the next start is due, operators how many tries are left."""
    error = errors.PluginStartFailed("a", message="no database")
    stage.standing.become(S.STARTING, "start")
    stage.standing.back_off(NextStart(2, 5.0), 3, error)
    flush_notices()
    assert [record.levelno for record in log.containing("no database")] == [logging.ERROR]  # it is told once
    assert stage.available.error(stage.available.view).retry_after == pytest.approx(5, abs=1)  # type: ignore[attr-defined]
    assert heard.of("plugin_unavailable", "a") == [{"reason": "no database; restart 2 of 3 in 5.0 s", "error": error}]
    assert heard.of("plugin_restarting", "a") == [{"attempt": 2, "delay": 5.0}]


@pytest.mark.req("R35")
@pytest.mark.parametrize(("attempts", "said"), [
    (0, "no database; given up"), (3, "no database; given up after 3 restarts")])
def test_giving_up_is_an_alarm(stage: Stage, heard: Recorder, attempts: int, said: str) -> None:
    """The state is `failed`, and both signals say so."""
    error = errors.PluginStartFailed("a", message="no database")
    stage.standing.become(S.STARTING, "start")
    stage.standing.give_up(attempts, error, None)
    flush_notices()
    assert heard.of("plugin_unavailable", "a") == [{"reason": said, "error": error}]
    assert heard.of("plugin_gave_up", "a") == [{"attempts": attempts, "crash": None}]
    assert stage.standing.state is S.FAILED


def test_down_means_that_nothing_comes_by_itself(stage: Stage) -> None:
    """A plugin that is about to be started again is not down."""
    assert stage.standing.down
    stage.available.update(start_follows=True)
    assert not stage.standing.down
    stage.standing.become(S.STARTING, "")
    assert not stage.standing.down


def test_a_reason_is_one_line(stage: Stage, heard: Recorder) -> None:
    """A reason that quotes the plugin cannot move a cursor where the state is shown, nor begin a line."""
    stage.standing.become(S.STARTING, "said \x1b[2J\nforged")
    flush_notices()
    assert stage.available.view.reason == "said \\x1b[2J\\nforged"
    assert heard.of("plugin_state_changed", "a")[0]["reason"] == "said \\x1b[2J\\nforged"
