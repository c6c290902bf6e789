"""Nothing but the protocol reaches the host's end of stdout, whoever writes; nothing but the plugin reads its stdin."""
from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from legacy_plugins.sdk.standard_streams import BlockingStream
from legacy_plugins.transport import descriptors
from legacy_plugins.transport.base import StreamClosed
from tests.examples.wire import ROOT, SECONDS
from tests.sdk.plugin_process import Start

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX descriptors")

NOISE = """
import ctypes, subprocess
plugin = Plugin("noisy", version="1.0")

WAYS = {
    "print": lambda: print("noise by print"),
    "print without a line's end": lambda: (print("noise by print without a line's end", end="", flush=True),
                                           os.write(2, b"\\n")),
    "os.write": lambda: os.write(1, b"noise by os.write\\n"),
    "sys.stdout.buffer": lambda: (sys.stdout.buffer.write(b"noise by sys.stdout.buffer\\n"), sys.stdout.flush()),
    "sys.__stdout__": lambda: sys.__stdout__.write("noise by sys.__stdout__\\n"),
    "child": lambda: subprocess.run([sys.executable, "-c", "print('noise by child')"], check=True),
    "shell": lambda: subprocess.run(["sh", "-c", "echo noise by shell"], check=True),
    "libc": lambda: (libc.printf(b"noise by libc\\n"), libc.fflush(None)),
}
libc = ctypes.CDLL(None)

@plugin.method("noise")
def noise(params):
    WAYS[params["way"]]()
    return "done"
"""


@pytest.mark.req("R1", "R3")
@pytest.mark.fault("F1")
@pytest.mark.parametrize("way", ["print", "print without a line's end", "os.write", "sys.stdout.buffer",
                                 "sys.__stdout__", "child", "shell", "libc"])
def test_what_writes_to_stdout_ends_in_the_log(share: Start, way: str) -> None:
    """Output of any origin is on stderr, and the conversation goes on."""
    plugin = share(NOISE + "plugin.run()")
    plugin.handshake()
    assert plugin.request("noise", {"way": way}) == "done"
    assert plugin.request("noise", {"way": way}) == "done"
    plugin.log(f"noise by {way}")


def test_what_was_buffered_before_ends_in_the_log_too(start: Start) -> None:
    """Text that Python and the C library hold back when the plugin begins to serve does not reach the host later."""
    plugin = start(NOISE + """
    print("early", "by print")
    libc.printf(b"early by libc\\n")
    plugin.run()
    """.replace("\n    ", "\n"))
    plugin.handshake()
    assert plugin.end() == 0
    plugin.log("early by print")
    plugin.log("early by libc")


def test_what_cannot_be_encoded_is_printed_escaped(start: Start) -> None:
    """Printing any text works in any locale, and reaches the log as UTF-8."""
    plugin = start("""
    plugin = Plugin("printer")

    @plugin.method("print")
    def show(params):
        print("ä→\\ud800")

    plugin.run()
    """, env={"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"})
    assert plugin.request("print") is None
    assert plugin.log("ä→") == "ä→\\ud800"


def test_stdin_reads_as_empty(start: Start) -> None:
    """Handlers and their children find an empty stdin instead of stealing the host's messages."""
    plugin = start("""
    import subprocess
    plugin = Plugin("reader")

    @plugin.method("read")
    def read(params):
        child = subprocess.run(["cat"], stdout=subprocess.PIPE, check=True)
        try:
            input()
        except EOFError:
            return [sys.stdin.read(), os.read(0, 10).decode(), child.stdout.decode()]

    plugin.run()
    """)
    assert plugin.request("read") == ["", "", ""]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc to see descriptors")
def test_children_inherit_no_end_of_the_pipes(start: Start) -> None:
    """A child, even one that inherits every inheritable descriptor, cannot hold the conversation open."""
    plugin = start("""
    import subprocess
    plugin = Plugin("parent")
    LIST = "import glob, os; print([os.path.realpath(fd) for fd in glob.glob('/proc/self/fd/*') if fd[-1] not in '12'])"
    PIPES = [os.readlink("/proc/self/fd/0"), os.readlink("/proc/self/fd/1")]

    @plugin.method("pipes")
    def pipes(params):
        child = subprocess.run([sys.executable, "-c", LIST], stdout=subprocess.PIPE, close_fds=False, check=True)
        return [PIPES, child.stdout.decode()]

    plugin.run()
    """)
    pipes, inherited = plugin.request("pipes")
    assert all(pipe.startswith("pipe:") for pipe in pipes)
    assert "/dev/null" in inherited
    assert [pipe for pipe in pipes if pipe in inherited] == [], inherited


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_is_no_second_plugin(start: Start) -> None:
    """A process forked by a handler has no line to the host, prints to the log, and ends instead of answering twice."""
    plugin = start("""
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads, which is what is tested
    plugin = Plugin("forker")

    @plugin.method("fork")
    def fork(params):
        child = os.fork()
        if child:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if sys.version_info >= (3, 9) else \\
                os.WEXITSTATUS(os.waitpid(child, 0)[1])
        print("printed by the child")
        try:
            plugin.publish("FromChild")
        except RuntimeError as error:
            print("refused:", error)
        return "the child's answer"

    plugin.run()
    """)
    assert plugin.request("fork") == 1
    plugin.log("printed by the child")
    plugin.log("refused: this process was forked by the plugin")
    plugin.log("os._exit()")
    assert plugin.request("fork") == 1
    assert plugin.end() == 0
    assert plugin.answers() == [1, 2]
    assert [message for message in plugin.messages if "method" in message] == []


