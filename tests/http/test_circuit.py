"""Routes that crash their plugin."""
from __future__ import annotations

from typing import Optional

import pytest

from legacy_plugins.config.model import PluginConfig
from legacy_plugins.config.policies import HttpPolicy
from legacy_plugins.errors import PluginCrashed
from legacy_plugins.http import HttpBridge
from legacy_plugins.http.circuit import RouteCircuit
from legacy_plugins.http.problems import HttpProblem
from tests.http.fakes import FakeHost, request, route

QUIET = 60.0


class _Circuit:
    """A circuit with a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self._circuit = RouteCircuit(lambda: self.now)

    def retry_after(self, path: str = "/bad") -> Optional[str]:
        """The Retry-After of a closed route, None for an open one."""
        try:
            self._circuit.check("shop", path, QUIET)
        except HttpProblem as problem:
            return dict(problem.headers)["Retry-After"] if problem.status == 503 else "not a 503"
        return None

    def crash(self, report: object) -> None:
        """The plugin crashes while the route is in flight."""
        self._circuit.crashed("shop", "/bad", report)


@pytest.mark.fault("R19")
def test_the_second_crash_closes_the_route_alone() -> None:
    """Two crashes while a route was in flight close it for the quiet time; other routes stay open."""
    circuit = _Circuit()
    circuit.crash("first")
    assert circuit.retry_after() is None
    circuit.now = 10
    circuit.crash("second")
    assert circuit.retry_after() == "60"
    assert circuit.retry_after("/good") is None
    circuit.now = 69.5
    assert circuit.retry_after() == "1"
    circuit.now = 70
    assert circuit.retry_after() is None


@pytest.mark.fault("R19")
def test_many_requests_in_one_crash_are_one_crash() -> None:
    """Concurrent requests of a route fail by the same crash, which counts once; a crash without a report counts."""
    circuit = _Circuit()
    for _ in range(8):
        circuit.crash("first")
    assert circuit.retry_after() is None
    circuit.crash(None)
    assert circuit.retry_after() == "60"


@pytest.mark.fault("R19")
def test_a_route_is_on_probation_and_then_forgiven() -> None:
    """After it opened, one crash closes it again; after twice the quiet time it has a clean slate."""
    circuit = _Circuit()
    circuit.crash("first")
    circuit.crash("second")
    circuit.now = 61
    assert circuit.retry_after() is None
    circuit.crash("third")
    assert circuit.retry_after() == "60"
    circuit.now = 61 + 2 * QUIET + 1
    assert circuit.retry_after() is None
    circuit.crash("fourth")
    assert circuit.retry_after() is None


@pytest.mark.fault("R19")
def test_a_route_is_closed_at_all_mounts() -> None:
    """Crashes count for the route, by whatever bridge of the host its requests came."""
    host = FakeHost(PluginConfig("shop", "/p", http=HttpPolicy(public_routes=("*",))))
    client = host.declare("shop", route("/bad"))
    bridges = [HttpBridge(host, mount=f"/{number}") for number in range(3)]  # type: ignore[arg-type]
    for number, bridge in enumerate(bridges[:2]):
        client.answer = PluginCrashed(plugin="shop", message="it crashed", crash=number)
        assert bridge.handle(request(path=f"{bridge.mount}/shop/bad")).status == 502
    client.answer = {"body": ""}
    assert [bridge.handle(request(path=f"{bridge.mount}/shop/bad")).status for bridge in bridges] == [503] * 3
