"""A program that does on command what programs do: answer, late or twice or never, flood, die, refuse to die.

Each function is a method; `request_id` is None for a notification. Run with `python -S -E`, for a quick start.
"""
from __future__ import annotations

import heapq
import os
import signal
import sys
import threading
import time
from typing import Any, Callable, Dict, List, Tuple

import wire

RESUME = signal.SIGUSR1
after_eof: List[Callable[[], Any]] = []
asked: Dict[str, Any] = {}  # id of our request -> id of the request that made us ask
seen: List[str] = []  # the methods of the notifications that came


def echo(request_id: Any, params: Any) -> None:
    """Answer with the params."""
    wire.answer(request_id, params)


def report(request_id: Any, params: Any) -> None:
    """Answer with the notifications that came so far."""
    wire.answer(request_id, seen)


def refuse(request_id: Any, params: Any) -> None:
    """Answer with the error given."""
    wire.write(id=request_id, error=params)


def silent(request_id: Any, params: Any) -> None:
    """Never answer."""


def twice(request_id: Any, params: Any) -> None:
    """Answer two times."""
    wire.answer(request_id, "first")
    wire.answer(request_id, "second")


def send_raw(request_id: Any, params: Any) -> None:
    """Write each text as it is, Latin-1; `%ID%` becomes the request's id."""
    for text in params:
        wire.raw(text.replace("%ID%", str(request_id)).encode("latin-1"))


def send_bodies(request_id: Any, params: Any) -> None:
    """Frame and write each text, then answer with their number."""
    for text in params:
        wire.raw(wire.frame(text.replace("%ID%", str(request_id)).encode("utf-8")))
    wire.answer(request_id, len(params))


def notify(request_id: Any, params: Any) -> None:
    """Send `count` notifications of `method`, numbered, then answer."""
    one = [wire.frame(b'{"jsonrpc":"2.0","method":"%s","params":[%d]}' % (params["method"].encode(), number))
           for number in range(params["count"])]
    wire.raw(b"".join(one))
    if request_id is not None:
        wire.answer(request_id, params["count"])


def progress(request_id: Any, params: Any) -> None:
    """Send each value as progress of this request, then answer."""
    for value in params:
        wire.write(method="$/progress", params={"id": request_id, "value": value})
    wire.answer(request_id, "done")


def ask(request_id: Any, params: Any) -> None:
    """Call the host's method with the params, and answer with its answer."""
    asked[f"ask-{request_id}"] = request_id
    wire.write(id=f"ask-{request_id}", **params)


def log(request_id: Any, params: Any) -> None:
    """Write a text to stderr, then answer."""
    sys.stderr.write(*params)
    sys.stderr.flush()
    wire.answer(request_id, None)


def die(request_id: Any, params: Any) -> None:
    """Exit with `code` after writing `stderr`; `answer`: with an answer of so many bytes as last words."""
    sys.stderr.write(params.get("stderr", ""))
    sys.stderr.flush()
    if "answer" in params:
        wire.answer(request_id, "x" * params["answer"])
    os._exit(params["code"])


def die_of(request_id: Any, params: Any) -> None:
    """Die of a signal."""
    os.kill(os.getpid(), *params)
    threading.Event().wait()


def hang(request_id: Any, params: Any) -> None:
    """Answer, and read no more until SIGUSR1 comes."""
    wire.answer(request_id, os.getpid())
    signal.sigwait({RESUME})


def stay(request_id: Any, params: Any) -> None:
    """From now on ignore EOF, and SIGTERM too if `params[0]` says so."""
    if params[0]:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    after_eof.append(threading.Event().wait)
    wire.answer(request_id, os.getpid())


def grandchild(request_id: Any, params: Any) -> None:
    """Start a process that holds all pipes, in a session of its own if `params[0]` says so; answer with its pid."""
    pid = os.fork()
    if not pid:
        if params[0]:
            os.setsid()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {RESUME})
        threading.Event().wait()
    wire.answer(request_id, pid)


def close_stdout(request_id: Any, params: Any) -> None:
    """Close stdout and live on."""
    os.close(1)


def close_stdin(request_id: Any, params: Any) -> None:
    """Close stdin, answer, and live on."""
    os.close(0)
    wire.answer(request_id, os.getpid())
    threading.Event().wait()


def environment(request_id: Any, params: Any) -> None:
    """Answer with what this process inherited: arguments, directory, environment, descriptors, session, mask."""
    fds = sorted(int(fd) for fd in os.listdir("/proc/self/fd"))
    wire.answer(request_id, {
        "argv": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ), "leader": os.getsid(0) == os.getpid(),
        "fds": [fd for fd in fds if os.path.exists(f"/proc/self/fd/{fd}")],
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []) - {RESUME})})


class Later:
    """Answers that are due at their time, from a thread of its own."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: List[Tuple[float, int, Any]] = []

    def add(self, request_id: Any, params: Any) -> None:
        """Answer with `value` after `seconds`."""
        with self._changed:
            if not self._due and not hasattr(self, "thread"):
                self.thread = threading.Thread(target=self._run, daemon=True)
                self.thread.start()
            heapq.heappush(self._due, (time.monotonic() + params["seconds"], request_id, params["value"]))
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._due or self._due[0][0] > time.monotonic():
                    self._changed.wait(self._due[0][0] - time.monotonic() if self._due else None)
                _, request_id, value = heapq.heappop(self._due)
            wire.answer(request_id, value)


METHODS: Dict[str, Callable[[Any, Any], Any]] = {
    function.__name__: function
    for function in (echo, report, refuse, silent, twice, send_raw, send_bodies, notify, progress, ask, log, die,
                     die_of, hang, stay, grandchild, close_stdout, close_stdin, environment)}
METHODS["delay"] = Later().add


def main() -> None:
    """Serve until stdin ends."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {RESUME})
    while True:
        message = wire.read()
        if message is None:
            break
        if "method" not in message:
            wire.answer(asked.pop(message["id"]), {key: message[key] for key in ("result", "error") if key in message})
        elif message["method"] in METHODS:
            METHODS[message["method"]](message.get("id"), message.get("params"))
        elif "id" in message:
            wire.write(id=message["id"], error={"code": -32601, "message": f"unknown method {message['method']!r}"})
        else:
            seen.append(message["method"])
    for wait in after_eof:
        wait()


main()
