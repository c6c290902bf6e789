"""Rates and places."""
from __future__ import annotations

import os
import threading
from typing import List

import pytest

from legacy_plugins.config.policies import HttpPolicy, RateLimit
from legacy_plugins.http.limits import LimitTable, PluginLimits
from legacy_plugins.http.problems import HttpProblem


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.req("R23", "R42")
def test_a_rate_limit_refuses_with_the_time_to_wait() -> None:
    """As many requests as the limit says pass at once, then one for each share of the period."""
    clock = _Clock()
    limits = PluginLimits(HttpPolicy(rate_limit=RateLimit(3, 60)), clock)
    for _ in range(3):
        limits.check_rate()
    with pytest.raises(HttpProblem) as raised:
        limits.check_rate()
    assert (raised.value.status, raised.value.headers) == (429, (("Retry-After", "20"),))
    clock.now += 19.5
    with pytest.raises(HttpProblem) as raised:
        limits.check_rate()
    assert raised.value.headers == (("Retry-After", "1"),)
    clock.now += 0.6
    limits.check_rate()
    clock.now += 10_000
    for _ in range(3):
        limits.check_rate()
    with pytest.raises(HttpProblem):
        limits.check_rate()


def test_without_a_rate_limit_any_rate_passes() -> None:
    """The default has none."""
    limits = PluginLimits(HttpPolicy())
    for _ in range(1000):
        limits.check_rate()


@pytest.mark.fault("R16")
def test_places_are_never_waited_for() -> None:
    """One request more than there are places is refused at once; a place is free again however its request ended."""
    limits = PluginLimits(HttpPolicy(max_concurrency=2))
    inside, leave = threading.Barrier(3), threading.Event()
    errors: List[BaseException] = []

    def hold() -> None:
        try:
            with limits.place():
                inside.wait(10)
                leave.wait(10)
                raise ZeroDivisionError
        except ZeroDivisionError as error:
            errors.append(error)

    threads = [threading.Thread(target=hold) for _ in range(2)]
    for thread in threads:
        thread.start()
    inside.wait(10)
    with pytest.raises(HttpProblem) as raised, limits.place():
        raise AssertionError("there was no third place")
    assert (raised.value.status, raised.value.headers) == (503, (("Retry-After", "1"),))
    leave.set()
    for thread in threads:
        thread.join(10)
    assert len(errors) == 2
    with limits.place(), limits.place():
        pass


def test_limits_are_made_at_first_use_and_follow_the_policy() -> None:
    """No lock exists before; the same object serves until a reload changes the policy."""
    table = LimitTable()
    policy = HttpPolicy(max_concurrency=1)
    limits = table.of("shop", policy)
    assert table.of("shop", HttpPolicy(max_concurrency=1)) is limits
    assert table.of("other", policy) is not limits
    assert table.of("shop", HttpPolicy(max_concurrency=2)) is not limits


@pytest.mark.fault("H1")
def test_a_forked_child_counts_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that was forked while a place was taken and the lock held has limits, and a lock, of its own."""
    table = LimitTable()
    policy = HttpPolicy(max_concurrency=1)
    with table.of("shop", policy).place():
        monkeypatch.setattr(os, "getpid", lambda: -1)
        with table.of("shop", policy).place():
            pass
