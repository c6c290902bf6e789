"""What happens to plugins when the interpreter exits, each time in an interpreter of its own."""
from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List

import pytest

from .conftest import ROOT, configuration, plugin, run_script, wait_dead

HOST = """
import atexit, json, logging, os, signal, sys, threading
logging.getLogger("legacy_plugins").addHandler(logging.NullHandler())
from legacy_plugins import PluginHost, errors
host = PluginHost(json.loads(sys.argv[1]))
def pids():
    print(*[host[name].pid for name in host], flush=True)
"""


def config(*plugins: Dict[str, Any], **rest: Any) -> str:
    """A configuration as an argument."""
    return json.dumps(configuration(*plugins, **rest))


def traced(path: Path) -> List[str]:
    """What the plugin noted, without pids."""
    return [line.split()[0] for line in path.read_text().splitlines()]


@pytest.mark.req("R15")
@pytest.mark.fault("H4")
@pytest.mark.parametrize(("end", "code"), [
    ("", 0), ("sys.exit(3)", 3), ("raise LookupError('lost')", 1), ("os.kill(os.getpid(), signal.SIGINT)", -2)])
def test_plugins_are_asked_to_end(tmp_path: Path, end: str, code: int) -> None:
    """Whether the program ends, exits, dies of an exception or of Ctrl-C: each plugin gets plugin/shutdown and EOF."""
    trace = tmp_path / "trace"
    done = subprocess.run([sys.executable, "-W", "error", "-c", HOST + "host.start()\n" + end,
                           config(plugin("a", {"trace": str(trace)}), plugin("b", {"trace": str(trace)}))],
                          cwd=str(ROOT), capture_output=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr.decode()
    assert sorted(traced(trace)) == ["eof", "eof", "shutdown", "shutdown", "start", "start"]
    assert b"legacy" not in done.stderr


@pytest.mark.req("R15")
@pytest.mark.fault("P9", "G8")
def test_deaf_plugins_are_killed_in_time() -> None:
    """Plugins that ignore everything end with the interpreter within `exitTimeoutMs`, side by side."""
    plugins = [plugin(name, {"deaf": True}, shutdownTimeoutMs=60_000) for name in "abcd"]
    output = run_script(HOST + """
import time
host.start()
pids()
before = time.monotonic()
atexit._run_exitfuncs()
print(time.monotonic() - before)
""", config(*plugins, exitTimeoutMs=700)).splitlines()
    assert float(output[1]) < 3
    assert all(wait_dead(int(pid), 0) for pid in output[0].split())


def test_a_plugin_that_is_being_stopped_slowly_does_not_hold_up_the_exit() -> None:
    """A stop with a long time of its own, begun by another thread, is shortened."""
    output = run_script(HOST + """
host.start()
pids()
threading.Thread(target=host.stop, daemon=True).start()
""", config(plugin("a", {"deaf": True}, shutdownTimeoutMs=60_000), exitTimeoutMs=500), timeout=20)
    assert wait_dead(int(output.split()[0]), 2)


def test_a_host_that_never_started_anything_is_silent() -> None:
    """Nothing is printed, waited for or started at exit, whatever was asked of the host."""
    assert run_script(HOST + """
PluginHost(json.loads(sys.argv[1])).stop()
assert host.status() and not host.routes() and host.healthy
assert threading.active_count() == 1
""", config(plugin("a", {"deaf": True}, shutdownTimeoutMs=60_000))) == ""


@pytest.mark.fault("H10")
def test_a_call_in_a_later_exit_handler_raises_at_once() -> None:
    """When plugins are gone already, a call says that, and nothing hangs."""
    output = run_script(HOST + """
def late():
    for method in (host["a"].request, host["a"].submit, host["a"].notify):
        try:
            method("echo")
        except errors.PluginNotRunning as error:
            print(error.state.value)
    print(host.broadcast("E").dropped)
    host.stop()
atexit.register(late)
host.start()
""", config(plugin("a")), timeout=20)
    assert output.splitlines() == ["stopped", "stopped", "stopped", "('a',)"]


@pytest.mark.fault("H9", "H10")
def test_a_first_use_in_an_exit_handler_does_not_hang() -> None:
    """Newer Pythons start no thread then, older ones do; either way the call ends and so does the interpreter."""
    output = run_script(HOST + """
def late():
    try:
        print(host["a"].request("echo", ["answered"], timeout=10))
    except Exception as error:
        print("refused", type(error).__name__)
atexit.register(late)
""", config(plugin("a")), timeout=30)
    assert output.startswith(("['answered']", "refused"))


@pytest.mark.req("R15")
def test_calls_in_flight_do_not_hold_up_the_exit() -> None:
    """A thread that waits for a plugin learns that it was stopped, and the interpreter ends."""
    started = time.monotonic()
    run_script(HOST + """
host.start()
call = host["a"].submit("wait", {"seconds": 60}, timeout=60)
threading.Thread(target=call.exception, daemon=True).start()
""", config(plugin("a")), timeout=30)
    assert time.monotonic() - started < 20


def test_all_hosts_of_a_process_are_stopped(tmp_path: Path) -> None:
    """One handler stops the plugins of every host, also of one that nobody refers to any more."""
    trace = tmp_path / "trace"
    run_script(HOST + """
host.start()
host = PluginHost(json.loads(sys.argv[1]))
host["a"].request("echo")
""", config(plugin("a", {"trace": str(trace)})))
    assert sorted(traced(trace)) == ["eof", "eof", "shutdown", "shutdown", "start", "start"]


@pytest.mark.req("R24")
def test_last_log_lines_reach_their_handlers() -> None:
    """What a plugin writes while it is shut down at exit is still logged."""
    output = run_script("import logging\nlogging.basicConfig(format='%(name)s %(message)s')\n" + HOST + """
host["a"].request("log", {"text": "ERROR: last words\\n"})
""", config(plugin("a")))
    assert "legacy_plugins.plugin.a" in output
    assert "last words" in output
