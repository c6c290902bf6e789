"""The plugin's process from the first byte to its exit."""
from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any, Dict, List, Sequence

import pytest

from legacy_plugins.sdk.runtime import EXIT_SECONDS
from tests.examples.wire import ROOT, SECONDS
from tests.sdk.plugin_process import HOLD, PluginProcess, Start

PLUGIN = HOLD + """
plugin = Plugin("report", version="1.0", **OPTIONS)
plugin.method("echo")(lambda params: params)
plugin.method("hold")(lambda params: hold("hold"))

@plugin.method("never")
def never(params):
    print("begun")
    threading.Event().wait()

@plugin.method("patient")
def patient(params):
    print("begun")
    while not plugin.cancelled():
        gone.wait(0.01)
    print("noticed")

gone = threading.Event()

@plugin.on_shutdown
def first():
    print("first hook")
    raise ValueError("a hook that fails")

@plugin.on_shutdown
def second():
    print("second hook on", threading.current_thread().name)
"""


def _plugin(start: Start, more: str = "", **options: Any) -> PluginProcess:
    return start(f"OPTIONS = {options!r}\n" + PLUGIN + more + "\nplugin.run()\nprint('after run')\n")


# ---- the end


@pytest.mark.req("R15")
@pytest.mark.parametrize("workers", [1, 4])
def test_shutdown_ends_the_plugin_in_order(start: Start, workers: int) -> None:
    """After plugin/shutdown the hooks run on the main thread, one whatever the other does; the answer comes; exit 0."""
    plugin = _plugin(start, max_workers=workers)
    plugin.handshake()
    assert plugin.request("plugin/shutdown", {"reason": "test"}) is None
    assert plugin.process.wait(SECONDS) == 0
    plugin.log("first hook")
    plugin.log("a hook that fails")
    plugin.log("second hook on MainThread")
    plugin.log("after run")


@pytest.mark.req("R15")
@pytest.mark.parametrize("workers", [1, 4])
def test_shutdown_waits_for_what_runs(start: Start, workers: int) -> None:
    """Calls that were accepted are finished and answered before the hooks run; new ones are refused, health is not."""
    plugin = _plugin(start, max_workers=workers)
    running = plugin.begin("hold")
    hold = plugin.held("hold")
    waiting = plugin.begin("echo", {"n": 1})
    farewell = plugin.begin("plugin/shutdown", {"reason": "test"})
    late = plugin.begin("echo", {"n": 2})
    plugin.notify("never", {})
    assert plugin.error(late)["message"] == "the plugin is shutting down"
    assert plugin.request("plugin/health") == {"status": "ok"}
    assert not [line for line in plugin.logs if "hook" in line]
    plugin.answer(hold)
    assert plugin.response(running)["result"] is None
    assert plugin.response(waiting)["result"] == {"n": 1}
    assert plugin.response(farewell)["result"] is None
    assert plugin.process.wait(SECONDS) == 0


@pytest.mark.req("R3")
@pytest.mark.parametrize("workers", [1, 4])
def test_the_end_of_stdin_ends_the_plugin(start: Start, workers: int) -> None:
    """When stdin ends the hooks run and the process exits with 0."""
    plugin = _plugin(start, max_workers=workers)
    plugin.handshake()
    assert plugin.end() == 0
    plugin.log("second hook")
    plugin.log("after run")


@pytest.mark.parametrize("workers", [1, 4])
def test_calls_before_the_end_of_stdin_are_answered(start: Start, workers: int) -> None:
    """What was sent before stdin ended is answered, so that a conversation may be piped in from a file."""
    plugin = _plugin(start, max_workers=workers)
    plugin.send(*({"id": n, "method": "echo", "params": [n]} for n in range(50)))
    assert plugin.end() == 0
    assert [plugin.response(n)["result"] for n in range(50)] == [[n] for n in range(50)]