def _speak(line: socket.socket) -> bytes:
    body = b'{"jsonrpc":"2.0","id":1,"method":"double","params":{"text":"%s"}}' % (b"x" * 300_000)
    line.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    line.shutdown(socket.SHUT_WR)
    return b"".join(iter(lambda: line.recv(65536), b""))


PROGRAM = """
from legacy_plugins.sdk import Plugin
plugin = Plugin("stream")
plugin.method("double")(lambda params: params["text"] * 2)
plugin.run()
"""


@pytest.mark.skipif(not hasattr(socket, "socketpair"), reason="needs socket pairs")
def test_the_line_may_be_a_socket(tmp_path: Path) -> None:
    """A host may hand sockets over instead of pipes, as Node does; large messages pass both ways."""
    ours, theirs = socket.socketpair()
    with ours, subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=ROOT, stdin=theirs, stdout=theirs) as process:
        theirs.close()
        ours.settimeout(SECONDS)
        answer = _speak(ours)
        assert process.wait(SECONDS) == 0
    assert answer.count(b"x") == 600_000


def test_serves_where_pipes_cannot_be_polled(start: Start) -> None:
    """Without poll(), fcntl and non-blocking pipes, as on Windows, a plugin answers, publishes and ends."""
    plugin = start("""
    plugin = Plugin("blocking")

    @plugin.method("double")
    def double(params):
        plugin.publish("Doubled")
        return params["text"] * 2

    plugin.run()
    """, header="""
import os, select, sys, threading
del select.poll, os.set_blocking
sys.modules["fcntl"] = None
from legacy_plugins.sdk import Plugin
""")
    plugin.handshake()
    assert plugin.request("double", {"text": "x" * 300_000}) == "x" * 600_000
    assert plugin.message("plugin/publishEvent")["params"] == {"eventType": "Doubled", "payload": None}
    assert plugin.end() == 0


def test_a_stream_that_blocks() -> None:
    """It passes bytes on, tells the end of both directions, and gives its descriptors back."""
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    (read, far_write), (far_read, write) = descriptors.open_pipe(), descriptors.open_pipe()
    stream = BlockingStream(read, write)
    os.write(far_write, b"in")
    assert stream.read() == b"in"
    assert stream.wait_writable(0.0)
    assert stream.write(memoryview(b"out")) == 3
    assert os.read(far_read, 10) == b"out"
    descriptors.close(far_read)
    with pytest.raises(StreamClosed):
        stream.write(memoryview(b"out"))
    stream.close_write()
    stream.close_write()
    with pytest.raises(StreamClosed, match="closed for writing"):
        stream.write(memoryview(b"out"))
    assert stream.interrupt()
    descriptors.close(far_write)
    assert stream.read() == b""
    assert stream.read() == b""
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("closed", ["<&-", ">&-"])
def test_a_closed_line_is_explained(closed: str) -> None:
    """A plugin whose stdin or stdout is closed says so, and ends with an error."""
    done = subprocess.run(["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, PROGRAM], cwd=ROOT, check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=SECONDS)
    assert done.returncode == 1
    assert "stdin or stdout is closed" in done.stderr.decode()


def test_serves_without_stderr() -> None:
    """A plugin whose stderr is closed serves; what it prints goes nowhere, least of all to the host."""
    program = PROGRAM.replace("plugin.run()", "plugin.method('print')(lambda params: print('noise'))\nplugin.run()")
    body = b'{"jsonrpc":"2.0","id":1,"method":"print"}'
    done = subprocess.run(["sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, program], cwd=ROOT, check=False,
                          input=b"Content-Length: %d\r\n\r\n%s" % (len(body), body), stdout=subprocess.PIPE,
                          timeout=SECONDS)
    assert done.returncode == 0
    assert done.stdout == b'Content-Length: 38\r\n\r\n{"jsonrpc":"2.0","id":1,"result":null}'
