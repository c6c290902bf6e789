"""`plugin.host`: calling the host's services over the same conversation."""
from __future__ import annotations

from typing import Any, NoReturn, Type

import pytest

from legacy_plugins.errors import FrameTooLarge, PluginBusy, PluginError, PluginNotRunning
from legacy_plugins.sdk.host_proxy import HostProxy
from tests.sdk.plugin_process import PluginProcess, Start

CALLER = """
from legacy_plugins import errors
plugin = Plugin("caller", max_workers=WORKERS)
values = []

@plugin.method("ask")
def ask(params):
    try:
        return plugin.host.request("host/user", params.get("params"), params.get("timeout", 30),
                                   on_progress=values.append if params.get("progress") else None)
    except errors.PluginError as error:
        return [type(error).__name__, str(error), error.plugin, getattr(error, "code", None),
                getattr(error, "data", None), values]
    finally:
        print("asked")

@plugin.method("tell")
def tell(params):
    plugin.host.notify("host/note", params)

@plugin.method("values")
def show(params):
    return values

@plugin.on_shutdown
def bye():
    try:
        plugin.host.request("host/late")
    except errors.PluginError as error:
        print("at the end:", error)

plugin.run()
"""


def _caller(start: Start, workers: int = 2) -> PluginProcess:
    plugin = start(f"WORKERS = {workers}\n" + CALLER)
    plugin.handshake()
    return plugin


@pytest.mark.req("R9")
@pytest.mark.parametrize("workers", [1, 4])
def test_a_handler_calls_the_host(start: Start, workers: int) -> None:
    """A call from inside a handler gets the host's answer, whether there is one worker or several."""
    plugin = _caller(start, workers)
    call = plugin.begin("ask", {"params": {"id": 7}})
    asked = plugin.message("host/user")
    assert asked["params"] == {"id": 7}
    assert type(asked["id"]) is int
    plugin.answer(asked, {"name": "ä"})
    assert plugin.response(call)["result"] == {"name": "ä"}


@pytest.mark.req("R9")
def test_the_hosts_progress_reaches_the_caller(start: Start) -> None:
    """`$/progress` of the host for a call runs `on_progress` before the call returns."""
    plugin = _caller(start)
    call = plugin.begin("ask", {"progress": True})
    asked = plugin.message("host/user")
    for value in (1, {"two": 2}):
        plugin.notify("$/progress", {"id": asked["id"], "value": value})
    plugin.notify("$/progress", {"token": "x", "value": "another protocol's"})
    plugin.answer(asked, "done")
    assert plugin.response(call)["result"] == "done"
    assert plugin.request("values") == [1, {"two": 2}]


@pytest.mark.req("R5", "R9")
@pytest.mark.parametrize(("error", "kind"), [
    ({"code": -32601, "message": "unknown method"}, "MethodNotFound"),
    ({"code": 12, "message": "no such user", "data": {"id": 7}}, "RpcError"),
])
def test_an_error_of_the_host_is_an_exception(start: Start, error: Any, kind: str) -> None:
    """The host's error object is raised with its code and data, in words that do not take the host for a plugin."""
    plugin = _caller(start)
    call = plugin.begin("ask")
    plugin.send({"id": plugin.message("host/user")["id"], "error": error})
    text = f"the host answered 'host/user' with error {error['code']}: {error['message']}"
    assert plugin.response(call)["result"] == [kind, text, None, error["code"], error.get("data"), []]


@pytest.mark.req("R9", "R37")
def test_a_host_that_does_not_answer_in_time(start: Start) -> None:
    """After its time-out the call fails, and the host is told to cancel; a late answer harms nothing."""
    plugin = _caller(start)
    call = plugin.begin("ask", {"timeout": 0.05})
    asked = plugin.message("host/user")
    assert plugin.response(call)["result"][:3] == [
        "PluginTimeout", "the host did not answer 'host/user' within 0.05 s", None]
    assert plugin.message("$/cancelRequest")["params"] == {"id": asked["id"]}
    plugin.answer(asked, "late")
    assert plugin.request("values") == []


