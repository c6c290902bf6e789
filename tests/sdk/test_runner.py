"""Every call is answered exactly once, whatever its handler does."""
from __future__ import annotations

import json
import signal
from typing import Any, Dict, List

import pytest

from legacy_plugins.sdk.executors import MainThread
from legacy_plugins.sdk.jobs import Job, JobTable
from legacy_plugins.sdk.runner import Runner
from tests.examples.wire import SECONDS
from tests.sdk.plugin_process import HOLD, Start

FAILING = """
plugin = Plugin("failing", version="1.0")
circle = []
circle.append(circle)

class Changing(dict):
    def items(self):
        raise LookupError("not now")

def fail(error):
    raise error

def nested():
    value = []
    for _ in range(100_000):
        value = [value]
    return value

WAYS = {
    "exception": lambda: fail(ValueError("secret detail")),
    "exit": lambda: sys.exit(3),
    "business": lambda: fail(plugin.Error(7, "no stock", {"left": 0})),
    "bad data": lambda: fail(plugin.Error(8, "bad data", {"left": object()})),
    "object": lambda: object(),
    "bytes": lambda: b"raw",
    "NaN": lambda: float("nan"),
    "cycle": lambda: circle,
    "depth": nested,
    "surrogate": lambda: "\\ud800",
    "keys": lambda: {(1, 2): 3},
    "changing": lambda: Changing(a=1),
    "coroutine": lambda: (n for n in ()),
}

@plugin.method("fail")
def run_way(params):
    return WAYS[params["way"]]()

plugin.run()
"""


@pytest.mark.req("R5", "R7")
@pytest.mark.parametrize(("way", "code", "message"), [
    ("exception", -32603, "internal error: ValueError"), ("exit", -32603, "internal error: SystemExit"),
    ("business", 7, "no stock"), ("bad data", 8, "bad data"),
    ("object", -32603, "object is not JSON serializable"), ("bytes", -32603, "bytes is not JSON serializable"),
    ("NaN", -32603, "cannot be sent: Out of range"), ("cycle", -32603, "ircular"), ("depth", -32603, "deep"),
    ("surrogate", -32603, "surrogate"), ("keys", -32603, "keys must be"), ("changing", -32603, "not now"),
    ("coroutine", -32603, "generator is not JSON serializable"),
])
def test_a_handler_that_fails_gets_an_error_answer(share: Start, way: str, code: int, message: str) -> None:
    """Exceptions, exits and results that are not JSON become error answers, and the worker goes on."""
    plugin = share(FAILING)
    for request_id in (plugin.begin("fail", {"way": way}), plugin.begin("fail", {"way": way})):
        error = plugin.error(request_id)
        assert error["code"] == code
        assert message in error["message"]
        assert "secret" not in json.dumps(error)


def test_a_failing_notification_is_logged(share: Start) -> None:
    """What a method raises that was told and not asked goes to the log alone."""
    plugin = share(FAILING)
    before = len(plugin.messages)
    for way in ("business", "exception"):
        plugin.notify("fail", {"way": way})
    plugin.log("the method 'fail' failed with error 7: no stock")
    plugin.log("secret detail")
    assert len(plugin.messages) == before


def test_ctrl_c_answers_the_call_that_it_interrupts(start: Start) -> None:
    """When a handler on the main thread is interrupted its call is answered, and the process ends as Python does."""
    plugin = start("""
    plugin = Plugin("interrupted", max_workers=1)

    @plugin.method("wait")
    def wait(params):
        print("begun")
        threading.Event().wait()

    plugin.run()
    """)
    call = plugin.begin("wait")
    plugin.log("begun")
    plugin.process.send_signal(signal.SIGINT)
    assert plugin.error(call)["message"] == "internal error: the plugin was interrupted"
    assert plugin.process.wait(SECONDS) == -signal.SIGINT
    plugin.log("KeyboardInterrupt")


class _NoThreads(MainThread):
    """A system without a thread left."""

    def submit_call(self, work: Any, job: Any) -> bool:
        return False


class _Answers:
    """What was sent."""

    def __init__(self) -> None:
        self.refused: List[Any] = []

    def refuse(self, request_id: Any, code: int, message: str, data: Any = None) -> None:
        self.refused.append((request_id, code))


def test_a_call_for_which_there_is_no_thread_is_refused() -> None:
    """Where no worker can be started the call is answered as busy, and its place is free again."""
    answers, jobs = _Answers(), JobTable(1, 1)
    runner = Runner(answers, _NoThreads(), jobs)  # type: ignore[arg-type]
    for request_id in (1, "two"):
        runner.accept(Job("a call", lambda: None, request_id=request_id))
    assert answers.refused == [(1, -32000), ("two", -32000)]
    assert jobs.drain()


