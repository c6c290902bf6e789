"""Hosts under gevent, as `gunicorn -k gevent` runs them: threads are greenlets, and nothing may block but in gevent.

Each test runs in an interpreter of its own, since what gevent replaces cannot be put back. A wait that gevent knows
nothing of would stop every greenlet, the one included that the wait is for: such a script never ends.
"""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pytest

from .conftest import Gate, configuration, plugin, run_script, wait_dead

pytest.importorskip("gevent", reason="gevent is missing: hosts on gevent are not tested")
pytestmark = pytest.mark.fault("H15")

PATCH = "from gevent import monkey; monkey.patch_all()\n"
HOST = """
import json, logging, os, signal, sys, threading, time
logging.getLogger("legacy_plugins").addHandler(logging.NullHandler())
from legacy_plugins import PluginHost, errors
host = PluginHost(json.loads(sys.argv[1]))
"""
HELP = """
import gevent
from gevent.event import Event
class Ticker:
    "A greenlet that wants to run every 5 ms; `greatest_gap`: how much longer it ever waited, in seconds."
    def __init__(self):
        self.greatest_gap = 0.0
        gevent.spawn(self.run)
    def run(self):
        while True:
            slept = time.monotonic()
            gevent.sleep(0.005)
            self.greatest_gap = max(self.greatest_gap, time.monotonic() - slept - 0.005)
def error_of(call, *args, **how):
    try:
        return call(*args, **how)
    except errors.PluginError as error:
        return error
def together(*jobs):
    "What each of these functions returns, all of them running at once."
    greenlets = [gevent.spawn(job) for job in jobs]
    gevent.joinall(greenlets, raise_error=True)
    return [greenlet.value for greenlet in greenlets]
def until(condition):
    while not condition():
        gevent.sleep(0.01)
ticker = Ticker()
"""


def run(source: str, *plugins: Any, **rest: Any) -> str:
    """Run source with a host of these plugins under gevent; what it printed."""
    return run_script(PATCH + HOST + HELP + source, json.dumps(configuration(*plugins, **rest)))


def test_many_greenlets_call_at_once() -> None:
    """Every greenlet gets its own answer, calls overlap in time, and no other greenlet is held up meanwhile."""
    assert run("""
host.start()
ticker.greatest_gap, began = 0.0, time.monotonic()
numbers = together(*(lambda n=n: host["a"].request("wait", {"seconds": 1.0, "value": n}) for n in range(100)))
assert numbers == list(range(100))
assert time.monotonic() - began < 20
assert ticker.greatest_gap < 0.5, ticker.greatest_gap
def many(first):
    for number in range(first, first + 50):
        assert host["a"].request("echo", [number]) == [number]
together(*(lambda first=first: many(first) for first in range(0, 1000, 100)))
waits = gevent.spawn(host["a"].request, "events", {"count": 1})
assert host["a"].request("echo", ["meanwhile"]) == ["meanwhile"]
assert not waits.ready()
host.broadcast("E", {"n": 1})
assert waits.get()[0]["payload"] == {"n": 1}
seen = []
assert host["a"].request("progress", {"values": [1, 2, 3]}, on_progress=seen.append) == "done"
assert seen == [1, 2, 3]
big = ["x" * 3_000_000]
assert together(lambda: host["a"].request("echo", big), lambda: host["a"].request("echo", [1])) == [big, [1]]
future = host["a"].submit("echo", [5])
ended = Event()
future.add_done_callback(lambda _: ended.set())
assert future.result(20) == [5] and ended.wait(20)
print("fine")
""", plugin("a")) == "fine\n"


def test_a_call_that_takes_too_long() -> None:
    """A time-out ends the one call that it is for, and the plugin is told."""
    assert run("""
host.start()
late, in_time = together(lambda: error_of(host["a"].request, "wait", {"seconds": 600}, 0.3),
                         lambda: host["a"].request("wait", {"seconds": 0.6, "value": 7}))
assert isinstance(late, errors.PluginTimeout) and in_time == 7, (late, in_time)
assert len(host["a"].request("cancelled", {"count": 1})) == 1
submitted = host["a"].submit("wait", {"seconds": 600}, 0.2)
assert isinstance(submitted.exception(20), errors.PluginTimeout)
print("fine")
""", plugin("a")) == "fine\n"


