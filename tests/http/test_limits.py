"""Rates and places."""
from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, List, Optional

import pytest

from legacy_plugins.config.model import HostConfig, PluginConfig
from legacy_plugins.config.policies import HttpPolicy, RateLimit
from legacy_plugins.http import HttpBridge
from legacy_plugins.http import limits as module
from legacy_plugins.http.limits import LimitTable, PluginLimits, limits_of
from legacy_plugins.http.problems import HttpProblem
from tests.http.fakes import FakeHost, request, route

URL = "redis://127.0.0.1:1"


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.req("R23", "R42")
def test_a_rate_limit_refuses_with_the_time_to_wait() -> None:
    """As many requests as the limit says pass at once, then one for each share of the period."""
    clock = _Clock()
    table, limit = LimitTable(clock=clock), RateLimit(3, 60)
    for _ in range(3):
        table.check_rate("shop", limit, None)
    with pytest.raises(HttpProblem) as raised:
        table.check_rate("shop", limit, None)
    assert (raised.value.status, raised.value.headers) == (429, (("Retry-After", "20"),))
    clock.now += 19.5
    with pytest.raises(HttpProblem) as raised:
        table.check_rate("shop", limit, None)
    assert raised.value.headers == (("Retry-After", "1"),)
    clock.now += 0.6
    table.check_rate("shop", limit, None)
    clock.now += 10_000
    for _ in range(3):
        table.check_rate("shop", limit, None)
    with pytest.raises(HttpProblem):
        table.check_rate("shop", limit, None)


def test_without_a_rate_limit_any_rate_passes() -> None:
    """The default has none, and asks no storage."""
    table = LimitTable()
    for _ in range(1000):
        table.check_rate("shop", None, URL)


def test_a_reload_that_changes_the_rate_gives_nothing_away() -> None:
    """What was taken under the old limit counts under the new one, at most as a whole new limit."""
    clock = _Clock()
    limits = PluginLimits(clock)
    assert [limits.take(RateLimit(2, 60)) for _ in range(3)] == [0, 0, 30]
    assert limits.take(RateLimit(3, 60)) == 0
    assert limits.take(RateLimit(3, 60)) == 20
    assert limits.take(RateLimit(1, 10)) == 10
    clock.now += 10
    assert limits.take(RateLimit(1, 10)) == 0


@pytest.mark.parametrize(("answer", "refused"), [(0.0, None), (7.2, "8"), (None, "3600")])
def test_a_storage_is_asked_and_the_process_counts_where_it_cannot_be(monkeypatch: pytest.MonkeyPatch, answer: Any,
                                                                      refused: Any) -> None:
    """The storage decides alone while it answers; its 429 says how long; without an answer the bucket decides."""
    asked: List[Any] = []

    class Storage:
        def __init__(self, url: str, scope: str, clock: Any) -> None:
            self.url, self.scope = url, scope

        def take(self, plugin: str, limit: RateLimit) -> Any:
            asked.append((self.url, self.scope, plugin, limit))
            return answer

    monkeypatch.setattr(module, "RateStorage", Storage)
    table, limit = LimitTable("host"), RateLimit(1, 3600)
    if answer is None:
        table.check_rate("shop", limit, URL)
    if refused is None:
        for _ in range(3):
            table.check_rate("shop", limit, URL)
        table.check_rate("shop", limit, None)  # the process's own bucket is untouched
    else:
        with pytest.raises(HttpProblem) as raised:
            table.check_rate("shop", limit, URL)
        assert (raised.value.status, raised.value.headers) == (429, (("Retry-After", refused),))
    assert set(asked) == {(URL, "host", "shop", limit)}
    asked.clear()
    monkeypatch.setattr(Storage, "take", lambda self, *_: asked.append(self.url) or 0.0)
    table.check_rate("shop", limit, URL + "/1")
    assert asked == [URL + "/1"]


@pytest.mark.fault("R16")
def test_places_are_never_waited_for() -> None:
    """One request more than there are places is refused at once; a place is free again however its request ended."""
    limits = PluginLimits()
    inside, leave = threading.Barrier(3), threading.Event()
    errors: List[BaseException] = []

    def hold() -> None:
        try:
            with limits.place(2):
                inside.wait(10)
                leave.wait(10)
                raise ZeroDivisionError
        except ZeroDivisionError as error:
            errors.append(error)

    threads = [threading.Thread(target=hold) for _ in range(2)]
    for thread in threads:
        thread.start()
    inside.wait(10)
    with pytest.raises(HttpProblem) as raised, limits.place(2):
        raise AssertionError("there was no third place")
    assert (raised.value.status, raised.value.headers) == (503, (("Retry-After", "1"),))
    leave.set()
    for thread in threads:
        thread.join(10)
    assert len(errors) == 2
    with limits.place(2), limits.place(2):
        pass