def test_an_errors_data_reaches_the_caller(share: Start) -> None:
    """What a handler gives as `data` is part of the answer; data that is not JSON is left out, and logged."""
    plugin = share(FAILING)
    assert plugin.error(plugin.begin("fail", {"way": "business"})) == {
        "code": 7, "message": "no stock", "data": {"left": 0}}
    assert "data" not in plugin.error(plugin.begin("fail", {"way": "bad data"}))
    plugin.log("data that cannot be sent")


def test_a_traceback_goes_to_the_log_and_shows_the_plugins_own_code(start: Start) -> None:
    """The log has the exception with its place, in one line, without the frames of the library around it."""
    plugin = start(FAILING)
    plugin.error(plugin.begin("fail", {"way": "exception"}))
    record = json.loads(plugin.log("secret detail"))
    assert record["level"] == "error"
    assert "the method 'fail' failed" in record["message"]
    assert record["exception"].startswith("Traceback (most recent call last):\n")
    assert "in run_way" in record["exception"]
    assert "runner.py" not in record["exception"]


ECHO = """
plugin = Plugin("echo", version="1.0", **OPTIONS)
done = []

@plugin.method("echo")
def echo(params):
    return params

@plugin.method("hold")
def held(params):
    hold(params["name"])
    done.append(params["name"])
    return plugin.cancelled()

@plugin.method("done")
def done_(params):
    return done

@plugin.method("thread")
def thread(params):
    return threading.current_thread() is threading.main_thread()

@plugin.on("*")
def on(event):
    done.append([event.type, threading.current_thread() is threading.main_thread()])

@plugin.on_start
def begin():
    done.append(threading.current_thread() is threading.main_thread())
"""


def _echo(start: Start, **options: Any) -> Any:
    return start(f"OPTIONS = {options!r}\n" + HOLD + ECHO + "plugin.run()\n")


@pytest.mark.req("R7")
def test_params_reach_the_handler_as_they_are(start: Start) -> None:
    """Objects and arrays arrive as they are; absent and null params as an empty object."""
    plugin = _echo(start)
    for params in ({"a": [1, 2.5, None, "ä"]}, [1, 2], {}, []):
        assert plugin.response(plugin.begin("echo", params))["result"] == params
    assert plugin.response(plugin.begin("echo"))["result"] == {}
    plugin.send({"id": "text-id", "method": "echo"})
    assert plugin.response("text-id")["result"] == {}


def test_a_method_may_be_told_instead_of_asked(start: Start) -> None:
    """A notification runs the method and is not answered; one that nobody knows is ignored."""
    plugin = _echo(start, max_workers=1)
    plugin.notify("unknown", {})
    plugin.notify("$/unknown", {})
    plugin.notify("hold", {"name": "told"})
    plugin.answer(plugin.held("told"))
    assert plugin.request("done") == [True, "told"]
    assert plugin.answers() == [1]


def test_calls_run_side_by_side(start: Start) -> None:
    """As many calls as there are workers run at the same time, and each is answered when it is done."""
    plugin = _echo(start, max_workers=3)
    calls = {name: plugin.begin("hold", {"name": name}) for name in "abc"}
    holds = {name: plugin.held(name) for name in "abc"}
    for name in "cab":
        plugin.answer(holds[name])
        assert plugin.response(calls[name])["result"] is False
    assert plugin.answers() == [calls[name] for name in "cab"]


def test_many_calls_at_once_get_their_own_answers(start: Start) -> None:
    """A hundred calls in one piece are answered, each with its own result."""
    plugin = _echo(start)
    plugin.send(*({"id": n, "method": "echo", "params": {"n": n}} for n in range(100)))
    assert [plugin.response(n)["result"] for n in range(100)] == [{"n": n} for n in range(100)]


def test_one_worker_keeps_the_order_on_the_main_thread(start: Start) -> None:
    """With max_workers=1 calls and events run on the main thread, one after the other, as they came."""
    plugin = _echo(start, max_workers=1)
    first = plugin.begin("hold", {"name": "first"})
    hold = plugin.held("first")
    plugin.event("Second", None, 1)
    second = plugin.begin("hold", {"name": "third"})
    thread = plugin.begin("thread")
    plugin.answer(hold)
    plugin.answer(plugin.held("third"))
    assert plugin.response(thread)["result"] is True
    assert plugin.request("done") == [True, "first", ["Second", True], "third"]
    assert plugin.answers()[:3] == [first, second, thread]


