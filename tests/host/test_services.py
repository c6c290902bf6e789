"""What plugins may call: granted, bounded, and never on the thread that reads from them."""
from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, Iterator, List

import pytest

from legacy_plugins import PluginHost, errors
from legacy_plugins.host.services import Caller, ServiceDesk
from legacy_plugins.rpc.connection import Connection
from legacy_plugins.rpc.workers import WorkerPool
from legacy_plugins.testing import FakePlugin, fake_plugin

from .conftest import LogBook, plugin

Make = Callable[..., PluginHost]
GRANTED = {"allowReverseRpc": True}


class Stage:
    """A host with a plugin `a` that may call services, and a double in its place."""

    def __init__(self, host: PluginHost, fake: FakePlugin) -> None:
        self.host = host
        self.fake = fake


@pytest.fixture
def stage(make_host: Make) -> Iterator[Stage]:
    """One that grants everything; services are added by the tests."""
    host = make_host(plugin("a", **GRANTED))
    with fake_plugin(host, "a") as fake:
        yield Stage(host, fake)


@pytest.mark.req("R9")
def test_a_service_gets_params_and_caller(stage: Stage) -> None:
    """The function is called with the params and who calls, on a thread of the pool, and its value is the answer."""
    seen: List[Any] = []

    @stage.host.service("host/add")
    def add(params: Any, caller: Caller) -> Any:
        seen.append((caller.plugin, type(caller.request_id), caller.cancelled, 0 < caller.deadline.left() <= 5,
                     threading.current_thread().name))
        return params["a"] + params["b"]
    assert stage.fake.call_host("host/add", {"a": 2, "b": 3}) == 5
    assert seen == [("a", int, False, True, "a-service-1")]


@pytest.mark.req("R9", "R42")
@pytest.mark.fault("V1")
@pytest.mark.parametrize(("config", "answer", "works"), [
    ({}, True, False),
    ({"allowReverseRpc": True}, False, False),
    ({"allowReverseRpc": True}, True, True),
    ({"allowReverseRpc": True, "reverseRpc": {"methods": ["other/*"]}}, True, False),
    ({"allowReverseRpc": True, "reverseRpc": {"methods": ["other/*", "host/*"]}}, True, True),
    ({"reverseRpc": {"methods": ["host/*"]}}, True, False),
])
def test_allowed_declared_and_granted(make_host: Make, config: Dict[str, Any], answer: bool, works: bool) -> None:
    """Only what the configuration allows, the handshake declared and the patterns grant is run; else -32601."""
    called = []
    host = make_host(plugin("a", **config), services={"host/x": lambda params, caller: called.append(1)})
    with fake_plugin(host, "a", reverseRpc=answer) as fake:
        if works:
            assert fake.call_host("host/x") is None
        else:
            with pytest.raises(errors.MethodNotFound):
                fake.call_host("host/x")
    assert called == ([1] if works else [])


@pytest.mark.fault("V1", "V2")
def test_a_refusal_tells_the_operator_why_and_the_plugin_nothing(make_host: Make, log: LogBook) -> None:
    """A name that is no service, an attribute for example, is unknown; the log has the reason."""
    host = make_host(plugin("a", **GRANTED), plugin("b"), services={"host/x": lambda params, caller: 1})
    with fake_plugin(host, "a") as a, fake_plugin(host, "b") as b:
        answers = []
        for fake, method in ((a, "__class__"), (b, "host/x")):
            with pytest.raises(errors.MethodNotFound) as caught:
                fake.call_host(method)
            answers.append(caught.value.message.replace(method, "..."))
    assert answers[0] == answers[1]
    assert "no such service is registered" in log.wait("of plugin 'a' to the host were refused").getMessage()
    assert "allowReverseRpc is false" in log.wait("of plugin 'b' to the host were refused").getMessage()


@pytest.mark.fault("V6")
@pytest.mark.parametrize("failure", [ValueError("the password is hunter2"), SystemExit("enough")])
def test_what_a_service_raises_stays_in_the_log(stage: Stage, log: LogBook, failure: BaseException) -> None:
    """The plugin gets an id, the log has id and traceback; the service works again the next time."""
    failures = [failure]

    @stage.host.service("host/x")
    def fail(params: Any, caller: Caller) -> Any:
        if failures:
            raise failures.pop()
        return "fine"
    with pytest.raises(errors.InternalError) as caught:
        stage.fake.call_host("host/x")
    assert "hunter2" not in str(caught.value)
    error_id = caught.value.message.split()[2].rstrip(";")
    record = log.wait(error_id)
    assert record.exc_info is not None
    assert record.exc_info[1] is failure
    assert stage.fake.call_host("host/x") == "fine"