@pytest.mark.fault("P9")
def test_a_hanging_handler_does_not_outlive_the_host(start: Start) -> None:
    """When stdin ends, a handler that never returns is left behind, and the process is gone within two seconds."""
    plugins = [_plugin(start, max_workers=workers) for workers in (1, 4)]
    for plugin in plugins:
        plugin.begin("never")
        plugin.log("begun")
    since = time.monotonic()
    assert _end_all(plugins) == [0, 0]
    assert time.monotonic() - since < EXIT_SECONDS + 1.0
    plugins[1].log("second hook")


def test_a_handler_sees_that_the_host_is_gone(start: Start) -> None:
    """When stdin ends, running handlers find themselves cancelled, and one that heeds it is waited for."""
    plugin = _plugin(start)
    plugin.begin("patient")
    plugin.log("begun")
    assert plugin.end() == 0
    plugin.log("noticed")
    plugin.log("second hook")


def _end_all(plugins: Sequence[PluginProcess]) -> List[int]:
    """Close the stdin of all, then wait; the exit codes."""
    for plugin in plugins:
        assert plugin.process.stdin is not None
        plugin.process.stdin.close()
    return [plugin.process.wait(SECONDS) for plugin in plugins]


def test_nothing_keeps_the_process_alive(start: Start) -> None:
    """Threads, exit handlers and hooks that never end do not keep the process beyond the end of stdin."""
    plugins = [_plugin(start, more) for more in (
        "threading.Thread(target=threading.Event().wait).start()",
        "import atexit; atexit.register(threading.Event().wait)",
        "plugin.on_shutdown(threading.Event().wait)",
        "plugin.on_start(lambda: (print('starts'), threading.Event().wait()))")]
    for plugin in plugins[:3]:
        plugin.handshake()
    plugins[3].log("starts")
    assert _end_all(plugins) == [0, 0, 0, 0]


def test_the_process_ends_after_shutdown_although_stdin_stays_open(start: Start) -> None:
    """A host that does not close stdin after plugin/shutdown still sees the plugin exit, whatever threads it left."""
    plugin = _plugin(start, "threading.Thread(target=threading.Event().wait).start()")
    plugin.request("plugin/shutdown", {})
    assert plugin.process.wait(SECONDS) == 0


@pytest.mark.fault("F1")
def test_a_broken_frame_ends_the_plugin_with_an_error(start: Start) -> None:
    """A host that breaks the framing is told by the log and the exit code."""
    plugin = _plugin(start)
    plugin.handshake()
    plugin.send_bytes(b"this is no frame\r\n\r\n")
    assert plugin.process.wait(SECONDS) == 1
    plugin.log("the conversation with the host is over")
    plugin.log("second hook")


def test_a_host_that_takes_nothing_more_ends_the_plugin(start: Start) -> None:
    """When the host closes its end of stdout alone, the plugin ends with an error that says so."""
    process = subprocess.Popen([sys.executable, "-c", "from legacy_plugins.sdk import Plugin\nPlugin('lonely').run()"],
                               cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write(b"Content-Length: 1\r\n\r\n1")
        process.stdin.flush()
        assert process.wait(SECONDS) == 1
        assert "it closed its end of the plugin's stdout" in process.stderr.read().decode()


# ---- the protocol


@pytest.mark.req("R5")
@pytest.mark.fault("J1", "J8", "J9")
@pytest.mark.parametrize(("body", "request_id", "code"), [
    (b"{", None, -32700), (b"", None, -32700), (b"\xff", None, -32700), (b"[" * 200 + b"]" * 200, None, -32700),
    (b"[]", None, -32600), (b"1", None, -32600), (b'{"jsonrpc":"1.0","id":104,"method":"echo"}', 104, -32600),
    (b'{"jsonrpc":"2.0","id":105,"method":1}', 105, -32600),
    (b'{"jsonrpc":"2.0","id":106,"method":"no/such"}', 106, -32601),
    (b'{"jsonrpc":"2.0","id":107,"method":"plugin/handleRequest"}', 107, -32601),
])
def test_messages_that_are_none_are_answered(share: Start, body: bytes, request_id: Any, code: int) -> None:
    """Broken JSON, broken messages and unknown methods get the standard's codes, and the conversation goes on."""
    plugin = _plugin(share)
    plugin.messages.clear()
    plugin.send_bytes(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    assert plugin.error(request_id)["code"] == code
    assert plugin.request("echo", {"still": "there"}) == {"still": "there"}


def test_frames_in_pieces_and_together(start: Start) -> None:
    """However the host's bytes are cut, the calls in them are answered."""
    plugin = _plugin(start)
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "echo", "params": {"text": "ä" * 100}}).encode("utf-8")
    header = b"content-length:%d\r\nContent-Type: application/vscode-jsonrpc; charset=utf-8\r\n\r\n" % len(body)
    frame = header + body
    for position in range(len(frame)):
        plugin.send_bytes(frame[position:position + 1])
    assert plugin.response(1)["result"] == {"text": "ä" * 100}
    plugin.send_bytes(frame.replace(b'"id": 1', b'"id": 2') + frame.replace(b'"id": 1', b'"id": 3'))
    assert plugin.response(2) == {**plugin.response(1), "id": 2}
    assert plugin.response(3) == {**plugin.response(1), "id": 3}