def test_crash_restart_and_reload() -> None:
    """A crash fails what is pending at once, the restart comes by itself, a reload replaces the process."""
    assert run("""
host.start()
first = host["a"].pid
pending = [gevent.spawn(error_of, host["a"].request, "wait", {"seconds": 600}) for _ in range(50)]
pending.append(gevent.spawn(error_of, host["a"].request, "die", {"code": 7, "stderr": "last words\\n"}))
found = [greenlet.get(timeout=20) for greenlet in pending]
assert {type(error) for error in found} == {errors.PluginCrashed}, found
assert found[0].crash.exit_code == 7 and found[0].crash.stderr_tail == ("last words",), found[0].crash
until(lambda: host["a"].state.value == "ready")
second = host["a"].pid
assert host["a"].request("facts")["pid"] == second != first
os.kill(second, signal.SIGKILL)
until(lambda: host["a"].last_crash.pid == second and host["a"].state.value == "ready")
assert host["a"].last_crash.signal == "SIGKILL", host["a"].last_crash
assert host.status()[0].restarts == 2
config = json.loads(sys.argv[1])
config["plugins"][0]["env"] = {"X": "1"}
report, answer = together(lambda: host.reload(config), lambda: host["a"].request("wait", {"seconds": 0.2, "value": 3}))
assert report.changed == ("a",) and answer == 3
assert host["a"].request("facts")["env"]["X"] == "1"
print("fine")
""", plugin("a", restart={"backoffMs": 200})) == "fine\n"


@pytest.mark.fault("L1", "G5")
def test_a_flood_on_stderr() -> None:
    """What a plugin pours out is drained in small pieces: its neighbour answers meanwhile, other greenlets run."""
    assert run("""
host.start()
text = "ERROR " + "y" * 90 + "\\n"
def pour():
    for _ in range(20):
        host["a"].request("log", {"text": text * 4000})
flood, answered = gevent.spawn(pour), 0
ticker.greatest_gap = 0.0
gevent.sleep(0)
while not flood.ready():
    assert host["b"].request("echo", [answered]) == [answered]
    answered += 1
flood.get()
assert answered > 20, answered
until(lambda: host["a"].status().log_lines_suppressed > 70_000)
assert ticker.greatest_gap < 0.5, ticker.greatest_gap
print("fine")
""", plugin("a"), plugin("b")) == "fine\n"


@pytest.mark.fault("V3")
def test_services_that_plugins_call() -> None:
    """Services run side by side, may wait for one another, and may call plugins themselves."""
    assert run("""
met = threading.Barrier(2)
@host.service("host/meet")
def meet(params, caller):
    met.wait(20)
    return host["b"].request("echo", params)
host.start()
found = together(*(lambda n=n: host["a"].request("ask", {"method": "host/meet", "params": [n]}) for n in range(2)))
assert [answer["result"] for answer in found] == [[0], [1]], found
print("fine")
""", plugin("a", allowReverseRpc=True), plugin("b")) == "fine\n"


def test_stopping(tmp_path: Path, make_gate: Callable[[str], Gate]) -> None:
    """A plugin that obeys is told; one that does not is killed; greenlets that wait for either get an error."""
    gate = make_gate("gate")
    output = run("""
host.start()
pids = [host[name].pid for name in host]
waiting = gevent.spawn(error_of, host["deaf"].request, "wait", {"seconds": 600})
gevent.sleep(0)
together(host.stop, lambda: host["deaf"].stop(), lambda: os.write(os.open(sys.argv[2], os.O_WRONLY), b"x"))
assert isinstance(waiting.get(), errors.PluginNotRunning)
assert [host[name].state.value for name in host] == ["stopped", "stopped"]
host.start()
print(*pids, *(host[name].pid for name in host))
""".replace("sys.argv[2]", repr(gate.path)), plugin("a", {"shutdownGate": gate.path, "trace": str(tmp_path / "trace")}),
                 plugin("deaf", {"deaf": True}, shutdownTimeoutMs=300), exitTimeoutMs=1000)
    first, deaf, second, deaf_again = map(int, output.split())
    assert all(wait_dead(pid) for pid in (first, deaf, second, deaf_again))
    lines = (tmp_path / "trace").read_text().splitlines()
    assert [f"shutdown {first}", f"eof {first}"] == lines[1:3]
    assert f"shutdown {second}" in lines