def test_a_service_may_answer_with_an_error(stage: Stage) -> None:
    """`RpcError` is the service's own answer, with code, message and data."""
    @stage.host.service("host/x")
    def refuse(params: Any, caller: Caller) -> Any:
        raise errors.RpcError(42, "not today", {"until": "tomorrow"})
    with pytest.raises(errors.RpcError) as caught:
        stage.fake.call_host("host/x")
    assert (caught.value.code, caught.value.message, caught.value.data) == (42, "not today", {"until": "tomorrow"})


def test_what_one_plugin_answered_is_not_passed_to_another(make_host: Make) -> None:
    """An error that a service got from a plugin it called is an internal error for the plugin that called it."""
    host = make_host(plugin("a", **GRANTED), plugin("b"))

    @host.service("host/x")
    def forward(params: Any, caller: Caller) -> Any:
        return host["b"].request("secret")

    def fail(params: Any) -> Any:
        raise errors.RpcError(7, "the secret is 42")
    with fake_plugin(host, "b", {"secret": fail}), fake_plugin(host, "a") as fake, \
            pytest.raises(errors.InternalError, match="the host's log says more"):
        fake.call_host("host/x")


@pytest.mark.parametrize("value", [{1, 2}, float("nan"), "\ud800", "x" * 17_000_000],
                         ids=["set", "nan", "surrogate", "too large"])
def test_an_answer_that_cannot_be_sent_is_an_internal_error(stage: Stage, value: Any) -> None:
    """A service whose value is no JSON, or larger than a frame may be, gives the plugin an answer all the same."""
    stage.host.service("host/x")(lambda params, caller: value)
    with pytest.raises(errors.InternalError):
        stage.fake.call_host("host/x")


@pytest.mark.req("R9", "R42")
@pytest.mark.fault("V3", "V4")
def test_beyond_the_bound_the_host_is_busy(make_host: Make) -> None:
    """`maxConcurrency` calls are served at a time; one more is refused with -32000 at once, not queued."""
    host = make_host(plugin("a", **GRANTED, reverseRpc={"maxConcurrency": 2}))
    free, running = threading.Event(), threading.Barrier(3)

    @host.service("host/x")
    def wait(params: Any, caller: Caller) -> Any:
        running.wait(20)
        assert free.wait(20)
        return "served"
    with fake_plugin(host, "a") as fake, ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(fake.call_host, "host/x", None, 20) for _ in range(2)]
        running.wait(20)
        with pytest.raises(errors.RpcError, match=r"reverseRpc\.maxConcurrency") as caught:
            fake.call_host("host/x")
        assert caught.value.code == -32000
        free.set()
        assert [call.result(20) for call in calls] == ["served", "served"]


