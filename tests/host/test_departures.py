"""What a stop waits for."""
from __future__ import annotations

import threading
from typing import Any, List, cast

from legacy_plugins.host.departures import CommonStop, Departure, Departures
from legacy_plugins.host.incarnation import Incarnation
from legacy_plugins.host.plugin import SupervisedPlugin

from .conftest import LogBook

ONE, OTHER, LATER = (cast("Incarnation", object()) for _ in range(3))


class Plugin:
    """A plugin whose processes go when they are killed, or never."""

    name = "a"

    def __init__(self, mortal: bool) -> None:
        self.mortal = mortal
        self.killed: List[Departure] = []

    def kill(self, departure: Departure) -> None:
        """As `SupervisedPlugin`."""
        self.killed.append(departure)
        if self.mortal:
            departure.over.set()


def stop_of(plugin: Any, *departures: Departure) -> CommonStop:
    """A stop with hardly any time."""
    return CommonStop([(cast("SupervisedPlugin", plugin), departure) for departure in departures], 0.05)


def test_a_departure_is_over_when_its_processes_are_gone() -> None:
    """Processes that came later do not matter, and neither does which of its own goes first."""
    departures, departure = Departures(), Departure()
    departures.add(departure, [ONE, OTHER])
    departures.check([OTHER, LATER])
    assert not departure.over.is_set()
    departures.check([LATER])
    assert departure.over.is_set()


def test_a_departure_of_nobody_is_over_at_the_next_look() -> None:
    """A plugin without a process is stopped as soon as that is seen."""
    departures, departure = Departures(), Departure()
    departures.add(departure, [])
    departures.check([ONE])
    assert departure.over.is_set()


def test_each_stop_waits_for_its_own() -> None:
    """Two stops of one plugin end when the processes of each are gone."""
    departures, first, second = Departures(), Departure(), Departure()
    departures.add(first, [ONE])
    departures.add(second, [OTHER])
    departures.check([OTHER])
    assert (first.over.is_set(), second.over.is_set()) == (True, False)


def test_a_common_stop_waits_for_all() -> None:
    """It returns once the last one is gone, and kills nobody then."""
    plugin, first, second = Plugin(False), Departure(), Departure()
    first.over.set()
    stop = CommonStop([(cast("SupervisedPlugin", plugin), one) for one in (first, second)], 20)
    threading.Thread(target=second.over.set).start()
    assert stop.finish()
    assert plugin.killed == []


def test_what_is_left_when_the_time_is_over_is_killed(log: LogBook) -> None:
    """Only what is left is killed, and the log names it."""
    plugin, gone, left = Plugin(True), Departure(), Departure()
    gone.over.set()
    assert stop_of(plugin, gone, left).finish()
    assert plugin.killed == [left]
    assert "'a'" in log.wait("were not gone after").getMessage()


def test_what_cannot_be_killed_is_told() -> None:
    """The stop is bounded even then, and says that somebody is left."""
    assert not stop_of(Plugin(False), Departure()).finish()


def test_nothing_to_stop_is_no_wait() -> None:
    """A host without plugins is stopped at once."""
    assert CommonStop([], 0).finish()
