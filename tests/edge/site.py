"""The servers that are probed: each runs the same application with the same lying plugin, in a process of its own."""
from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Tuple

import pytest

from tests.edge.probe import SECONDS, Probe

PROGRAMS = Path(__file__).parent / "programs"
ROOT = Path(__file__).resolve().parents[2]
_tick = threading.Event()  # never set

#: Bytes of a request body that the plugins take.
MAX_BODY = 300_000
#: The header fields that the plugins get.
FORWARDED = {"accept", "content-type", "cookie", "range", "x-secret", "accept-language"}
#: Bytes of a frame, and so of an answer, that the plugins may send.
MAX_FRAME = 1_000_000


def _gunicorn(port: str, app: str) -> List[str]:
    return ["-m", "gunicorn", "--worker-class", "gthread", "--threads", "8", "--workers", "1", "--keep-alive", "3",
            "--bind", f"127.0.0.1:{port}", "--log-level", "warning", "--forwarded-allow-ips", "192.0.2.1", app]


def _waitress(port: str, app: str) -> List[str]:
    return ["-m", "waitress", "--host", "127.0.0.1", "--port", port, "--threads", "8",
            "--channel-request-lookahead", "5", app]


def _werkzeug(port: str, app: str) -> List[str]:
    return ["-m", "flask", "--app", app, "run", "--port", port, "--with-threads", "--no-reload", "--no-debugger"]


def _uwsgi(port: str, app: str, listener: str = "--http-socket") -> List[str]:
    return ["-c", "import sys, pyuwsgi; pyuwsgi.run(sys.argv[1:])", listener, f"127.0.0.1:{port}", "--module", app,
            "--master", "--need-app", "--enable-threads", "--threads", "8", "--die-on-term"]


def _uwsgi_router(port: str, app: str) -> List[str]:
    return [*_uwsgi(port, app, "--http"), "--http-keepalive=1"]


#: By name: the modules that must be installed, the arguments for Python, and the application.
SERVERS: Mapping[str, Tuple[Tuple[str, ...], Callable[[str, str], List[str]], str]] = {
    "gunicorn": (("gunicorn", "flask"), _gunicorn, "flask_site:app"),
    "waitress": (("waitress", "flask"), _waitress, "flask_site:app"),
    "werkzeug": (("flask",), _werkzeug, "flask_site:app"), "uwsgi": (("pyuwsgi", "flask"), _uwsgi, "flask_site:app"),
    "uwsgi-router": (("pyuwsgi", "flask"), _uwsgi_router, "flask_site:app"),
    "django": (("gunicorn", "django"), _gunicorn, "django_site:app"),
}
#: Those that show whether a client has gone. uWSGI's own HTTP router does not tell its workers.
SHOWING = [name for name in SERVERS if name != "uwsgi-router"]


def eventually(condition: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
    """Wait for a true value of something that nobody announces, and return it."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        _tick.wait(0.01)


class Site:
    """One running server. `folder`: where its plugins' table and notes and its own stderr are."""

    def __init__(self, name: str, folder: Path, cases: Mapping[str, str]) -> None:
        modules, command, app = SERVERS[name]
        for module in modules:
            if importlib.util.find_spec(module) is None:
                pytest.skip(f"needs the package {module}")
        self.name = name
        self.folder = folder
        self.files = folder / "files"
        self.files.mkdir()
        self.port = _free_port()
        self._notes: List[Dict[str, Any]] = []
        self._read = 0  # bytes of the file that `_notes` has
        (folder / "cases.json").write_text(json.dumps(cases), "utf-8")
        (folder / "plugins.json").write_text(json.dumps(self._config()), "utf-8")
        environ = {**os.environ, "EDGE_FOLDER": str(folder),
                   "PYTHONPATH": os.pathsep.join((str(PROGRAMS), str(ROOT)))}
        with open(folder / "stderr", "wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, *command(str(self.port), app)], cwd=folder, stdin=subprocess.DEVNULL, stdout=stderr,
                stderr=stderr, start_new_session=True, env=environ)
        try:
            eventually(self._answers, f"{name} serves; it wrote {self.stderr()[-2000:]}")
        except BaseException:
            self.stop()
            raise

    def stderr(self) -> str:
        """All that the server wrote."""
        return (self.folder / "stderr").read_text("utf-8", "replace")

    def notes(self) -> List[Dict[str, Any]]:
        """What its plugins got, oldest first."""
        try:
            with open(self.folder / "notes", "rb") as file:
                file.seek(self._read)
                *lines, _ = file.read().split(b"\n")
        except FileNotFoundError:
            return []
        self._read += sum(len(line) + 1 for line in lines)
        self._notes += map(json.loads, lines)
        return self._notes

    def noted(self, request_id: str) -> List[Dict[str, Any]]:
        """The requests with this id that reached a plugin."""
        return [note for note in self.notes() if note.get("requestId") == request_id]

    def cancelled(self, request_id: str) -> bool:
        """Whether the plugin was told that a request was given up."""
        return any(note.get("cancelled") == request_id for note in self.notes())

    def stop(self) -> None:
        """End the server and whatever it started."""
        self._process.terminate()
        try:
            self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(SECONDS)

    def _config(self) -> Dict[str, Any]:
        liar = {"name": "liar", "command": "python", "rpcTimeoutMs": 60_000, "handshakeTimeoutMs": 20_000,
                "args": ["-S", "-E", str(PROGRAMS / "liar.py"), str(self.folder / "cases.json"),
                         str(self.folder / "notes")],
                "faults": {"limit": 10_000}, "limits": {"maxFrameBytes": MAX_FRAME},
                "http": {"publicRoutes": ["*"], "forwardHeaders": sorted(FORWARDED), "maxBodyBytes": MAX_BODY,
                         "maxConcurrency": 4, "fileRoots": [str(self.files)]}}
        breaker = {**liar, "name": "breaker", "restart": {"backoffMs": 10, "strategy": "linear", "maxRetries": 50}}
        hasty = {**liar, "name": "hasty", "rpcTimeoutMs": 300}
        return {"trust": {"directories": [str(PROGRAMS)], "commands": ["python"], "permissions": "off"},
                "plugins": [liar, breaker, hasty]}

    def _answers(self) -> bool:
        assert self._process.poll() is None, f"{self.name} ended: {self.stderr()[-2000:]}"
        try:
            with Probe(self.port) as probe:
                probe.send(b"GET /plain HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                answer = probe.answer()
                return answer is not None and answer.status == 200
        except OSError:
            return False


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