def test_with_more_workers_the_main_thread_is_free(start: Start) -> None:
    """With several workers handlers and events run on threads of their own."""
    plugin = _echo(start, max_workers=2)
    assert plugin.request("thread") is False
    plugin.event("Event", None, 1)
    plugin.handshake()
    assert plugin.end() == 0


@pytest.mark.fault("V4")
def test_calls_beyond_the_bound_are_told_busy(start: Start) -> None:
    """When all workers are busy and the waiting room is full, a call is refused at once with -32000."""
    plugin = _echo(start, max_workers=1, max_waiting=2)
    calls = [plugin.begin("hold", {"name": "a"})]
    hold = plugin.held("a")
    calls += [plugin.begin("echo", {"n": n}) for n in range(3)]
    error = plugin.error(calls[3])
    assert error["code"] == -32000
    assert "busy" in error["message"]
    plugin.notify("echo", {})
    plugin.log("was dropped")
    plugin.answer(hold)
    assert [plugin.response(call)["result"] for call in calls[:3]] == [False, {"n": 0}, {"n": 1}]
    assert plugin.request("echo", {"n": 4}) == {"n": 4}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_caller_that_asks_again_at_once_finds_its_place_free(start: Start, workers: int) -> None:
    """Whoever has an answer can ask again and is never told busy for its own earlier call."""
    plugin = _echo(start, max_workers=workers, max_waiting=0)
    for number in range(300):
        assert plugin.request("echo", {"n": number}) == {"n": number}


@pytest.mark.req("R7")
def test_cancelling_a_running_call_marks_it(start: Start) -> None:
    """A running handler can see that its caller gave up, and answers as it likes; other calls are not marked."""
    plugin = _echo(start, max_workers=2)
    calls = {name: plugin.begin("hold", {"name": name}) for name in "ab"}
    holds = {name: plugin.held(name) for name in "ab"}
    plugin.notify("$/cancelRequest", {"id": calls["a"]})
    for params in ({"id": 99}, {"id": None}, {"id": [1]}, {}, []):
        plugin.notify("$/cancelRequest", params)
    plugin.answer(holds["a"])
    assert plugin.response(calls["a"])["result"] is True
    plugin.answer(holds["b"])
    assert plugin.response(calls["b"])["result"] is False


def test_cancelling_a_waiting_call_answers_it_and_does_not_run_it(start: Start) -> None:
    """A call that has not begun is answered -32800 at once, and its handler never runs; its place is free again."""
    plugin = _echo(start, max_workers=1, max_waiting=1)
    running = plugin.begin("hold", {"name": "running"})
    hold = plugin.held("running")
    waiting = plugin.begin("hold", {"name": "waiting"})
    plugin.notify("$/cancelRequest", {"id": waiting})
    assert plugin.error(waiting)["code"] == -32800
    later = plugin.begin("done")
    plugin.answer(hold)
    assert plugin.response(running)["result"] is False
    assert plugin.response(later)["result"] == [True, "running"]


def test_progress_reaches_the_caller(start: Start) -> None:
    """`plugin.progress` is sent with the id of the call that runs, before its answer; elsewhere it does nothing."""
    plugin = start("""
    import contextvars
    plugin = Plugin("progress")

    @plugin.method("work")
    def work(params):
        plugin.progress({"done": 1})
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(plugin.progress, "from a thread of its own"))
        thread.start()
        thread.join()
        lonely = threading.Thread(target=plugin.progress, args=("nobody's",))
        lonely.start()
        lonely.join()
        return "ready"

    plugin.run()
    """)
    call = plugin.begin("work")
    assert plugin.response(call)["result"] == "ready"
    progress = [message["params"] for message in plugin.messages if message.get("method") == "$/progress"]
    assert progress == [{"id": call, "value": {"done": 1}}, {"id": call, "value": "from a thread of its own"}]
    assert "id" in plugin.messages[-1]


def test_a_route_whose_time_is_over_is_not_run(start: Start) -> None:
    """An HTTP request that waited for a worker beyond its deadline is refused instead of done for nobody."""
    plugin = start(HOLD + """
plugin = Plugin("late", max_workers=1)
plugin.method("hold")(lambda params: hold("a"))

@plugin.route("/work")
def work(request):
    raise AssertionError("it was run")

plugin.run()
""")
    plugin.begin("hold")
    hold = plugin.held("a")
    params: Dict[str, Any] = {"route": "/work", "path": "/work", "method": "GET", "deadlineMs": 0}
    call = plugin.begin("plugin/handleRequest", params)
    plugin.answer(hold)
    error = plugin.error(call)
    assert error["code"] == -32001
    assert "time was over" in error["message"]