def test_the_host_is_gone(start: Start) -> None:
    """When stdin ends, a call that waits for the host fails at once, and so does one that is made then."""
    plugin = _caller(start)
    plugin.begin("ask", {"timeout": 600})
    plugin.message("host/user")
    assert plugin.end() == 0
    plugin.log("asked")
    plugin.log("at the end: 'host/late' got no answer: the host is gone")


@pytest.mark.req("R9")
def test_notifications_and_events_to_the_host(start: Start) -> None:
    """`host.notify` sends a notification; params that are not JSON are refused where they are given."""
    plugin = _caller(start)
    plugin.request("tell", {"a": 1})
    told = plugin.message("host/note")
    assert told == {"jsonrpc": "2.0", "method": "host/note", "params": {"a": 1}}


@pytest.mark.req("R9")
def test_a_plugin_may_forgo_calling_its_host(start: Start) -> None:
    """With reverse_rpc=False the handshake says so and `plugin.host` refuses, while events still go out."""
    plugin = start("""
    plugin = Plugin("silent", reverse_rpc=False)
    CALLS = [lambda: plugin.host.request("host/user"), lambda: plugin.host.notify("host/note"),
             lambda: plugin.publish("Event", {"a": 1}, {"trace": "t"}), lambda: plugin.publish("Event", object())]

    @plugin.method("try")
    def attempt(params):
        try:
            CALLS[params["call"]]()
        except (RuntimeError, TypeError) as error:
            return str(error)

    plugin.run()
    """)
    assert plugin.handshake()["reverseRpc"] is False
    for call in (0, 1):
        assert "reverse_rpc=False" in plugin.request("try", {"call": call})
    assert plugin.request("try", {"call": 2}) is None
    assert plugin.message("plugin/publishEvent")["params"] == {
        "eventType": "Event", "payload": {"a": 1}, "metadata": {"trace": "t"}}
    assert "not JSON serializable" in plugin.request("try", {"call": 3})


class _Line:
    """A conversation that fails in a given way."""

    def __init__(self, error: Type[PluginError], text: str) -> None:
        self._error = error
        self._text = text

    def request(self, *arguments: Any) -> NoReturn:
        raise self._error(self._text)

    notify = request


@pytest.mark.parametrize(("error", "text"), [
    (PluginBusy, "'host/x' was not sent: the host does not read, or too many calls wait for its answers"),
    (PluginNotRunning, "'host/x' got no answer: the host is gone"),
    (FrameTooLarge, "'host/x' could not be sent: from below"),
])
def test_other_failures_are_put_into_words_that_fit(error: Type[PluginError], text: str) -> None:
    """Whatever fails keeps its class, and its text speaks of the host."""
    proxy = HostProxy(lambda timeout: _Line(error, "from below"))  # type: ignore[arg-type,return-value]
    for call in (proxy.request, proxy.notify):
        with pytest.raises(error) as caught:
            call("host/x")
        assert str(caught.value) == text
        assert caught.value.plugin is None


def test_wrong_types_are_refused_before_anything_is_sent() -> None:
    """A method that is no text, a time-out that is no number, an `on_progress` that is no function raise at once."""
    def link(timeout: float) -> NoReturn:
        raise AssertionError("nothing is to be sent")
    proxy = HostProxy(link)
    wrong: Any
    for wrong in ({"method": 5}, {"timeout": "5"}, {"timeout": float("nan")}, {"on_progress": 5}):
        with pytest.raises((TypeError, ValueError), match=r"a method is|a time-out is|on_progress is"):
            proxy.request(**{"method": "host/user", **wrong})
    with pytest.raises(TypeError, match="a method is named by a text"):
        proxy.notify(None)  # type: ignore[arg-type]