@pytest.mark.fault("R16")
def test_64_threads_share_the_places_of_a_plugin() -> None:
    """Never more inside than there are places, whoever looks the limits up first; none is lost in the end."""
    table, start = LimitTable(), threading.Barrier(64)
    inside: List[None] = []
    most: List[int] = []
    refused: List[int] = []

    def visit() -> None:
        start.wait(30)
        for _ in range(50):
            try:
                with table.of("shop").place(4):
                    inside.append(None)
                    most.append(len(inside))
                    inside.pop()
            except HttpProblem:
                refused.append(1)

    threads = [threading.Thread(target=visit) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(most) + len(refused) == 64 * 50
    assert max(most) <= 4
    with table.of("shop").place(1):
        pass


def test_64_threads_share_the_tokens_of_a_plugin() -> None:
    """As many pass as the limit says, and not one more."""
    table, start, limit = LimitTable(clock=lambda: 0.0), threading.Barrier(64), RateLimit(1000, 60)
    passed: List[int] = []

    def visit() -> None:
        start.wait(30)
        passed.append(sum(table.of("shop").take(limit) == 0 for _ in range(50)))

    threads = [threading.Thread(target=visit) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(passed) == 1000


@pytest.mark.fault("R16")
def test_places_that_are_taken_count_after_a_reload() -> None:
    """More places let more in, fewer let none in until enough have left; nobody is counted twice or forgotten."""
    table = LimitTable()
    with table.of("shop").place(1):
        with table.of("shop").place(2):
            with pytest.raises(HttpProblem), table.of("shop").place(1):
                pass
            with pytest.raises(HttpProblem), table.of("shop").place(2):
                pass
        with pytest.raises(HttpProblem), table.of("shop").place(1):
            pass
        with table.of("other").place(1):
            pass
    with table.of("shop").place(1):
        pass


@pytest.mark.fault("H1")
def test_a_forked_child_counts_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that was forked while a place was taken and the lock held has limits, and a lock, of its own."""
    table = LimitTable()
    with table.of("shop").place(1):
        monkeypatch.setattr("legacy_plugins.http.limits.os", SimpleNamespace(getpid=lambda: -1))
        with table.of("shop").place(1):
            pass


def test_the_bridge_goes_by_the_configuration_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reload changes places, rate and storage; what was taken before counts on."""
    asked: List[Any] = []

    class Storage(module.RateStorage):
        def take(self, plugin: str, limit: RateLimit) -> Optional[float]:
            asked.append((self.url, plugin, limit.requests))
            return None

    monkeypatch.setattr(module, "RateStorage", Storage)
    host = FakeHost(PluginConfig("shop", "/p"), name="an application")
    client = host.declare("shop", route())
    bridge = HttpBridge(host)  # type: ignore[arg-type]

    def reload(most: int, requests: int, url: Optional[str]) -> None:
        policy = HttpPolicy(public_routes=("*",), max_concurrency=most, rate_limit=RateLimit(requests, 3600))
        host.config = HostConfig(plugins=(PluginConfig("shop", "/p", http=policy),), rate_limit_storage=url)

    def visit(params: Any = None) -> int:
        return bridge.handle(request()).status

    inner: List[int] = []

    def reload_meanwhile(params: Any) -> Any:
        client.answer = {"body": ""}
        inner.append(visit())
        reload(2, 5, URL)
        inner.extend([visit(), visit()])
        return {"body": ""}

    reload(1, 5, None)
    client.answer = reload_meanwhile
    assert visit() == 200
    assert inner == [503, 200, 200]
    reload(2, 5, URL + "/1")
    assert [visit(), visit()] == [200, 429]
    assert asked == [(URL, "shop", 5)] * 2 + [(URL + "/1", "shop", 5)] * 2


@pytest.mark.req("R42")
def test_all_mounts_of_a_host_count_together() -> None:
    """A plugin's places and rate are its own, however many bridges lead to it; another host counts for itself."""
    policy = HttpPolicy(public_routes=("*",), max_concurrency=1, rate_limit=RateLimit(2, 3600))
    host = FakeHost(PluginConfig("shop", "/p", http=policy))
    client = host.declare("shop", route())
    first, second = (HttpBridge(host, mount=mount) for mount in ("/a", "/b"))  # type: ignore[arg-type]
    inner: List[int] = []

    def visit_the_other(params: Any) -> Any:
        inner.append(second.handle(request(path="/b/shop/items")).status)
        return {"body": ""}

    client.answer = visit_the_other
    assert first.handle(request(path="/a/shop/items")).status == 200
    assert inner == [503]
    assert [bridge.handle(request(path=f"{bridge.mount}/shop/items")).status for bridge in (first, second)] == [429] * 2
    assert limits_of(FakeHost()) is not limits_of(FakeHost())  # type: ignore[arg-type]
