"""A plugin's log through the changes of its policy."""
from __future__ import annotations

from typing import List, Tuple

from legacy_plugins.config.policies import LogPolicy
from legacy_plugins.host.log_history import LogHistory


def test_the_same_policy_keeps_the_log() -> None:
    """A restart goes on with tail and counters."""
    history = LogHistory(LogPolicy(), lambda *line: None)
    assert history.for_policy(LogPolicy()) is history.current


def test_another_policy_counts_from_when_it_is_taken() -> None:
    """The log of a process on trial is another one; what was suppressed before is not forgotten."""
    emitted: List[Tuple[int, str, int]] = []
    history = LogHistory(LogPolicy(burst=1, lines_per_second=1), lambda *line: emitted.append(line))
    history.current.feed(b"one\ntwo\nthree\n", 7)
    assert history.suppressed == 2
    loud = LogPolicy(burst=1, lines_per_second=1, level="ERROR")
    log = history.for_policy(loud)
    log.feed(b"ERROR: four\nERROR: five\n", 8)
    assert history.suppressed == 2
    history.take(log, loud)
    history.take(log, loud)
    assert history.suppressed == 3
    assert history.for_policy(loud) is log
    assert [message for _, message, _ in emitted] == ["one", "four"]
