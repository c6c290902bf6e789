"""Signal handlers that raise in the main thread, at the moment that Python's own conditions do not survive."""
from __future__ import annotations

import threading
from typing import Any, Callable, Iterator, List

import pytest

from legacy_plugins import PluginHost, signals

from .conftest import WAIT, configuration, plugin

Make = Callable[..., PluginHost]


class Interrupted(BaseException):
    """As KeyboardInterrupt, or the soft time limit of a task queue."""


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Iterator[List[bool]]:
    """While the list is not empty: the main thread is interrupted when it has taken a condition, before its `with`
    begins (`Condition.__enter__` is written in Python, and handlers run at its end)."""
    armed: List[bool] = []
    enter = threading.Condition.__enter__

    def interrupted(self: threading.Condition) -> Any:
        taken = enter(self)
        if armed and threading.get_ident() == threading.main_thread().ident:
            armed.pop()
            raise Interrupted
        return taken
    monkeypatch.setattr(threading.Condition, "__enter__", interrupted)
    yield armed
    armed.clear()


@pytest.mark.fault("J20")
@pytest.mark.parametrize("what", ["start", "stop", "request", "submit", "result", "callback", "progress", "broadcast",
                                  "restart", "reload", "status"])
def test_what_is_interrupted_holds_up_nobody(make_host: Make, interrupt: List[bool], what: str) -> None:
    """Whatever the main thread was at, the supervision goes on, and other threads can use the plugin."""
    host = make_host(plugin("a"))
    host.start()
    one = host["a"]
    call = one.submit("facts")
    signals.request_finished.connect(_receive)
    acts = {"start": one.start, "stop": one.stop, "request": lambda: one.request("facts"), "restart": one.restart,
            "submit": lambda: one.submit("facts"), "result": lambda: one.submit("facts").result(WAIT),
            "callback": lambda: call.add_done_callback(_receive), "broadcast": lambda: host.broadcast("E"),
            "progress": lambda: one.request("facts", on_progress=_receive), "status": host.status,
            "reload": lambda: host.reload(configuration(plugin("a", env={"X": "1"})))}
    interrupt.append(True)
    try:
        acts[what]()
    except Interrupted:
        pass
    interrupt.clear()
    call.exception(WAIT)
    done: List[Any] = []

    def use() -> None:
        one.restart(timeout=WAIT)
        done.append(one.request("facts", timeout=WAIT))
        host.stop(WAIT)
        done.append(one.state.value)
    other = threading.Thread(target=use, daemon=True)
    other.start()
    other.join(WAIT / 2)
    signals.request_finished.disconnect(_receive)
    assert done[1:] == ["stopped"]


def _receive(*_: Any, **__: Any) -> None:
    """Somebody listens."""
