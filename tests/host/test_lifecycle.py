"""The life cycle as values: which state may follow which, and what a crash leads to."""
from __future__ import annotations

from typing import List, Optional

import pytest

from legacy_plugins.config.policies import RestartPolicy
from legacy_plugins.host.lifecycle import TRANSITIONS, PluginState, RestartBudget

S = PluginState


def delays(budget: RestartBudget, crashes: int, *, ready: Optional[float] = None, random: float = 0.5
           ) -> List[Optional[float]]:
    """What follows each of so many crashes, in seconds."""
    return [budget.after_crash(ready, random).delay for _ in range(crashes)]


def test_every_state_can_be_reached_and_left() -> None:
    """The table speaks of all states, from none of them there is no way out, and each has a way in."""
    assert set(TRANSITIONS) == set(S)
    assert all(TRANSITIONS.values())
    assert {state for following in TRANSITIONS.values() for state in following} == set(S)


def test_values_are_lower_case_names() -> None:
    """What a state is called on the outside is its name in lower case."""
    assert [state.value for state in S] == ["stopped", "starting", "ready", "backoff", "stopping", "failed", "disabled"]


@pytest.mark.parametrize("state", [S.STOPPED, S.FAILED, S.DISABLED, S.BACKOFF])
def test_nothing_becomes_ready_without_having_started(state: PluginState) -> None:
    """From every state in which nothing runs, starting is the only way to ready."""
    assert S.STARTING in TRANSITIONS[state]
    assert S.READY not in TRANSITIONS[state]


@pytest.mark.req("R32")
@pytest.mark.fault("P13")
def test_exponential_backoff_doubles_up_to_its_bound() -> None:
    """Each restart waits twice as long as the one before, and never longer than `maxBackoffMs`."""
    policy = RestartPolicy(max_retries=6, backoff_ms=250, strategy="exponential", max_backoff_ms=3000, jitter=0)
    assert delays(RestartBudget(policy), 6) == [0.25, 0.5, 1.0, 2.0, 3.0, 3.0]


@pytest.mark.req("R32")
@pytest.mark.fault("P13")
def test_linear_backoff_grows_by_the_same_amount() -> None:
    """Each restart waits `backoffMs` longer than the one before, up to the bound."""
    policy = RestartPolicy(max_retries=5, backoff_ms=250, strategy="linear", max_backoff_ms=900, jitter=0)
    assert delays(RestartBudget(policy), 5) == [0.25, 0.5, 0.75, 0.9, 0.9]


@pytest.mark.parametrize(("random", "factor"), [(0.0, 0.8), (0.5, 1.0), (0.75, 1.1)])
def test_jitter_moves_the_delay_either_way(random: float, factor: float) -> None:
    """A random number shifts the delay by up to the fraction `jitter`."""
    policy = RestartPolicy(backoff_ms=1000, jitter=0.2)
    assert RestartBudget(policy).after_crash(None, random).delay == pytest.approx(factor)


@pytest.mark.req("R36")
@pytest.mark.fault("P13")
def test_the_limit_ends_the_restarts() -> None:
    """After `maxRetries` restarts nothing follows, and the number of those that were tried is told."""
    budget = RestartBudget(RestartPolicy(max_retries=2))
    assert [budget.after_crash(None, 0.5).attempt for _ in range(2)] == [1, 2]
    assert budget.after_crash(None, 0.5) == (2, None)


@pytest.mark.fault("P14")
def test_a_plugin_that_crashes_rarely_is_restarted_for_ever() -> None:
    """The count starts afresh when the plugin had been ready for `resetAfterMs`."""
    budget = RestartBudget(RestartPolicy(max_retries=1, reset_after_ms=60_000))
    assert [budget.after_crash(180.0, 0.5).attempt for _ in range(50)] == [1] * 50


def test_being_ready_too_briefly_does_not_reset_the_count() -> None:
    """A crash just before `resetAfterMs` counts on."""
    budget = RestartBudget(RestartPolicy(max_retries=1, reset_after_ms=60_000))
    assert delays(budget, 2, ready=59.9)[1] is None


def test_disabled_restarts_give_up_at_once() -> None:
    """With `restart.enabled: false` the first crash is the last."""
    assert RestartBudget(RestartPolicy(enabled=False)).after_crash(1e6, 0.5) == (0, None)


def test_a_start_that_was_asked_for_resets_the_count() -> None:
    """`reset` gives all retries back."""
    budget = RestartBudget(RestartPolicy(max_retries=1))
    assert delays(budget, 2)[1] is None
    budget.reset()
    assert delays(budget, 1) != [None]
