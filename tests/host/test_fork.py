"""Hosts that fork: a child's host was never used, and the parent's plugins are not the child's business.

Each test runs in an interpreter of its own, which forks after use; threads are running then.
"""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, configuration, is_running, plugin, run_script, wait_dead

HOST = """
import gc, json, logging, multiprocessing, os, signal, subprocess, sys, threading, warnings
logging.getLogger("legacy_plugins").addHandler(logging.NullHandler())
warnings.filterwarnings("ignore", message=".*multi-threaded.*", category=DeprecationWarning)
from legacy_plugins import PluginHost, errors
host = PluginHost(json.loads(sys.argv[1]))
def fork(work):
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    except SystemExit:
        raise
    except BaseException:
        import traceback
        traceback.print_exc()
    os._exit(code)
def wait(pid):
    status = os.waitpid(pid, 0)[1]
    assert status == 0, status
"""


def run(source: str, *plugins: object, timeout: float = 60, **rest: object) -> str:
    """Run source with a host of these plugins; what it printed."""
    return run_script(HOST + source, json.dumps(configuration(*plugins, **rest)),  # type: ignore[arg-type]
                      timeout=timeout)


@pytest.mark.fault("H1")
def test_a_childs_host_was_never_used() -> None:
    """In the child nothing runs until its own first use, which starts plugins of its own; the parent's go on."""
    output = run("""
host.start()
client, mine = host["a"], host["a"].pid
def work():
    assert client.state.value == "stopped" and client.pid is None
    gc.collect()
    assert subprocess._active == []
    theirs = client.request("facts")["pid"]
    assert theirs == client.pid != mine
    host.stop()
    print("child done", flush=True)
for _ in range(2):
    wait(fork(work))
assert client.request("facts")["pid"] == mine
print("parent done")
""", plugin("a"))
    assert output.split("\n")[:3] == ["child done", "child done", "parent done"]


@pytest.mark.fault("H2")
def test_a_childs_end_does_not_touch_the_parents_plugins() -> None:
    """However a child ends that never used the host: the parent's process answers as before."""
    assert run("""
host.start()
mine = host["a"].pid
for end in (lambda: None, sys.exit, host.stop, lambda: os.kill(os.getpid(), signal.SIGTERM)):
    os.waitpid(fork(end), 0)
    assert host["a"].request("facts")["pid"] == mine
assert host["a"].last_crash is None
print("fine")
""", plugin("a")) == "fine\n"


@pytest.mark.fault("H2", "H4")
def test_a_childs_plugins_end_with_the_child(tmp_path: Path) -> None:
    """A child that used the host and exits in order shuts its own plugins down, and no others."""
    trace = tmp_path / "trace"
    output = run("""
host.start()
def work():
    print(host["a"].request("facts")["pid"], flush=True)
    sys.exit()
wait(fork(work))
mine = host["a"].request("facts")["pid"]
print(mine)
""", plugin("a", {"trace": str(trace)}))
    theirs, mine = output.split()
    lines = trace.read_text().splitlines()
    assert lines == [f"start {mine}", f"start {theirs}", f"shutdown {theirs}", f"eof {theirs}", f"shutdown {mine}",
                     f"eof {mine}"]


@pytest.mark.fault("H3")
@pytest.mark.parametrize("guard", [True, False])
def test_eof_reaches_the_plugin_although_a_forked_child_lives(tmp_path: Path, guard: bool) -> None:
    """A child keeps no end of the plugin's pipes nor of the guard's: its parent's death is seen."""
    trace = tmp_path / "trace"
    process = subprocess.Popen([sys.executable, "-c", HOST + """
host.start()
child = fork(signal.pause)
print(host["a"].pid, child, flush=True)
signal.pause()
""", json.dumps(configuration(plugin("a", {"trace": str(trace), "deaf": guard}), guard=guard))],
                               cwd=str(ROOT), stdout=subprocess.PIPE)
    assert process.stdout is not None
    pid, child = map(int, process.stdout.readline().split())
    try:
        process.kill()
        assert wait_dead(pid)
        assert is_running(child)
        assert f"eof {pid}" in trace.read_text()
    finally:
        with process:
            process.wait(20)
            os.kill(child, signal.SIGKILL)


