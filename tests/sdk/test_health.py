"""plugin/health: asked beside the work, whatever the workers do."""
from __future__ import annotations

from typing import Any, Dict

import pytest

from legacy_plugins import schemas
from legacy_plugins.sdk.health import health_of
from tests.sdk.plugin_process import HOLD, Start

BUSY = HOLD + """
plugin = Plugin("busy", max_workers=WORKERS, max_waiting=1)
plugin.method("hold")(lambda params: hold(params["name"]))

@plugin.health
def health():
    return WAYS[way[0]]()

way = ["well"]
WAYS = {
    "well": lambda: {"status": "degraded", "message": "warm", "details": {"thread": threading.current_thread().name}},
    "raises": lambda: 1 / 0, "exits": lambda: sys.exit(1), "object": lambda: {"status": "ok", "details": object()},
    "hangs": lambda: hold("health"), "error": lambda: fail(plugin.Error(3, "no disk")),
}

def fail(error):
    raise error

plugin.method("way")(lambda params: way.__setitem__(0, params["way"]))

plugin.run()
"""


@pytest.mark.req("R14")
@pytest.mark.parametrize("workers", [1, 3])
def test_health_is_answered_while_all_workers_are_busy(start: Start, workers: int) -> None:
    """The health function runs beside the workers, even when calls are refused for being too many."""
    plugin = start(f"WORKERS = {workers}\n" + BUSY)
    holds = []
    for name in "abc"[:workers]:
        plugin.begin("hold", {"name": name})
        holds.append(plugin.held(name))
    plugin.begin("hold", {"name": "waits"})
    assert plugin.error(plugin.begin("hold", {"name": "too many"}))["code"] == -32000
    assert plugin.request("plugin/health") == {
        "status": "degraded", "message": "warm", "details": {"thread": "busy-health-1"}}
    for hold in holds:
        plugin.answer(hold)
    plugin.answer(plugin.held("waits"))


@pytest.mark.req("R14")
@pytest.mark.parametrize(("way", "message"), [
    ("raises", "ZeroDivisionError: division by zero"), ("exits", "SystemExit: 1"), ("error", "3: no disk"),
    ("object", "not JSON serializable"),
])
def test_a_health_function_that_fails_means_failing(start: Start, way: str, message: str) -> None:
    """Whatever the health function raises, or returns that is not JSON, is an answer: failing."""
    plugin = start("WORKERS = 2\n" + BUSY)
    plugin.request("way", {"way": way})
    for _ in range(2):
        answer = plugin.request("plugin/health")
        assert answer["status"] == "failing"
        assert message in answer["message"]
        schemas.validator("health-result").validate(answer)


def test_a_health_function_that_hangs_is_not_asked_for_ever(start: Start) -> None:
    """Questions about health wait for the one before; too many at once are refused."""
    plugin = start("WORKERS = 2\n" + BUSY)
    plugin.request("way", {"way": "hangs"})
    calls = [plugin.begin("plugin/health") for _ in range(10)]
    assert plugin.error(calls[-1])["code"] == -32000
    hold = plugin.held("health")
    plugin.request("way", {"way": "well"})
    plugin.answer(hold)
    assert [plugin.response(call)["result"]["status"] for call in calls[:9]] == ["ok"] + ["degraded"] * 8


@pytest.mark.parametrize(("returned", "answer"), [
    (None, {"status": "ok"}), ("ok", {"status": "ok"}), ("degraded", {"status": "degraded"}),
    ({"status": "failing", "message": "m"}, {"status": "failing", "message": "m"}),
])
def test_what_a_health_function_may_return(returned: Any, answer: Dict[str, Any]) -> None:
    """None is well, a text is the status, a dict is the answer."""
    assert health_of(returned) == answer


@pytest.mark.parametrize("returned", ["fine", {}, {"status": "fine"}, {"status": []}, 1, True, [], {"message": "ok"}])
def test_what_a_health_function_may_not_return(returned: Any) -> None:
    """Anything else is failing, and says what came and what was expected."""
    answer = health_of(returned)
    assert answer["status"] == "failing"
    assert "ok, degraded, failing" in answer["message"]
