"""A plugin that is a few functions in the test, over the real wire."""
from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, List

import pytest

from legacy_plugins import PluginHost, PluginState, errors, signals
from legacy_plugins.testing import FakeCall, fake_plugin


def make_host(**config: Any) -> PluginHost:
    """A host with the plugins `a` and `b`, whose programs do not exist."""
    common = {"command": "/no/such/program", "restart": {"backoffMs": 20, "jitter": 0}, **config}
    return PluginHost({"plugins": [{"name": "a", **common}, {"name": "b", **common}]})


def test_methods_answer_and_calls_are_kept() -> None:
    """A call reaches the function with its params, its value is the answer, and the test sees what was asked."""
    host = make_host()
    with fake_plugin(host, "a", {"report/build": lambda params: {"title": params["title"].upper()}}) as fake:
        assert host["a"].request("report/build", {"title": "x"}) == {"title": "X"}
        host["a"].notify("told", [1])
        with pytest.raises(errors.MethodNotFound, match="unknown"):
            host["a"].request("unknown")
        assert fake.calls == [FakeCall("report/build", {"title": "x"}), FakeCall("told", [1]),
                              FakeCall("unknown", None)]


def test_functions_may_answer_with_errors() -> None:
    """`RpcError` is answered as it is; anything else, a failed assertion too, is an internal error that shows it."""
    def refuse(params: Any) -> Any:
        raise errors.RpcError(7, "no", {"why": "because"})

    def fail(params: Any) -> Any:
        pytest.fail("this must not be asked")

    host = make_host()
    with fake_plugin(host, "a", {"refuse": refuse, "fail": fail, "odd": lambda params: {1}}):
        with pytest.raises(errors.RpcError) as caught:
            host["a"].request("refuse")
        assert (caught.value.code, caught.value.data) == (7, {"why": "because"})
        with pytest.raises(errors.InternalError, match="this must not be asked"):
            host["a"].request("fail")
        with pytest.raises(errors.InternalError):
            host["a"].request("odd")


def test_only_plugins_with_a_fake_run() -> None:
    """On a host that was not used yet the others are not started, whatever is asked of them."""
    host = make_host()
    with fake_plugin(host, "a"):
        assert host["a"].state is PluginState.READY
        with pytest.raises(errors.PluginNotRunning):
            host["b"].request("echo")
        assert host.broadcast("E").dropped == ("b",)


def test_afterwards_host_and_plugin_are_as_they_were() -> None:
    """A host that was never used is again, so its next use starts the real programs."""
    host = make_host(restart={"enabled": False})
    with fake_plugin(host, "a"), fake_plugin(host, "b"):
        assert [host[name].state for name in host] == [PluginState.READY] * 2
    assert [host[name].state for name in host] == [PluginState.STOPPED] * 2
    with pytest.raises(errors.PluginStartFailed, match="/no/such/program"):
        host["a"].request("echo")
    assert host["b"]._plugin().available.wait(lambda: host["b"].state is PluginState.FAILED, 20)
    with fake_plugin(host, "a", {"echo": lambda params: params}):
        assert host["a"].request("echo", [1]) == [1]
    assert host["a"]._plugin().available.wait(lambda: host["a"].state is PluginState.FAILED, 20)


def test_fakes_follow_one_another() -> None:
    """Where a fake ends the real program is started again, also when the next fake comes before it is."""
    host = make_host(restart={"enabled": False})
    host.start()
    for _ in range(20):
        with fake_plugin(host, "a", {"echo": lambda params: params}):
            assert host["a"].request("echo", [1]) == [1]
    assert host["a"]._plugin().available.wait(lambda: host["a"].state is PluginState.FAILED, 20)


def test_a_disabled_plugin_is_disabled_again() -> None:
    """A fake runs in the place of a plugin that the configuration disables, for the length of the block."""
    host = make_host(enabled=False)
    with fake_plugin(host, "a", {"echo": lambda params: params}):
        assert host["a"].request("echo", [1]) == [1]
    assert host["a"].state is PluginState.DISABLED


def test_fakes_nest() -> None:
    """An inner fake of the same plugin stands in front of the outer one, which comes back."""
    host = make_host()
    with fake_plugin(host, "a", {"who": lambda params: "outer"}):
        with fake_plugin(host, "a", {"who": lambda params: "inner"}):
            assert host["a"].request("who") == "inner"
        assert host["a"].request("who") == "outer"


def test_a_bad_declaration_fails_as_in_production() -> None:
    """Routes that the host would refuse fail the block, and leave nothing behind."""
    host = make_host()
    with pytest.raises(errors.HandshakeFailed, match="'x'"), \
            fake_plugin(host, "a", routes=[{"path": "x", "method": "GET"}]):
        pytest.fail("it must not be entered")
    assert host["a"].state is PluginState.STOPPED


