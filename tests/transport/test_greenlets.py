"""Which mixtures of threads and greenlets are refused, and with which words. What works is proven with whole hosts."""
from __future__ import annotations

import queue
import select
import subprocess
import sys
import threading
import types
from typing import Any

import pytest

from legacy_plugins.errors import PluginStartFailed
from legacy_plugins.transport import greenlets
from legacy_plugins.transport.greenlets import check_threads, cooperative, service_thread
from tests.plugins.programs import SECONDS

pytestmark = pytest.mark.fault("H15")


@pytest.fixture(autouse=True)
def _unused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if plugins had never been used in this process."""
    monkeypatch.setattr(greenlets, "_kinds", {})


def _replace(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """What gevent does, as far as anybody can see it."""
    modules = {"Lock": threading, "poll": select, "Popen": subprocess, "SimpleQueue": queue}
    for name in names:
        monkeypatch.setattr(modules[name], name, type(name, (), {"__module__": "gevent.some"}))


def _refusal() -> str:
    with pytest.raises(PluginStartFailed) as caught:
        check_threads()
    return str(caught.value)


def test_the_systems_threads_are_welcome() -> None:
    """Nothing was replaced: nothing is said, however often."""
    assert not cooperative()
    check_threads()
    check_threads()


def test_gevent_is_welcome_when_all_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads, waits, processes and queues fit together."""
    _replace(monkeypatch, "Lock", "poll", "Popen", "SimpleQueue")
    assert cooperative()
    check_threads()


@pytest.mark.parametrize(("replaced", "text"), [
    (["Lock"], "gevent has replaced threading, but not select, subprocess, queue"),
    (["Lock", "poll", "SimpleQueue"], "gevent has replaced threading, select, queue, but not subprocess"),
    (["poll", "Popen"], "gevent has replaced select, subprocess, but not threading, queue"),
])
def test_a_mixture_is_refused(monkeypatch: pytest.MonkeyPatch, replaced: Any, text: str) -> None:
    """The message names what was replaced, what was not, and what to do."""
    _replace(monkeypatch, *replaced)
    told = _refusal()
    assert text in told
    assert "call gevent.monkey.patch_all() first thing in the program" in told


def test_a_queue_alone_hurts_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some programs replace sockets and queues only; their threads are the system's."""
    _replace(monkeypatch, "SimpleQueue")
    check_threads()


def test_replacing_after_the_first_use_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made before has the other kind of locks."""
    check_threads()
    _replace(monkeypatch, "Lock", "poll", "Popen", "SimpleQueue")
    assert "they were used here before gevent replaced the threads" in _refusal()


def test_gevent_in_another_thread_than_the_main_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Greenlets run where they were started; that thread may have nothing more to do."""
    if not sys.platform.startswith("linux"):
        pytest.skip("the numbers of threads and processes are compared on Linux alone")
    _replace(monkeypatch, "Lock", "poll", "Popen", "SimpleQueue")
    monkeypatch.setattr(threading, "get_native_id", lambda: -1)
    assert "use plugins in the main thread first" in _refusal()


@pytest.mark.parametrize("name", ["thread", "select", "subprocess", "os"])
def test_eventlet_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Whichever of its replacements would get in the way."""
    patcher = types.ModuleType("eventlet.patcher")
    patcher.already_patched = {name: True}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "eventlet.patcher", patcher)
    assert "eventlet has replaced parts of the standard library, which is not supported" in _refusal()


def test_eventlet_that_replaces_nothing_is_none_of_our_business(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be imported, or have replaced sockets alone."""
    patcher = types.ModuleType("eventlet.patcher")
    patcher.already_patched = {"socket": True}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "eventlet.patcher", patcher)
    check_threads()


def test_the_real_eventlet() -> None:
    """What eventlet leaves behind is what is looked for."""
    pytest.importorskip("eventlet", reason="eventlet is missing: that it is refused is tested with a stand-in alone")
    source = ("import eventlet; eventlet.monkey_patch()\n"
              "from legacy_plugins.transport.greenlets import check_threads\n"
              "try:\n    check_threads()\nexcept Exception as error:\n    print(type(error).__name__)\n")
    done = subprocess.run([sys.executable, "-c", source], stdout=subprocess.PIPE, check=True, timeout=60)
    assert done.stdout == b"PluginStartFailed\n"


def test_a_service_thread() -> None:
    """It is a daemon, has its name, runs what it was given, and ends."""
    ran = []
    thread = service_thread(ran.append, "a-name", 5)
    assert (thread.daemon, thread.name) == (True, "a-name")
    thread.start()
    thread.join(SECONDS)
    assert ran == [5]
    assert not thread.is_alive()
