"""`Plugin`: declaring, and what does not work before it runs."""
from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from legacy_plugins import sdk
from legacy_plugins.sdk import Error, Plugin
from tests.examples.wire import ROOT


def _function(value: Any = None) -> Any:
    return value


def test_decorated_functions_stay_what_they_are() -> None:
    """Decorators return the function itself, so that a plugin's module can be tested without a process."""
    plugin = Plugin("p", version="2")
    for decorator in (plugin.method("a/b"), plugin.on("*"), plugin.route("/"), plugin.health, plugin.on_start,
                      plugin.on_shutdown):
        assert decorator(_function) is _function
    assert (plugin.name, plugin.version, plugin.Error) == ("p", "2", Error)


@pytest.mark.parametrize("name", ["plugin/handshake", "plugin/other", "$/progress", "rpc.discover"])
def test_reserved_method_names_are_refused(name: str) -> None:
    """Names that the protocol has taken cannot be declared."""
    with pytest.raises(ValueError, match="reserved"):
        Plugin("p").method(name)(_function)


def test_a_method_twice_is_refused() -> None:
    """A second function for one method, or for health, is an error and not a silent replacement."""
    plugin = Plugin("p")
    plugin.method("a")(_function)
    with pytest.raises(ValueError, match="declared twice"):
        plugin.method("a")(_function)
    plugin.health(_function)
    with pytest.raises(ValueError, match="used twice"):
        plugin.health(_function)


async def _coroutine(value: Any) -> None:
    """A handler as one would write it elsewhere."""


@pytest.mark.parametrize(("use", "message"), [
    (lambda plugin: plugin.method(_function)(_function), "method's name"),
    (lambda plugin: plugin.method("")(_function), "method's name"),
    (lambda plugin: plugin.on(_function)(_function), "pattern"),
    (lambda plugin: plugin.method("a")(_coroutine), "coroutine"),
    (lambda plugin: plugin.on("*")(_coroutine), "asyncio"),
    (lambda plugin: plugin.route("/")(_coroutine), "coroutine"),
    (lambda plugin: plugin.health(_coroutine), "coroutine"),
    (lambda plugin: plugin.on_start(_coroutine), "coroutine"),
    (lambda plugin: plugin.on_shutdown("x"), "not a function"),
    (lambda plugin: Plugin(""), "name"),
    (lambda plugin: Plugin("p", version=""), "version"),
    (lambda plugin: Plugin("p", version=1), "version"),
    (lambda plugin: Plugin("p", capabilities="charts"), "capabilities"),
    (lambda plugin: Plugin("p", capabilities=[1]), "capabilities"),
    (lambda plugin: Error("404", "x"), "code"),
    (lambda plugin: Error(True, "x"), "code"),
])
def test_wrong_arguments_are_explained(use: Any, message: str) -> None:
    """A decorator without its argument, a coroutine, and options of the wrong type raise a TypeError that says so."""
    with pytest.raises(TypeError, match=message):
        use(Plugin("p"))


@pytest.mark.parametrize("options", [{"max_workers": 0}, {"max_waiting": -1}])
def test_impossible_bounds_are_refused(options: Any) -> None:
    """At least one worker, and no negative waiting room."""
    with pytest.raises(ValueError, match="at least"):
        Plugin("p", **options)


@pytest.mark.parametrize("use", [
    lambda plugin: plugin.publish("Event"), lambda plugin: plugin.host.request("a"), lambda plugin: plugin.ready(),
    lambda plugin: plugin.host.notify("a"),
])
def test_talking_needs_a_running_plugin(use: Any) -> None:
    """Before `run` the host cannot be reached, and the error says where it can."""
    with pytest.raises(RuntimeError, match="does not run yet"):
        use(Plugin("p"))


def test_what_a_handler_says_about_its_call_is_harmless_elsewhere() -> None:
    """`progress` and `cancelled` may stand in code that a test calls directly."""
    plugin = Plugin("p")
    plugin.progress(1)
    assert plugin.cancelled() is False


def test_errors_read_well() -> None:
    """An error's text has its code and its message."""
    error = Error(7, "no stock", {"left": 0})
    assert str(error) == "7: no stock"
    assert (error.code, error.message, error.data) == (7, "no stock", {"left": 0})


def test_public_names() -> None:
    """The package exports what its handlers and tests need."""
    assert sdk.__all__ == ["Error", "Event", "Plugin", "Request", "Response"]
    assert all(hasattr(sdk, name) for name in sdk.__all__)


def test_a_plugin_starts_no_thread_it_does_not_need() -> None:
    """An idle plugin has a reader and a writer beside its main thread, and no supervisor or dispatcher of a host."""
    program = """
import sys, threading
from legacy_plugins.sdk import Plugin
plugin = Plugin("idle", max_workers=1)
plugin.on_shutdown(lambda: print(*[thread.name for thread in threading.enumerate()]))
plugin.run()
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=60, check=True)
    names = set(done.stderr.decode().split())
    assert {"MainThread", "host-writer"} <= names <= {"MainThread", "host-reader", "host-writer", "exit-timer"}