@pytest.mark.req("R20", "R22")
def test_routes_have_handlers() -> None:
    """A declared route is mounted as on the wire; its handler gets the params of `plugin/handleRequest`."""
    routes = [{"path": "/items/{id}", "method": ["GET", "PUT"], "handler": lambda params: {"body": params["method"]}},
              {"path": "/bare", "method": "GET"}]
    host = make_host()
    with fake_plugin(host, "a", {"plugin/handleRequest": lambda params: "general"}, routes=routes):
        assert [route.route.path for route in host.routes()] == ["/items/{id}", "/bare"]
        for method in ("GET", "PUT"):
            params = {"route": "/items/{id}", "method": method}
            assert host["a"].request("plugin/handleRequest", params) == {"body": method}
        assert host["a"].request("plugin/handleRequest", {"route": "/bare", "method": "GET"}) == "general"


@pytest.mark.req("R8", "R17", "R18")
def test_events_arrive_in_order_and_filtered() -> None:
    """`events` has the params of what the filters let through; `wait_for_events` waits, and says what came."""
    host = make_host(events={"exclude": ["Noise"]})
    with fake_plugin(host, "a", events=["Sync*", "Noise"]) as fake:
        for kind in ("SyncStarted", "Noise", "Other", "SyncDone"):
            host.broadcast(kind, kind.lower())
        assert [event["payload"] for event in fake.wait_for_events(2)] == ["syncstarted", "syncdone"]
        with pytest.raises(AssertionError, match=r"2 events came within 0\.05 s, not 3"):
            fake.wait_for_events(3, timeout=0.05)
        assert [event["metadata"]["sequence"] for event in fake.events] == [1, 2]


def test_it_may_publish_and_call_the_host() -> None:
    """A fake says what a plugin may say: events, calls, notifications; grants are those of production."""
    host = make_host(events={"publish": ["Built"]}, allowReverseRpc=True)
    host.service("host/x")(lambda params, caller: [caller.plugin, params])
    published: List[Any] = []
    done = threading.Event()

    def receive(sender: Any, event_type: str, payload: Any, **_: Any) -> None:
        published.append((event_type, payload))
        done.set()
    with fake_plugin(host, "a") as fake, signals.plugin_event.connected_to(receive, sender=host):
        assert fake.call_host("host/x", {"y": 1}) == ["a", {"y": 1}]
        with pytest.raises(errors.MethodNotFound):
            fake.call_host("host/y")
        fake.publish("Built", 3)
        assert done.wait(20)
    assert published == [("Built", 3)]


def test_it_may_become_ready_later() -> None:
    """With `ready=False` the block is entered after the handshake; the test sends `plugin/ready`."""
    host = make_host()
    with fake_plugin(host, "a", {"echo": lambda params: params}, ready=False) as fake:
        assert host["a"].state is PluginState.STARTING
        fake.tell_host("plugin/ready", {"routes": [{"path": "/late", "method": "GET"}]})
        host["a"].wait_ready(20)
        assert [route.route.path for route in host.routes()] == ["/late"]


@pytest.mark.req("R36")
def test_it_may_crash_and_is_restarted() -> None:
    """A crash has the exit code that the test chose, fails what is in flight, and the fake runs again."""
    host = make_host()
    begun = threading.Event()

    def hang(params: Any) -> Any:
        begun.set()
        threading.Event().wait(20)
    with fake_plugin(host, "a", {"hang": hang, "echo": lambda params: params}) as fake:
        call = host["a"].submit("hang", timeout=20)
        assert begun.wait(20)
        fake.crash(7)
        error = call.exception(20)
        assert isinstance(error, errors.PluginCrashed)
        assert error.crash.exit_code == 7
        assert host["a"]._plugin().available.wait(lambda: host["a"].state is PluginState.READY, 20)
        assert host["a"].request("echo", [1]) == [1]
        assert host["a"].status().restarts == 1


def test_calls_run_side_by_side() -> None:
    """Several calls are in the test's functions at once, as in a plugin with threads."""
    host = make_host()
    together = threading.Barrier(4)
    with fake_plugin(host, "a", {"meet": lambda params: together.wait(20) >= 0}), ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: host["a"].request("meet", timeout=20), range(4))) == [True] * 4


def test_unknown_plugins_cannot_be_faked() -> None:
    """A misspelt name is told at once."""
    with pytest.raises(errors.UnknownPlugin, match=r"'c'.*a, b"), fake_plugin(make_host(), "c"):
        pytest.fail("it must not be entered")


def test_a_large_answer_passes() -> None:
    """More than a pipe holds goes through in both directions."""
    host = make_host()
    text = "x" * 1_000_000
    with fake_plugin(host, "a", {"echo": lambda params: params}):
        assert host["a"].request("echo", [text]) == [text]


def test_the_hosts_errors_are_not_called_a_plugins() -> None:
    """What the host answers is told as it is; what it does not answer is told of the host."""
    host, release = make_host(allowReverseRpc=True, reverseRpc={"methods": ["*"]}), threading.Event()
    host.service("host/slow")(lambda params, caller: release.wait(20))
    with fake_plugin(host, "a") as fake:
        with pytest.raises(errors.MethodNotFound, match=r"^error -32601: the host has no method 'host/x'") as caught:
            fake.call_host("host/x")
        assert caught.value.plugin is None
        with pytest.raises(errors.PluginTimeout, match=r"^the host of 'fake a' did not answer"):
            fake.call_host("host/slow", timeout=0.05)
        release.set()