@pytest.mark.fault("H1", "G9")
def test_forks_under_load(tmp_path: Path) -> None:
    """While threads call and broadcast, children are forked that use the host: none hangs, no answer goes astray."""
    assert run("""
host.start()
done, failures = threading.Event(), []
def load(number):
    try:
        while not done.is_set():
            assert host["a"].request("echo", [number]) == [number]
            host.broadcast("E", number)
    except BaseException as error:
        failures.append(error)
threads = [threading.Thread(target=load, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()
def work():
    signal.alarm(25)
    assert host["a"].request("echo", ["child"]) == ["child"]
    assert host.broadcast("E").queued == ("a",)
    assert len(host["a"].request("events", {"count": 1})) == 1
    host.stop()
for _ in range(6):
    children = [fork(work) for _ in range(3)]
    for child in children:
        wait(child)
done.set()
for thread in threads:
    thread.join()
assert failures == [], failures
print("fine")
""", plugin("a"), timeout=100) == "fine\n"


@pytest.mark.fault("H1")
def test_a_fork_before_the_first_use() -> None:
    """A host that was made, connected and asked before the fork works in child and parent."""
    assert run("""
from blinker import signal as make_signal
done = make_signal("Done")
host.connect(done)
host.service("host/x")(lambda params, caller: os.getpid())
host.status()
def work():
    done.send(files=3)
    (event,) = host["a"].request("events", {"count": 1})
    assert event["payload"] == {"files": 3}
    assert host["a"].request("ask", {"method": "host/x"})["result"] == os.getpid()
    host.stop()
wait(fork(work))
work()
print("fine")
""", plugin("a", allowReverseRpc=True)) == "fine\n"


@pytest.mark.fault("H1")
def test_a_child_of_a_child() -> None:
    """Each generation has its own plugins."""
    assert run("""
seen = [host["a"].request("facts")["pid"]]
def work(depth):
    pid = host["a"].request("facts")["pid"]
    assert pid not in seen
    seen.append(pid)
    if depth:
        wait(fork(lambda: work(depth - 1)))
        assert host["a"].request("facts")["pid"] == pid
    host.stop()
wait(fork(lambda: work(2)))
assert host["a"].request("facts")["pid"] == seen[0]
print("fine")
""", plugin("a")) == "fine\n"


@pytest.mark.fault("H1")
def test_a_fork_during_a_reload_and_in_backoff() -> None:
    """A child does not inherit what its parent was about to do."""
    assert run("""
host.start()
try:
    host["b"].request("die")
except errors.PluginCrashed:
    pass
assert host["b"].state.value == "backoff"
config = json.loads(sys.argv[1])
config["plugins"][0]["env"] = {"X": "1"}
reload = threading.Thread(target=host.reload, args=(config,))
reload.start()
def work():
    assert [host[name].state.value for name in host] == ["stopped", "stopped"]
    assert host["b"].request("echo", [1]) == [1]
    host.stop()
wait(fork(work))
reload.join()
assert host["a"].request("facts")["env"]["X"] == "1"
print("fine")
""", plugin("a"), plugin("b", restart={"backoffMs": 60_000})) == "fine\n"


@pytest.mark.fault("H1", "H2")
def test_multiprocessing(tmp_path: Path) -> None:
    """A `multiprocessing` child by fork uses its own plugins, which end with it."""
    output = run("""
host.start()
def work(queue):
    queue.put(host["a"].request("facts")["pid"])
if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=work, args=(queue,))
    process.start()
    theirs = queue.get()
    process.join()
    assert process.exitcode == 0
    assert host["a"].request("facts")["pid"] != theirs
    print(theirs)
""", plugin("a", {"deaf": True}, shutdownTimeoutMs=100))
    assert wait_dead(int(output))
