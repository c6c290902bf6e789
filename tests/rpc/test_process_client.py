"""Conversations with real programs: what they answer, how they die, what they refuse, and that nothing stays behind."""
from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest

from legacy_plugins.errors import (
    MethodNotFound,
    PluginCrashed,
    PluginNotRunning,
    PluginStartFailed,
    PluginTimeout,
    ProtocolError,
    RpcError,
)
from legacy_plugins.rpc import JsonRpcProcess
from legacy_plugins.rpc.dispatcher import shared_dispatcher
from tests.plugins.programs import ECHO, ROOT, SECONDS, children, descriptors, eventually, state, threads

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the tests read /proc")

Start = Callable[..., JsonRpcProcess]


def _crash(call: concurrent.futures.Future[Any]) -> Any:
    error = call.exception(SECONDS)
    assert isinstance(error, PluginCrashed), error
    return error.crash


# ---- asking


def test_wrong_types_are_refused_before_anything_is_sent(program: Start) -> None:
    """A method that is no text, a time-out that is no number, a handler that is no function raise at once."""
    plugin = program()
    for ask in (plugin.request, plugin.submit):
        with pytest.raises(TypeError, match="a method is named by a text"):
            ask(5)  # type: ignore[operator]
        with pytest.raises(TypeError, match="a number of seconds, not '5'"):
            ask("add", timeout="5")  # type: ignore[operator]
        with pytest.raises(TypeError, match="on_progress is a function"):
            ask("add", on_progress=5)  # type: ignore[operator]
    with pytest.raises(TypeError, match="a method is named by a text"):
        plugin.notify(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a method is named by a text"):
        plugin.on(len)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a handler is a function"):
        plugin.on("told")(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a number of seconds"):
        plugin.close("2")  # type: ignore[arg-type]
    assert plugin.request("echo", [3], SECONDS) == [3]


@pytest.mark.req("R1", "R4", "R5", "R6", "R7")
def test_asking_and_telling(program: Start) -> None:
    """Results, errors, notifications, unknown methods: what a program of forty lines understands and answers."""
    plugin = program()
    for value in (None, {"a": [1, 2.5, "é\u2028\U0001f600"]}, [], [{}], {"x" * 1000: "y" * 100_000}):
        assert plugin.request("echo", value) == value
    with pytest.raises(RpcError) as caught:
        plugin.request("refuse", {"code": 42, "message": "no", "data": {"why": None}})
    assert (caught.value.code, caught.value.message, caught.value.data) == (42, "no", {"why": None})
    with pytest.raises(MethodNotFound):
        plugin.request("nothing")
    plugin.notify("first")
    plugin.notify("second", {"a": 1})
    assert plugin.request("report") == ["first", "second"]


@pytest.mark.fault("J19")
@pytest.mark.req("D5", "R7")
def test_ten_thousand_calls_from_32_threads(program: Start) -> None:
    """With random delays in the program every reply goes to its caller."""
    plugin = program()
    wrong: List[Any] = []
    count = iter(range(10_000))
    lock = threading.Lock()

    def call() -> None:
        while True:
            with lock:
                number = next(count, None)
            if number is None:
                return
            value = [number, "x" * random.randrange(200)]
            answer = plugin.request("delay", {"seconds": random.random() * 0.003, "value": value}, 30.0)
            if answer != value:
                wrong.append((value, answer))
    callers = [threading.Thread(target=call) for _ in range(32)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert wrong == []
    assert plugin._connection.calls.outcomes == {"answered": 10_000, "failed": 0, "timed_out": 0, "cancelled": 0,
                                                 "crashed": 0}


def test_futures(program: Start) -> None:
    """`wait`, `as_completed`, done-callbacks and `asyncio.wrap_future` on calls to a real program."""
    plugin = program()
    delays = [0.06, 0.0, 0.03]
    calls = [plugin.submit("delay", {"seconds": seconds, "value": seconds}) for seconds in delays]
    order = [call.result(0) for call in concurrent.futures.as_completed(calls, SECONDS)]
    assert sorted(order) == sorted(delays)
    assert order[0] == 0.0
    told: List[Tuple[Any, str]] = []
    for call in calls:
        call.add_done_callback(lambda done: told.append((done.result(0), threading.current_thread().name)))
    assert shared_dispatcher().flush(SECONDS)
    assert told == [(seconds, "legacy-plugins-dispatch") for seconds in delays]

    async def gather() -> List[Any]:
        wrapped = [asyncio.wrap_future(plugin.submit("echo", [number])) for number in range(20)]
        return list(await asyncio.wait_for(asyncio.gather(*wrapped), SECONDS))
    assert asyncio.run(gather()) == [[number] for number in range(20)]


def test_progress(program: Start) -> None:
    """It arrives in the calling thread, in order, before the result."""
    plugin = program()
    told: List[Any] = []
    here = threading.current_thread()
    assert plugin.request("progress", list(range(50)), on_progress=lambda value: told.append(
        (value, threading.current_thread() is here))) == "done"
    assert told == [(value, True) for value in range(50)]


@pytest.mark.fault("J11", "J14")
def test_late_and_duplicate_answers(program: Start) -> None:
    """They are dropped; the calls that follow get their own."""
    plugin = program()
    assert plugin.request("twice") == "first"
    with pytest.raises(PluginTimeout):
        plugin.request("delay", {"seconds": 0.1, "value": "late"}, 0.02)
    eventually(lambda: plugin._connection.late_answers == 2, "both are counted")
    assert plugin.request("echo", ["next"]) == ["next"]
    assert plugin.request("report") == ["$/cancelRequest"]


@pytest.mark.fault("J1", "J10")
def test_one_wrong_answer_hurts_one_caller(program: Start, caplog: pytest.LogCaptureFixture) -> None:
    """The call that it answers fails with the fault; the conversation goes on."""
    plugin = program()
    with pytest.raises(ProtocolError, match="not valid JSON"):
        plugin.request("send_bodies", ['{"jsonrpc":"2.0","id":%ID%,"result":}'])
    assert plugin.request("send_bodies", ["[]", '{"jsonrpc":"2.0","id":12345,"result":1}']) == 2
    assert plugin.request("echo", [1]) == [1]
    assert caplog.text.count("breaks the protocol") == 3


@pytest.mark.fault("B8")
def test_ten_megabytes_there_and_back(program: Start) -> None:
    """Both sides write more than any pipe holds."""
    text = "0123456789abcdef" * (10 * 2 ** 16)
    assert program().request("echo", [text], 60.0) == [text]


# ---- being asked


@pytest.mark.req("R9")
def test_the_program_asks(program: Start, caplog: pytest.LogCaptureFixture) -> None:
    """Handlers answer in order on a thread of their own; what they raise is an error answer, even `sys.exit()`."""
    plugin = program()
    names: List[str] = []

    @plugin.on("host/add")
    def add(params: Dict[str, Any]) -> Any:
        names.append(threading.current_thread().name)
        return params["a"] + params["b"]

    plugin.on("host/bad")(lambda params: object())
    plugin.on("host/exit")(lambda params: sys.exit(3))
    plugin.on("host/back")(lambda params: plugin.request("echo", params))

    def ask(method: str, params: Any) -> Any:
        return plugin.request("ask", {"method": method, "params": params})
    assert ask("host/add", {"a": 1, "b": 2}) == {"result": 3}
    assert ask("host/back", [5]) == {"result": [5]}
    assert ask("host/none", [])["error"]["code"] == -32601
    for method, error in (("host/add", "KeyError"), ("host/bad", "TypeError"), ("host/exit", "SystemExit")):
        answer = ask(method, {"a": 1})["error"]
        assert (answer["code"], answer["message"]) == (-32603, f"{error} in the handler")
    assert set(names) == {f"{plugin.name}-handler-1"}
    assert "the handler of 'host/exit' failed" in caplog.text


def test_the_program_tells(program: Start) -> None:
    """Notifications reach their handler in order; those without one are ignored."""
    plugin = program()
    got: List[int] = []
    plugin.on("tick")(lambda params: got.append(params[0]))
    assert plugin.request("notify", {"method": "tick", "count": 2000}) == 2000
    assert plugin.request("notify", {"method": "nobody", "count": 10}) == 10
    eventually(lambda: len(got) == 2000, "all are handled")
    assert got == list(range(2000))


@pytest.mark.fault("B11")
def test_handlers_that_block_do_not_hold_up_answers(program: Start, caplog: pytest.LogCaptureFixture,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """A request is answered while a handler blocks; what waits has a bound, and what is over it is logged."""
    plugin = program()
    monkeypatch.setattr(plugin._handlers, "_max_waiting", 100)
    gate = threading.Event()
    plugin.on("tick")(lambda params: gate.wait(SECONDS))
    assert plugin.request("notify", {"method": "tick", "count": 200}) == 200
    assert plugin.request("echo", [1]) == [1]
    assert plugin.request("ask", {"method": "tick"})["error"]["message"] == "too many requests wait"
    gate.set()
    assert "was dropped: too many wait" in caplog.text


# ---- dying


@pytest.mark.fault("P4", "L5", "G2")
def test_a_crash_with_21_calls_in_flight(program: Start) -> None:
    """All fail at once with `PluginCrashed`, whose report has exit code, stderr and what was asked last."""
    plugin = program()
    plugin.request("echo", [])
    calls = [plugin.submit("silent", [number], 60.0) for number in range(20)]
    began = time.monotonic()
    calls.append(plugin.submit("die", {"code": 3, "stderr": "loading\nKeyError: 'x'\n"}, 60.0))
    assert not concurrent.futures.wait(calls, SECONDS).not_done
    assert time.monotonic() - began < 1.0
    reports = [_crash(call) for call in calls]
    assert all(report is reports[0] for report in reports)
    report = reports[0]
    assert (report.exit_code, report.signal, report.fault) == (3, None, None)
    assert report.stderr_tail == ("loading", "KeyError: 'x'")
    assert (report.last_method, report.pid, report.plugin) == ("die", plugin.pid, plugin.name)
    assert 0 < report.uptime < 60
    assert report.summary == "exit code 3 (its last words: KeyError: 'x')"
    assert "KeyError" in str(calls[0].exception(0))
    assert plugin._connection.calls.outcomes["crashed"] == 21
    with pytest.raises((PluginCrashed, PluginNotRunning)):
        plugin.request("echo")


@pytest.mark.fault("L1", "L5", "X9")
def test_a_flood_on_stderr(program: Start) -> None:
    """It is drained at full speed; the report keeps its end, and no more than that."""
    plugin = program()
    for number in range(20):
        plugin.request("log", [f"{number} " + "x" * 100_000 + "\n"])
    report = _crash(plugin.submit("die", {"code": 1, "stderr": "the end"}, 60.0))
    assert report.stderr_tail[-1] == "the end"
    assert sum(map(len, report.stderr_tail)) <= 16 * 1024


@pytest.mark.fault("P4", "G2")
def test_the_time_from_death_to_the_last_call(program: Start) -> None:
    """Ten crashes: half of them within a few milliseconds, none later than 250 ms after the process was gone."""
    times = []
    for _ in range(10):
        plugin = program()
        calls = [plugin.submit("silent", [], 60.0) for _ in range(50)]
        plugin.request("echo", [])
        began = time.monotonic()
        os.kill(plugin.pid, signal.SIGKILL)
        assert not concurrent.futures.wait(calls, SECONDS).not_done
        times.append(time.monotonic() - began)
        assert _crash(calls[0]).signal == "SIGKILL"
    assert sorted(times)[len(times) // 2] < 0.1
    assert max(times) < 0.25 + 0.25  # on a busy machine


@pytest.mark.fault("P10", "P11", "B6", "G2")
@pytest.mark.parametrize("own_session", [False, True])
def test_a_grandchild_that_holds_the_pipes(program: Start, own_session: bool) -> None:
    """It delays nothing: callers hear in time, threads and descriptors are given back; one in the group is killed."""
    plugin = program()
    grandchild = plugin.request("grandchild", [own_session])
    try:
        calls = [plugin.submit("silent", [], 60.0) for _ in range(20)]
        plugin.request("echo", [])
        calls.append(plugin.submit("die", {"code": 7, "stderr": "bye\n"}, 60.0))
        eventually(lambda: state(plugin.pid) in (None, "Z"), "the program is dead")
        began = time.monotonic()
        assert not concurrent.futures.wait(calls, SECONDS).not_done
        assert time.monotonic() - began < 0.25
        report = _crash(calls[0])
        assert (report.exit_code, report.stderr_tail) == (7, ("bye",))
        eventually(lambda: not threads(plugin.name), "the threads end")
        if own_session:
            assert state(grandchild) is not None
        else:
            eventually(lambda: state(grandchild) in (None, "Z"), "the grandchild in the group is dead")
    finally:
        try:
            os.kill(grandchild, signal.SIGKILL)
        except ProcessLookupError:
            pass


@pytest.mark.fault("F19")
@pytest.mark.parametrize("size", [10, 60_000])
def test_last_words(program: Start, size: int) -> None:
    """An answer together with the exit reaches its caller."""
    plugin = program()
    other = plugin.submit("silent", [], 60.0)
    assert plugin.request("die", {"code": 0, "answer": size}) == "x" * size
    report = _crash(other)
    assert report.exit_code == 0
    assert "ended by itself" in report.summary


@pytest.mark.fault("P5")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_death_by_a_signal(program: Start, number: signal.Signals) -> None:
    """The report names the signal."""
    plugin = program()
    report = _crash(plugin.submit("die_of", [int(number)], SECONDS))
    assert (report.signal, report.exit_code) == (number.name, None)


@pytest.mark.fault("P6")
def test_a_program_that_closes_stdout(program: Start) -> None:
    """Its callers hear within the grace, and it is killed."""
    plugin = program()
    plugin.request("stay", [True])
    report = _crash(plugin.submit("close_stdout", [], 60.0))
    assert "closed its stdout" in report.summary
    eventually(lambda: state(plugin.pid) in (None, "Z"), "it is killed")


@pytest.mark.fault("P7")
def test_a_program_that_closes_stdin(program: Start) -> None:
    """The next thing that is said to it ends it: it could never be told anything again."""
    plugin = program()
    assert plugin.request("close_stdin") == plugin.pid
    began = time.monotonic()
    report = _crash(plugin.submit("echo", [], 60.0))
    assert "closed stdin" in report.fault
    assert time.monotonic() - began < 1.0


@pytest.mark.fault("F1", "F10", "F14")
@pytest.mark.parametrize("noise", ["debug\n", "\n", "Content-Length: 5\n\n12345", "Content-Length: x\r\n\r\n"])
def test_noise_on_stdout(program: Start, noise: str) -> None:
    """It ends the program at once, and every caller learns what was written."""
    plugin = program()
    plugin.request("echo", [])
    other = plugin.submit("silent", [], 60.0)
    report = _crash(plugin.submit("send_raw", [noise], 60.0))
    assert report.fault.startswith("protocol error: ")
    assert _crash(other) is report
    eventually(lambda: state(plugin.pid) in (None, "Z"), "it is killed")


@pytest.mark.fault("P19")
def test_an_unknown_exit_status_is_not_success(program: Start) -> None:
    """When something else reaps the program the report says "unknown", never 0."""
    plugin = program()
    plugin.request("echo", [])
    call = plugin.submit("die", {"code": 0}, 60.0)
    try:
        os.waitpid(plugin.pid, 0)  # we may win against our own reaping, or lose
    except ChildProcessError:
        pass
    report = _crash(call)
    assert report.exit_code == 0 or (report.exit_code is None and "exit status unknown" in report.summary)


# ---- not reading


@pytest.mark.fault("B1", "B3", "P8")
def test_a_program_that_stops_reading(program: Start) -> None:
    """Calls time out on their own; those of which nothing was written are taken back, the begun one arrives whole."""
    plugin = program()
    assert plugin.request("hang") == plugin.pid
    text = "x" * 200_000
    began = time.monotonic()
    timed_out: List[str] = []

    def ask(method: str) -> None:
        try:
            plugin.request(method, [text], 0.2)
        except PluginTimeout:
            timed_out.append(method)
    waiting = [threading.Thread(target=ask, args=(method,)) for method in ("first", *["never"] * 5)]
    waiting[0].start()
    eventually(lambda: plugin._connection.outbox.stalled_since, "the pipe is full")
    for thread in waiting[1:]:
        thread.start()
    for thread in waiting:
        thread.join(SECONDS)
    assert sorted(timed_out) == ["first", *["never"] * 5]
    assert time.monotonic() - began < 2.0
    assert len(plugin._connection.calls) == 0
    os.kill(plugin.pid, signal.SIGUSR1)
    plugin.notify("after")
    assert plugin.request("report") == ["$/cancelRequest", "after"]


@pytest.mark.fault("B4")
def test_closing_a_program_that_does_not_read(program: Start) -> None:
    """What cannot be flushed in half a second is given up; then EOF, SIGTERM, SIGKILL take their course."""
    plugin = program()
    plugin.request("stay", [True])
    plugin.request("hang")
    call = plugin.submit("never", ["x" * 500_000], 60.0)
    began = time.monotonic()
    plugin.close(0.3)
    assert time.monotonic() - began < 2.0
    assert isinstance(call.exception(0), PluginNotRunning)
    assert state(plugin.pid) is None
    eventually(lambda: not threads(plugin.name), "the threads end")


# ---- closing


@pytest.mark.fault("P9")
@pytest.mark.req("R15")
@pytest.mark.parametrize(("ignores", "shortest", "longest"), [(None, 0.0, 0.5), (False, 0.3, 0.8), (True, 0.45, 1.0)])
def test_the_rungs_of_closing(program: Start, ignores: Any, shortest: float, longest: float) -> None:
    """EOF is enough for a good program; one that ignores it gets SIGTERM, one that ignores that too gets SIGKILL."""
    plugin = program()
    plugin.request("echo", []) if ignores is None else plugin.request("stay", [ignores])
    began = time.monotonic()
    plugin.close(0.3)
    assert shortest <= time.monotonic() - began < longest + 0.5
    assert state(plugin.pid) is None


@pytest.mark.fault("P15")
def test_closing_again_and_from_everywhere(program: Start) -> None:
    """Idempotent, from several threads, from a done-callback, and after a crash; calls fail with `PluginNotRunning`."""
    plugin = program()
    call = plugin.submit("silent", [], 60.0)
    closed = threading.Event()
    call.add_done_callback(lambda _: (plugin.close(), closed.set()))
    closing = [threading.Thread(target=plugin.close) for _ in range(4)]
    for thread in closing:
        thread.start()
    for thread in closing:
        thread.join(SECONDS)
    assert closed.wait(SECONDS)
    error = call.exception(0)
    assert type(error) is PluginNotRunning
    assert "was closed" in str(error)
    for ask in (plugin.request, plugin.submit, plugin.notify):
        with pytest.raises(PluginNotRunning):
            ask("echo")
    crashed = program()
    _crash(crashed.submit("die", {"code": 1}, 60.0))
    crashed.close()
    crashed.close()


def test_the_context_manager(program: Start) -> None:
    """The program ends with the block."""
    with program() as plugin:
        assert plugin.request("echo", [1]) == [1]
    assert state(plugin.pid) is None


def test_closing_while_callers_call(program: Start) -> None:
    """32 threads in the middle of calling: each gets an answer or `PluginNotRunning`, and nobody hangs."""
    for _ in range(3):
        plugin = program()
        plugin.request("echo", [])
        ended: List[str] = []

        def call(plugin: JsonRpcProcess = plugin, ended: List[str] = ended) -> None:
            try:
                while True:
                    plugin.request("echo", ["x" * 5000])
            except PluginNotRunning:
                ended.append("not running")
            except Exception as error:  # noqa: BLE001 - shown below
                ended.append(repr(error))
        callers = [threading.Thread(target=call) for _ in range(16)]
        for caller in callers:
            caller.start()
        eventually(lambda: plugin._connection.calls.outcomes["answered"] > 100, "they call")  # noqa: B023
        plugin.close()
        for caller in callers:
            caller.join(SECONDS)
        assert ended == ["not running"] * 16


# ---- starting


@pytest.mark.parametrize("argv", ["ls -l", b"ls", [], ["ls", 5], ()])
def test_argv_is_a_list_of_strings(argv: Any) -> None:
    """Anything else is told at once, before a thread or process is made."""
    with pytest.raises(TypeError, match="list of strings"):
        JsonRpcProcess(argv)


@pytest.mark.fault("T13")
def test_a_nul_is_a_failed_start() -> None:
    """The operating system cannot pass one on."""
    with pytest.raises(PluginStartFailed, match="null byte"):
        JsonRpcProcess(["true", "a\0b"])


@pytest.mark.fault("P1", "P2")
@pytest.mark.req("R35")
def test_what_cannot_be_started(tmp_path: Path) -> None:
    """The error says why; nothing is left."""
    before = descriptors(), children()
    script = tmp_path / "script"
    script.write_text("#!/nowhere/python\n")
    for argv, cwd, words in ((["/nowhere/x"], None, "does not exist; check `command`"), ([str(script)], None, "chmod"),
                             (ECHO, str(tmp_path / "no"), "check `cwd`")):
        with pytest.raises(PluginStartFailed, match=words):
            JsonRpcProcess(argv, cwd=cwd)
    script.chmod(0o755)
    with pytest.raises(PluginStartFailed, match="needs the interpreter '/nowhere/python'"):
        JsonRpcProcess([str(script)])
    assert len(descriptors() - before[0]) <= 2
    assert children() == before[1]


@pytest.mark.fault("P2")
def test_a_program_that_exits_at_once(program: Start) -> None:
    """Whether before or after the first request is sent: `PluginCrashed` with its last words."""
    plugin = program([sys.executable, "-S", "-E", "-c", "import sys; sys.exit('no configuration')"])
    try:
        report = _crash(plugin.submit("echo", [], 60.0))
    except PluginCrashed as error:
        report = error.crash
    assert (report.exit_code, report.stderr_tail) == (1, ("no configuration",))
    eventually(plugin._ended.is_set, "its end is seen")
    with pytest.raises(PluginCrashed, match="no configuration"):
        plugin.request("echo")


@pytest.mark.fault("P21")
def test_out_of_descriptors_or_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """`PluginStartFailed` that says so, and no process, thread or descriptor stays behind."""
    before, mine = descriptors(), children()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = [number for number in range(max(before) + 12) if number not in before]
    started = 0
    for limit in free[:10]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        try:
            plugin = JsonRpcProcess(ECHO)
        except PluginStartFailed as error:
            assert "out of resources" in str(error)  # noqa: PT017 - with enough of them it starts
        else:
            started += 1
            plugin.close()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert started < 5
    real = threading.Thread.start
    for role in ("reader", "writer", "stderr"):
        def start(self: threading.Thread, role: str = role) -> None:
            if self.name.endswith(role):
                raise RuntimeError("can't start new thread")
            real(self)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            with pytest.raises(PluginStartFailed, match="can't start new thread"):
                JsonRpcProcess(ECHO)
    eventually(lambda: not threads(os.path.basename(ECHO[0])), "the threads end")
    eventually(lambda: len(descriptors() - before) <= 2, "the descriptors are closed")
    eventually(lambda: children() <= mine, "the processes are gone")


def test_environment_and_directory(program: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's environment by default, exactly the one given otherwise; no descriptor but three; its own session."""
    monkeypatch.setenv("LP_TEST_MARK", "the host's")
    inherited = program().request("environment")
    assert inherited["env"]["LP_TEST_MARK"] == "the host's"
    given = program([*ECHO, "a b", ""], cwd=str(tmp_path), env={"LC_CTYPE": "C.UTF-8", "X": "1"}).request("environment")
    assert given == {"argv": ["a b", ""], "cwd": str(tmp_path), "env": {"LC_CTYPE": "C.UTF-8", "X": "1"},
                     "fds": [0, 1, 2], "leader": True, "blocked": []}


# ---- what is left behind


@pytest.mark.fault("X6", "X7", "X8", "G3")
def test_nothing_is_left_after_a_hundred_conversations() -> None:
    """Closed, crashed, killed and faulty ones in turn: no descriptor, thread or zombie more than before."""
    JsonRpcProcess(["/bin/true"]).close()
    name = os.path.basename(ECHO[0])
    eventually(lambda: not threads(name, "true"), "the threads end")
    before, mine, running = descriptors(), children(), threading.active_count()
    ends: List[Callable[[JsonRpcProcess], Any]] = [
        lambda plugin: plugin.close(),
        lambda plugin: _crash(plugin.submit("die", {"code": 1}, 60.0)),
        lambda plugin: os.kill(plugin.pid, signal.SIGKILL),
        lambda plugin: _crash(plugin.submit("send_raw", ["noise\n\n"], 60.0)),
        lambda plugin: None,
    ]
    for number in range(20):
        conversations = [JsonRpcProcess(ECHO) for _ in ends]
        if number % 4 == 0:
            assert [plugin.request("echo", [number]) for plugin in conversations] == [[number]] * len(ends)
            assert len(threads(name)) <= 3 * len(ends)
            assert len(descriptors() - before) <= 6 * len(ends)
        for plugin, end in zip(conversations, ends):
            end(plugin)
        for plugin in conversations:
            plugin.close(1.0)
    eventually(lambda: threading.active_count() <= running, "the threads end")
    eventually(lambda: descriptors() <= before, "the descriptors are closed")
    eventually(lambda: children() <= mine, "the zombies are reaped")


# ---- hosts of other kinds, each in an interpreter of its own


def _host(script: str, *options: str, **how: Any) -> str:
    """What a host's script prints; it must end well, and say nothing on stderr."""
    head = f"""
import os, signal, sys, threading, time
sys.path.insert(0, {str(ROOT)!r})
from legacy_plugins.errors import *
from tests.plugins.programs import PatientProcess as JsonRpcProcess
ECHO = {ECHO!r}
"""
    done = subprocess.run([sys.executable, "-W", "error", *options, "-c", how.pop("before", "") + head + script],
                          capture_output=True, text=True, timeout=60, check=False, **how)
    assert (done.returncode, done.stderr) == (how.get("code", 0), ""), done
    return done.stdout


@pytest.mark.fault("H1", "H2", "H3")
def test_a_host_forks_in_the_middle_of_a_conversation() -> None:
    """The child has no copy of any descriptor, is told that the program is its parent's, and harms nothing."""
    assert _host("""
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of fork with threads, from Python 3.12 on
import stat
def pipes():
    fds = [int(fd) for fd in os.listdir("/proc/self/fd")]
    return [fd for fd in fds if fd > 2 and os.path.exists(f"/proc/self/fd/{fd}")
            and os.readlink(f"/proc/self/fd/{fd}").startswith(("pipe:", "anon_inode:[pidfd]"))]
plugin = JsonRpcProcess(ECHO)
assert plugin.request("echo", [1]) == [1]
stop = threading.Event()
def traffic():
    while not stop.wait(0.001):
        assert plugin.request("echo", ["x" * 3000]) == ["x" * 3000]
callers = [threading.Thread(target=traffic) for _ in range(4)]
for caller in callers:
    caller.start()
assert len(pipes()) >= 6
for number in range(40):
    pid = os.fork()
    if not pid:
        code = 1
        try:
            assert pipes() == [], pipes()
            try:
                plugin.request("echo")
            except PluginNotRunning as error:
                assert "forked" in str(error)
                plugin.close()
                if number % 10 == 0:
                    with JsonRpcProcess(ECHO) as own:
                        assert own.request("echo", [2]) == [2]
                code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0, number
stop.set()
for caller in callers:
    caller.join()
assert plugin.request("echo", [3]) == [3]
plugin.close()
print("well")
""") == "well\n"


@pytest.mark.fault("H1", "H2", "H3")
def test_a_fork_that_python_does_not_see() -> None:
    """Where a server forks in C, the first use in the child closes what it inherited, and says why it is none."""
    assert _host("""
import ctypes
fork = ctypes.PyDLL(None).fork
def pipes():
    fds = [int(fd) for fd in os.listdir("/proc/self/fd")]
    return [fd for fd in fds if fd > 2 and os.path.exists(f"/proc/self/fd/{fd}")
            and os.readlink(f"/proc/self/fd/{fd}").startswith("pipe:")]
plugin = JsonRpcProcess(ECHO)
assert plugin.request("echo", [1]) == [1]
for use in (lambda: plugin.request("echo"), lambda: plugin.submit("echo"), lambda: plugin.notify("echo"), plugin.close):
    pid = fork()
    if not pid:
        code = 1
        try:
            try:
                use()
                assert use == plugin.close
            except PluginNotRunning as error:
                assert "belongs to the process from which this one was forked" in str(error)
            assert pipes() == [], pipes()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
assert plugin.request("echo", [3]) == [3]
plugin.close()
print("well")
""") == "well\n"


@pytest.mark.fault("H1")
def test_a_forked_child_cannot_wait_for_its_parents_calls() -> None:
    """A copy of a pending call says so at once; a copy of one that has ended still has its result."""
    assert _host("""
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of fork with threads, from Python 3.12 on
plugin = JsonRpcProcess(ECHO)
ended, pending = plugin.submit("echo", [1]), plugin.submit("delay", {"seconds": 0.5, "value": 7}, 30.0)
assert ended.result(30) == [1]
pid = os.fork()
if not pid:
    code = 1
    try:
        assert ended.result(0) == [1]
        for use in (pending.result, pending.exception, pending.cancel):
            try:
                use()
                print("not refused", use)
            except PluginNotRunning as error:
                assert "the call of 'delay' belongs to the process" in str(error)
        code = 0
    finally:
        sys.stdout.flush()
        os._exit(code)
assert os.waitpid(pid, 0)[1] == 0
assert pending.result(30) == 7
plugin.close()
print("well")
""") == "well\n"


@pytest.mark.fault("H3")
def test_the_parents_death_is_seen_though_a_child_lives() -> None:
    """A child that was forked in the middle does not keep the program from seeing EOF."""
    out = _host("""
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
plugin = JsonRpcProcess(ECHO)
assert plugin.request("echo", [1]) == [1]
child = os.fork()
if not child:
    for fd in (0, 1, 2):
        os.close(fd)
    threading.Event().wait()
print(plugin.pid, child, flush=True)
os._exit(0)
""")
    plugin, child = map(int, out.split())
    try:
        eventually(lambda: state(plugin) in (None, "Z"), "the program sees EOF")
        assert state(child) is not None
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.fault("H4", "H9", "H10")
@pytest.mark.parametrize("end", ["", "sys.exit(0)", "plugin.close()"])
def test_the_interpreters_end(end: str) -> None:
    """With open conversations, calls in flight and callbacks that wait it ends at once, without a word."""
    began = time.monotonic()
    out = _host(f"""
import atexit
def at_exit():
    print(type(plugin.submit("echo", [1])).__name__, flush=True)
    plugin.close()
    try:
        JsonRpcProcess(ECHO).close()
        print("started")
    except PluginStartFailed:
        print("not started")
plugin = JsonRpcProcess(ECHO)
other = JsonRpcProcess(ECHO)
plugin.request("echo", [])
calls = [other.submit("silent", [], 60.0) for _ in range(10)]
for call in calls:
    call.add_done_callback(print)
if {end!r} != "plugin.close()":
    atexit.register(at_exit)
{end}
""")
    assert out.split("\n")[0] in (("Call",) if end != "plugin.close()" else ("",))
    assert time.monotonic() - began < SECONDS


@pytest.mark.fault("J20")
def test_a_host_that_is_interrupted_again_and_again() -> None:
    """Signal handlers raise at random moments of calls, as task queues' time limits do: no call stays, nobody hangs."""
    out = _host("""
import random
class Limit(BaseException):
    pass
def strike(*_):
    raise Limit
sys.unraisablehook = lambda _: None  # it may strike where Python can only report it
signal.signal(signal.SIGALRM, strike)
plugin = JsonRpcProcess(ECHO)
plugin.request("echo", [])
done = hit = crashed = 0
for number in range(600):
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00001, 0.001))
            assert plugin.request("echo", [number]) == [number]
            done += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except Limit:
        hit += 1
    except RuntimeError as error:  # Python's own Condition: it struck just before the lock was taken again
        assert "un-acquired lock" in str(error), error
        hit += 1
    except PluginCrashed as error:
        assert "Limit interrupted" in str(error), error
        crashed += 1
        plugin.close()
        plugin = JsonRpcProcess(ECHO)
        plugin.request("echo", [])
calls = plugin._connection.calls
if plugin._connection.ended is None:
    plugin.request("echo", [])
    assert len(calls) == 0, len(calls)
plugin.close()
assert hit > 20, hit
print("well")
""")
    assert out == "well\n"


@pytest.mark.fault("P7")
def test_a_host_with_deadly_sigpipe() -> None:
    """SIGPIPE at its default does not end the host when a program dies or closes its stdin."""
    assert _host("""
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
for number in range(5):
    plugin = JsonRpcProcess(ECHO)
    assert plugin.request("echo", ["x" * 300_000]) == ["x" * 300_000]
    try:
        plugin.request("close_stdin" if number % 2 else "die", {"code": 1})
        plugin.request("echo", ["x" * 300_000])
        raise SystemExit("no crash")
    except PluginCrashed:
        pass
    for _ in range(3):
        try:
            plugin.notify("more")
        except PluginNotRunning:
            pass
    plugin.close()
print("well")
""") == "well\n"


@pytest.mark.fault("P19")
def test_a_host_that_ignores_sigchld() -> None:
    """The exit is seen at once, its status is unknown, and never 0."""
    assert _host("""
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
plugin = JsonRpcProcess(ECHO)
began = time.monotonic()
try:
    plugin.request("die", {"code": 0}, 30.0)
except PluginCrashed as error:
    print(error.crash.exit_code, error.crash.signal, error.crash.summary, time.monotonic() - began < 5)
plugin.close()
""") == "None None exit status unknown True\n"


@pytest.mark.fault("P20")
def test_a_host_that_blocks_sigterm() -> None:
    """The program does not inherit the mask: SIGTERM ends it. The host's own mask stays as it was."""
    assert _host("""
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
plugin = JsonRpcProcess(ECHO)
plugin.request("stay", [False])
os.kill(plugin.pid, signal.SIGTERM)
try:
    plugin.request("echo", [], 20)
except PluginCrashed as error:
    print(error.crash.signal, signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ()))
plugin.close()
""") == "SIGTERM True\n"


@pytest.mark.fault("H12")
def test_ctrl_c_goes_to_the_host_alone() -> None:
    """SIGINT to the host's group leaves the program alone: the host decides when it ends."""
    assert _host("""
plugin = JsonRpcProcess(ECHO)
plugin.request("echo", [])
try:
    os.killpg(0, signal.SIGINT)
    threading.Event().wait(10)
except KeyboardInterrupt:
    print(plugin.request("echo", ["alive"]))
plugin.close()
""", start_new_session=True) == "['alive']\n"


def test_signals_that_interrupt_system_calls(program: Start) -> None:
    """A host whose timer strikes all the time loses nothing."""
    plugin = program()
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for number in range(100):
            assert plugin.request("delay", {"seconds": 0.001, "value": [number, "x" * 100_000]}) == [
                number, "x" * 100_000]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


GEVENT = "from gevent import monkey; monkey.patch_all()\n"


@pytest.mark.fault("H15")
def test_a_gevent_host() -> None:
    """Under gevent calls, crashes and closing work, and a waiting call does not hold up other greenlets."""
    pytest.importorskip("gevent", reason="gevent is missing: hosts on gevent are not tested")
    assert _host("""
import gevent
plugin = JsonRpcProcess(ECHO)
assert plugin.request("echo", ["x" * 300_000]) == ["x" * 300_000]
ticks = []
def tick():
    while len(ticks) < 20:
        ticks.append(time.monotonic())
        gevent.sleep(0.01)
ticking = gevent.spawn(tick)
jobs = [gevent.spawn(plugin.request, "delay", {"seconds": 0.2, "value": number}) for number in range(50)]
gevent.joinall(jobs, timeout=10)
assert [job.value for job in jobs] == list(range(50))
ticking.join(10)
assert max(b - a for a, b in zip(ticks, ticks[1:])) < 0.15
calls = [plugin.submit("silent", [], 30.0) for _ in range(20)]
began = time.monotonic()
calls.append(plugin.submit("die", {"code": 5, "stderr": "last words"}, 30.0))
reports = [call.exception(10).crash for call in calls]
assert time.monotonic() - began < 5
assert reports[0].exit_code == 5 and reports[0].stderr_tail == ("last words",), reports[0]
plugin.close()
stubborn = JsonRpcProcess(ECHO)
environment = stubborn.request("environment")
assert environment["blocked"] == [], environment
stubborn.request("stay", [True])
stubborn.close(0.2)
assert not os.path.exists(f"/proc/{stubborn.pid}")
print("well")
""", before=GEVENT) == "well\n"


@pytest.mark.fault("H15", "H1", "H3")
def test_a_gevent_host_that_forks() -> None:
    """Greenlets go on in the child, where they read, write, signal and say nothing; the parent loses no answer."""
    pytest.importorskip("gevent", reason="gevent is missing: hosts on gevent are not tested")
    assert _host("""
import gevent
plugin = JsonRpcProcess(ECHO)
jobs = [gevent.spawn(plugin.request, "delay", {"seconds": 0.02 * number, "value": number}) for number in range(50)]
gevent.sleep(0.05)
pid = os.fork()
if not pid:
    code = 1
    try:
        try:
            plugin.request("echo", [1])
        except PluginNotRunning as error:
            assert "forked" in str(error)
        with JsonRpcProcess(ECHO) as own:  # whose descriptors have the numbers of those that were closed
            for number in range(100):
                assert own.request("echo", [number]) == [number]
            assert own.request("delay", {"seconds": 0.5, "value": 9}) == 9
        plugin.close()
        code = 0
    finally:
        os._exit(code)
assert os.waitpid(pid, 0)[1] == 0
gevent.joinall(jobs, timeout=20)
assert [job.value for job in jobs] == list(range(50))
plugin.close()
print("well")
""", before=GEVENT) == "well\n"


def test_the_logger_is_the_librarys(program: Start, caplog: pytest.LogCaptureFixture) -> None:
    """What is logged about a program goes through `legacy_plugins.rpc`."""
    with caplog.at_level(logging.WARNING, "legacy_plugins.rpc"):
        assert program().request("send_bodies", ["[]"]) == 1
        eventually(lambda: caplog.records, "it is logged")
    assert {record.name for record in caplog.records} == {"legacy_plugins.rpc"}


def test_errors_name_a_program(program: Start) -> None:
    """Nobody speaks of a plugin where there is none, nor of a configuration."""
    one = program()
    with pytest.raises(PluginTimeout, match=r"^program .* did not answer 'delay' within"):
        one.request("delay", {"seconds": 0.1, "value": 1}, 0.02)
    one.close()
    with pytest.raises(PluginNotRunning, match=r"was closed|the conversation with program"):
        one.request("nothing")