@pytest.mark.fault("F8")
def test_frames_larger_than_the_host_takes_are_not_sent(start: Start) -> None:
    """The handshake's limit holds for answers: one that is larger becomes an error that names both sizes."""
    plugin = _plugin(start, "plugin.method('fill')(lambda params: 'x' * params['size'])")
    plugin.request("plugin/handshake", {"name": "report", "version": "1", "limits": {"maxFrameBytes": 2000}})
    assert plugin.request("fill", {"size": 1900}) == "x" * 1900
    error = plugin.error(plugin.begin("fill", {"size": 2000}))
    assert error["code"] == -32603
    assert "2000" in error["message"]


def test_answers_wait_for_a_host_that_does_not_read(start: Start) -> None:
    """Answers and events of many megabytes, which a host leaves in the pipe for a while, all arrive, and in order."""
    plugin = start("""
    plugin = Plugin("large", max_workers=4)

    @plugin.method("fill")
    def fill(params):
        for number in range(40):
            plugin.publish("Chunk", [params["n"], number, "x" * 50_000])
        return "x" * 3_000_000

    @plugin.on_start
    def watch():
        threading.Thread(target=wait_until_full, daemon=True).start()

    def wait_until_full():
        while plugin._runtime._connection.outbox._senders_waiting < 4:
            threading.Event().wait(0.01)
        print("all handlers wait")

    plugin.run()
    """, reading=False)
    calls = [plugin.begin("fill", {"n": n}) for n in range(8)]
    plugin.log("all handlers wait")
    plugin.reading.set()
    assert [len(plugin.response(call)["result"]) for call in calls] == [3_000_000] * 8
    chunks: Dict[int, Any] = {}
    for message in plugin.messages:
        if message.get("method") == "plugin/publishEvent":
            chunks.setdefault(message["params"]["payload"][0], []).append(message["params"]["payload"][1])
    assert chunks == {n: list(range(40)) for n in range(8)}
    assert plugin.end() == 0


@pytest.mark.parametrize("workers", [1, 4])
def test_runs_only_once(start: Start, workers: int) -> None:
    """A second `run` in a process is refused."""
    plugin = _plugin(start, "plugin.method('again')(lambda params: plugin.run())", max_workers=workers)
    assert plugin.error(plugin.begin("again"))["message"] == "internal error: RuntimeError"
    plugin.log("plugin.run() was called twice")


def test_a_terminal_gets_a_hint() -> None:
    """Whoever runs a plugin by hand is told what it waits for, and ends it with Ctrl-D."""
    pty = pytest.importorskip("pty", reason="needs pseudo-terminals")
    ours, theirs = pty.openpty()
    program = "from legacy_plugins.sdk import Plugin\nPlugin('manual').run()"
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdin=theirs, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        os.close(theirs)
        assert process.stderr is not None
        assert process.stdout is not None
        hint = process.stderr.readline().decode()
        os.write(ours, b"\x04")
        assert process.wait(SECONDS) == 0
        assert process.stdout.read() == b""
    os.close(ours)
    assert "manual is a plugin" in hint