def test_a_plugin_that_got_its_answer_may_ask_again_at_once(make_host: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for one call, the place is free when the answer is sent: the next call never finds the host busy."""
    free: List[bool] = []
    pools: List[WorkerPool] = []
    answer, run = Connection.answer, ServiceDesk._run

    def spy_run(self: ServiceDesk, job: Any) -> Any:
        pools.append(self._pool)
        return run(self, job)

    def spy_answer(self: Connection, request_id: Any, result: Any) -> None:
        if result == "served":
            free.append(pools[-1].submit(len, ()))
        answer(self, request_id, result)
    monkeypatch.setattr(ServiceDesk, "_run", spy_run)
    monkeypatch.setattr(Connection, "answer", spy_answer)
    host = make_host(plugin("a", **GRANTED, reverseRpc={"maxConcurrency": 1}),
                     services={"host/x": lambda params, caller: "served"})
    with fake_plugin(host, "a") as fake:
        assert fake.call_host("host/x") == "served"
    assert free == [True]


def test_a_service_that_takes_too_long_is_answered_for(make_host: Make) -> None:
    """After `reverseRpc.timeoutMs` the plugin gets an error; the service is told, and its late answer is dropped."""
    host = make_host(plugin("a", **GRANTED, reverseRpc={"timeoutMs": 100}))
    told = threading.Event()

    @host.service("host/x")
    def slow(params: Any, caller: Caller) -> Any:
        while not caller.cancelled:
            caller.deadline.left()
        told.set()
        return "too late"
    host.service("host/y")(lambda params, caller: "in time")
    with fake_plugin(host, "a") as fake:
        with pytest.raises(errors.RpcError, match=r"reverseRpc\.timeoutMs"):
            fake.call_host("host/x")
        assert told.wait(20)
        assert fake.call_host("host/y") == "in time"


@pytest.mark.req("R9")
def test_a_plugin_may_cancel(make_host: Make) -> None:
    """`$/cancelRequest` of the plugin is answered with -32800 at once, and the service sees it."""
    host = make_host(plugin("a", **GRANTED))
    told = threading.Event()

    @host.service("host/x")
    def slow(params: Any, caller: Caller) -> Any:
        caller.progress("begun")
        while not caller.cancelled:
            caller.deadline.left()
        told.set()
    answer = host["a"].request("askAndCancel", {"method": "host/x"})
    assert answer["error"]["code"] == -32800
    assert told.wait(20)


def test_a_service_may_tell_how_far_it_is(make_host: Make) -> None:
    """`caller.progress` reaches the plugin as `$/progress` with its own id, before the answer."""
    host = make_host(plugin("a", **GRANTED))

    @host.service("host/x")
    def count(params: Any, caller: Caller) -> Any:
        for number in range(3):
            caller.progress({"done": number})
        return "all"
    told = host["a"].request("askWithProgress", {"method": "host/x"})
    assert told["answer"]["result"] == "all"
    assert told["progress"] == [{"done": 0}, {"done": 1}, {"done": 2}]


@pytest.mark.req("R9")
@pytest.mark.fault("V3")
def test_a_service_may_call_the_same_plugin_back(make_host: Make) -> None:
    """Host to plugin to host to plugin: nobody waits for himself."""
    host = make_host(plugin("a", **GRANTED))
    host.service("host/back")(lambda params, caller: host[caller.plugin].request("echo", params))
    assert host["a"].request("ask", {"method": "host/back", "params": {"deep": 1}})["result"] == {"deep": 1}


@pytest.mark.fault("V8")
def test_the_caller_is_the_connection_and_not_what_it_claims(make_host: Make) -> None:
    """A plugin that says it is another is known by the pipe it speaks through."""
    host = make_host(plugin("a", **GRANTED), plugin("b", **GRANTED),
                     services={"host/who": lambda params, caller: caller.plugin})
    claim = {"method": "host/who", "params": {"plugin": "b"}}
    assert [host[name].request("ask", claim)["result"] for name in host] == ["a", "b"]


@pytest.mark.req("R9")
def test_services_may_be_given_to_the_constructor_or_added_later(make_host: Make) -> None:
    """A service registered while plugins run can be called at once, and replaces one of the same name."""
    host = make_host(plugin("a", **GRANTED), services={"host/x": lambda params, caller: 1})
    with fake_plugin(host, "a") as fake:
        assert fake.call_host("host/x") == 1
        host.service("host/x")(lambda params, caller: 2)
        assert fake.call_host("host/x") == 2


def test_a_plugin_that_dies_is_a_caller_that_gave_up(make_host: Make) -> None:
    """A running service sees that nobody waits for it any more."""
    host = make_host(plugin("a", **GRANTED, restart={"enabled": False}))
    begun, told = threading.Event(), threading.Event()

    @host.service("host/x")
    def slow(params: Any, caller: Caller) -> Any:
        begun.set()
        while not caller.cancelled:
            caller.deadline.left()
        told.set()
    call = host["a"].submit("ask", {"method": "host/x"})
    assert begun.wait(20)
    with pytest.raises(errors.PluginCrashed):
        host["a"].request("die")
    assert told.wait(20)
    assert isinstance(call.exception(20), errors.PluginCrashed)


def test_only_functions_are_services() -> None:
    """The decorator without its name, what cannot be called, and coroutine functions are refused when registered."""
    host = PluginHost({"plugins": []})

    async def later(params: Any, caller: Caller) -> None:
        pass

    class Later:
        async def __call__(self, params: Any, caller: Caller) -> None:
            pass
    with pytest.raises(TypeError, match="registered under a name"):
        @host.service  # type: ignore[arg-type]
        def find(params: Any, caller: Caller) -> None:
            pass
    wrong: Any
    for wrong in (5, None, later, Later()):
        with pytest.raises(TypeError, match="a service is a"):
            host.service("user/find")(wrong)
        with pytest.raises(TypeError, match="a service is a"):
            PluginHost({"plugins": []}, services={"user/find": wrong})
    with pytest.raises(TypeError, match="registered under a name"):
        PluginHost({"plugins": []}, services={5: len})  # type: ignore[dict-item]
