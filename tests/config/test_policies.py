"""The pure decisions of a plugin's configuration."""
from __future__ import annotations

import dataclasses
from typing import List, Set, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legacy_plugins.config import EventPolicy, HttpPolicy, LogPolicy, RestartPolicy, ReverseRpcPolicy


@pytest.mark.req("R32")
@pytest.mark.parametrize(("strategy", "delays"), [
    ("linear", [100, 200, 300, 400, 500, 600, 700, 800, 900, 1000, 1000]),
    ("exponential", [100, 200, 400, 800, 1000, 1000]),
])
def test_the_delay_grows_by_its_strategy_up_to_the_bound(strategy: str, delays: List[int]) -> None:
    """Linear adds backoffMs with each attempt, exponential doubles it; maxBackoffMs is the most."""
    policy = RestartPolicy(backoff_ms=100, strategy=strategy, max_backoff_ms=1000, jitter=0)
    assert [policy.delay_ms(attempt, 0.7) for attempt in range(1, len(delays) + 1)] == delays


@pytest.mark.parametrize(("random", "delay"), [(0.0, 800), (0.5, 1000), (0.75, 1100)])
def test_jitter_moves_the_delay_both_ways(random: float, delay: float) -> None:
    """A random number of 0 takes the whole fraction off, 0.5 nothing, numbers above add."""
    assert RestartPolicy(backoff_ms=1000, jitter=0.2).delay_ms(1, random) == pytest.approx(delay)


@settings(deadline=None)
@given(attempt=st.integers(1, 10 ** 9), random=st.floats(0, 1, exclude_max=True), jitter=st.floats(0, 1),
       backoff=st.integers(0, 86_400_000), most=st.integers(0, 86_400_000),
       strategy=st.sampled_from(["linear", "exponential"]))
def test_no_attempt_overflows_or_passes_the_bounds(attempt: int, random: float, jitter: float, backoff: int, most: int,
                                                   strategy: str) -> None:
    """Whatever the attempt, the delay lies between 0 and the bound plus its jitter."""
    policy = RestartPolicy(backoff_ms=backoff, max_backoff_ms=most, jitter=jitter, strategy=strategy)
    assert 0 <= policy.delay_ms(attempt, random) <= most * (1 + jitter)


def test_an_absurd_attempt_costs_nothing() -> None:
    """The doubling ends where no bound can need it, so no number fills the memory."""
    assert RestartPolicy(backoff_ms=1, jitter=0).delay_ms(10 ** 15, 0.5) == 60000


@pytest.mark.req("R18", "R31")
@pytest.mark.parametrize(("include", "exclude", "wanted"), [
    ((), (), {"SyncStarted", "SyncFailed", "UserAdded"}),
    (("Sync*",), (), {"SyncStarted", "SyncFailed"}),
    ((), ("SyncFailed",), {"SyncStarted", "UserAdded"}),
    (("Sync*",), ("*Failed",), {"SyncStarted"}),
    (("SyncFailed",), ("SyncFailed",), set()),
    (("sync*",), (), set()),
])
def test_exclude_goes_before_include(include: Tuple[str, ...], exclude: Tuple[str, ...], wanted: Set[str]) -> None:
    """An excluded type is never wanted; of the others an empty include takes all, else those that it matches."""
    policy = EventPolicy(include=include, exclude=exclude)
    assert {name for name in ("SyncStarted", "SyncFailed", "UserAdded") if policy.wants(name)} == wanted


def test_a_plugin_publishes_only_what_it_may() -> None:
    """No pattern at all permits nothing."""
    assert not EventPolicy().may_publish("ReportBuilt")
    policy = EventPolicy(publish=("Report*",))
    assert policy.may_publish("ReportBuilt")
    assert not policy.may_publish("UserDeleted")


@pytest.mark.req("R9")
def test_no_pattern_grants_every_service() -> None:
    """Patterns narrow what a plugin may call; without any it may call all that is registered."""
    assert ReverseRpcPolicy().grants("user/get")
    policy = ReverseRpcPolicy(methods=("user/*",))
    assert policy.grants("user/get")
    assert not policy.grants("billing/charge")


@pytest.mark.req("R23")
@pytest.mark.parametrize(("entries", "method", "path", "public"), [
    ((), "GET", "/status", False),
    (("/status",), "GET", "/status", True),
    (("/status",), "POST", "/status", True),
    (("/status",), "GET", "/status/full", False),
    (("GET /status",), "GET", "/status", True),
    (("GET /status",), "HEAD", "/status", True),
    (("GET /status",), "POST", "/status", False),
    (("HEAD /status",), "GET", "/status", False),
    (("/files/*",), "GET", "/files/a/{name...}", True),
    (("/items/{id}",), "GET", "/items/{id}", True),
    (("*",), "DELETE", "/anything/{at}/all", True),
    (("POST *",), "GET", "/anything", False),
    (("/a", "GET /b"), "GET", "/b", True),
])
def test_only_listed_routes_are_public(entries: Tuple[str, ...], method: str, path: str, public: bool) -> None:
    """A route is public when an entry's glob matches its declared path and the entry has no other method."""
    assert HttpPolicy(public_routes=entries).is_public(method, path) is public


def test_a_policy_made_by_hand_keeps_no_list() -> None:
    """Lists become tuples, so that a hand-made policy equals a loaded one and cannot change."""
    assert LogPolicy(redact=["a"]) == LogPolicy(redact=("a",))  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        LogPolicy().level = "DEBUG"  # type: ignore[misc]