@pytest.mark.fault("H1", "H3", "G9")
def test_a_fork_while_greenlets_call() -> None:
    """gevent's greenlets go on in a forked child: there they touch nothing, and the child has plugins of its own."""
    assert run("""
host.start()
mine = host["a"].pid
pending = gevent.spawn(host["a"].request, "wait", {"seconds": 1.0, "value": "mine"}, 30)
load = [gevent.spawn(lambda: [host["a"].request("echo", [n]) for n in range(200)]) for _ in range(5)]
gevent.sleep(0.01)
def work():
    signal.alarm(40)
    assert host["a"].state.value == "stopped"
    assert host["a"].request("facts")["pid"] != mine
    numbers = together(*(lambda n=n: host["a"].request("wait", {"seconds": 1.2, "value": n}) for n in range(20)))
    assert numbers == list(range(20))
    host.stop()
children = []
for _ in range(3):
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
assert pending.get() == "mine"
assert all(greenlet.get() == [[n] for n in range(200)] for greenlet in load)
assert host["a"].request("facts")["pid"] == mine
print("fine")
""", plugin("a")) == "fine\n"


PRELOAD = HOST + """
if sys.argv[2] == "used":
    host.start()
    mine = host["a"].pid
else:
    host.status()
    mine = None
sys.stdout.flush()
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0
    print("master", host["a"].request("echo", [1]), mine is None or host["a"].pid == mine)
    sys.exit()
""" + PATCH + HELP + """
signal.alarm(40)
waits = gevent.spawn(host["a"].request, "wait", {"seconds": 0.3, "value": 7})
assert host["a"].request("echo", [2]) == [2] and not waits.ready() and waits.get() == 7
assert host["a"].pid != mine
error_of(host["a"].request, "die")
until(lambda: host["a"].state.value == "ready")
print("worker", flush=True)
"""


@pytest.mark.fault("H1")
@pytest.mark.parametrize("before", ["used", "made"])
def test_a_preloaded_host(before: str) -> None:
    """A master without gevent makes, or even uses the host; its workers replace the threads after the fork."""
    warning = "import warnings; warnings.filterwarnings('ignore', '.*multi-threaded.*', DeprecationWarning)\n"
    output = run_script(warning + PRELOAD, json.dumps(configuration(plugin("a"))), before)
    assert output.splitlines() == ["worker", "master [1] True"]


def test_a_host_that_was_made_before() -> None:
    """Importing the library and making and asking a host before gevent replaces anything is no use of it."""
    assert run_script(HOST + "host.status()\n" + PATCH + """
assert host["a"].request("echo", [1]) == [1]
print("fine")
""", json.dumps(configuration(plugin("a")))) == "fine\n"


def test_a_host_that_was_used_before_is_refused() -> None:
    """Locks and threads of two kinds do not work together: every use says so; what is no use goes on working."""
    assert run_script(HOST + "host.start()\n" + PATCH + """
for use in (host.start, lambda: host["a"].request("echo"), lambda: host.broadcast("E"), host["a"].start):
    try:
        use()
        print("not refused")
    except errors.PluginStartFailed as error:
        assert "before gevent replaced the threads" in str(error), error
assert host["a"].state.value == "stopped"
host.stop()
print("fine")
""", json.dumps(configuration(plugin("a")))) == "fine\n"


def test_a_first_use_in_a_thread_of_the_systems_is_refused() -> None:
    """The library's greenlets would run in a thread that stops when its job is done; the main thread's go on."""
    assert run("""
pool = gevent.get_hub().threadpool
error = pool.apply(error_of, (host["a"].request, "echo", [1]))
assert isinstance(error, errors.PluginStartFailed) and "main thread" in str(error), error
assert host["a"].request("echo", [1]) == [1]
print("fine")
""", plugin("a")) == "fine\n"


@pytest.mark.parametrize("left_out", ["select", "subprocess", "thread", "queue"])
def test_gevent_in_parts_is_refused(left_out: str) -> None:
    """Where gevent replaced some of what must fit together, the first use names both and says what to do."""
    name = "threading" if left_out == "thread" else left_out
    assert run_script(f"from gevent import monkey; monkey.patch_all({left_out}=False)\n" + HOST + f"""
try:
    host.start()
except errors.PluginStartFailed as error:
    assert "but not {name}; call gevent.monkey.patch_all()" in str(error), error
    assert error.http_status == 503
else:
    print("not refused")
host.stop()
print("fine")
""", json.dumps(configuration(plugin("a")))) == "fine\n"
