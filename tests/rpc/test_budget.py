"""The budget of unasked messages: free within it, pauses over it, a fault when a flood never breaks."""
from __future__ import annotations

import pytest

from legacy_plugins.rpc.budget import MAX_FLOOD_SECONDS, MessageBudget


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.fault("B9")
@pytest.mark.req("R42")
def test_within_the_budget_nothing_pauses() -> None:
    """A burst of a second's worth is free, and so is a steady stream at the rate."""
    clock = Clock()
    budget = MessageBudget(100, clock)
    assert budget.spend(100) == 0.0
    for _ in range(1000):
        clock.now += 0.01
        assert budget.spend(1) <= 0.005
    assert not budget.flooded


@pytest.mark.fault("B9")
def test_over_the_budget_reading_pauses_until_it_has_recovered() -> None:
    """The pause is as long as the excess needs; after it the next messages are free again."""
    clock = Clock()
    budget = MessageBudget(100, clock)
    assert budget.spend(150) == pytest.approx(0.5)
    clock.now += 0.5
    assert budget.spend(0) == 0.0
    assert budget.spend(1) == pytest.approx(0.01)
    clock.now += 0.02
    assert budget.spend(1) == 0.0


def test_pauses_are_worth_it() -> None:
    """A tiny excess pauses for a few milliseconds, not for microseconds again and again."""
    budget = MessageBudget(10_000, Clock())
    assert budget.spend(10_001) == 0.005


@pytest.mark.fault("B10")
def test_a_flood_without_a_break_is_a_fault() -> None:
    """More than 30 s at the budget's edge is too long; with a break the count begins anew."""
    clock = Clock()
    budget = MessageBudget(100, clock)
    began = clock.now
    while clock.now - began <= MAX_FLOOD_SECONDS:
        assert not budget.flooded
        clock.now += max(0.1, budget.spend(200))
    assert budget.spend(200) > 0
    assert budget.flooded
    clock.now += 10.0
    assert budget.spend(1) == 0.0
    assert not budget.flooded


def test_no_bound() -> None:
    """0 messages a second means that there is no bound."""
    budget = MessageBudget(0, Clock())
    assert budget.spend(10 ** 9) == 0.0
    assert not budget.flooded


@pytest.mark.fault("B9")
def test_a_large_message_counts_by_its_size() -> None:
    """One for each 4 KiB, at least once, and never as more than a second's worth, however low the bound is."""
    budget = MessageBudget(100, Clock())
    assert [budget.cost(size) for size in (0, 10, 4096, 40960, 10 ** 9)] == [1, 1, 1, 10, 100]
    assert budget.spend(budget.cost(409600)) == 0.0
    assert budget.spend(budget.cost(40960)) == pytest.approx(0.1)
    assert MessageBudget(0).spend(MessageBudget(0).cost(10 ** 9)) == 0.0
