"""Celery: a pool of forked children, with a Redis of its own for broker.

With brokers that Celery cannot watch (memory, file system) the children share queues, whose locks a killed child keeps:
the pool then stands still, with plugins or without.

The scenarios speak HTTP. A gateway, in the process that runs them, makes a task of each request and an answer of its
result; it belongs to the measuring, not to what is measured.
"""
from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple
from urllib.parse import parse_qsl, urlsplit

from legacy_plugins.errors import PluginError
from legacy_plugins.http.problems import problem_of
from tests.servers.cells import Cell, Family, Figures, Scenario, count
from tests.servers.processes import wait_for
from tests.servers.scenarios import (
    end,
    first_request,
    four_workers,
    in_parent,
    main_killed,
    plugin_crash,
    recycled,
    reloaded,
    stopped,
    timed_out,
    titled,
    worker_kill,
)
from tests.servers.server import PATIENCE, PLUGINS, PROGRAMS, Server

#: A task without a result hangs; the client of the gateway has given up by then.
_RESULT_SECONDS = 30.0
#: How long a result may take that was on its way when the worker ended.
_LAST_RESULT_SECONDS = 0.5
#: What Celery says of a task whose child is gone.
_CUT = ("WorkerLostError", "TimeLimitExceeded", "Terminated")


class CeleryWorker(Server):
    """`mode`: the pool, and `+signals` with the receivers of `integrations.celery`. Settings: options of the worker."""

    name = "Celery"
    modes = ("prefork", "prefork+signals")

    def __init__(self, folder: Path, mode: str, **settings: Any) -> None:
        super().__init__(folder, mode, **settings)
        self._broker: Optional[subprocess.Popen[bytes]] = None
        self._gateway: Optional[_Gateway] = None

    def prepare(self) -> None:
        """Put the application there, and start broker and gateway."""
        (self.folder / "tasks.py").write_bytes((PROGRAMS / "tasks.py").read_bytes())
        socket = self.folder / "redis.sock"
        self._broker = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "",
                                         "--dir", str(self.folder)], stdout=subprocess.DEVNULL)
        wait_for(socket.exists, "redis-server listens", PATIENCE)
        self.environment["SERVED_REDIS"] = f"redis+socket://{socket}"
        if self.mode.endswith("+signals"):
            self.environment["SERVED_SIGNALS"] = "1"
        self._gateway = _Gateway(self)

    def command(self) -> Sequence[str]:
        """`celery worker`."""
        options = [f"--{name.replace('_', '-')}={value}" for name, value in self.settings.items()]
        program = os.path.join(os.path.dirname(sys.executable), "celery")  # what a reload executes again
        return [program, "--app=tasks", "worker", "--pool=prefork", "--loglevel=INFO",
                f"--concurrency={self.worker_count}", "--without-gossip", "--without-mingle", *options]

    def is_ready(self) -> bool:
        """Whether it takes tasks."""
        return " ready." in self.log()

    def destroy(self) -> None:
        """Kill whatever is left of it, and end the gateway."""
        super().destroy()
        if self._gateway is not None:
            self._gateway.close()
        if self._broker is not None:
            self._broker.kill()
            self._broker.wait()


class _Gateway:
    """HTTP in, tasks out."""

    def __init__(self, server: CeleryWorker) -> None:
        celery: Any = importlib.import_module("celery")
        self._server = server
        self._closing = threading.Event()
        url = server.environment["SERVED_REDIS"]
        self._app = celery.Celery(broker=url, backend=url, set_as_current=False)
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            """One request, one task."""

            def do_GET(self) -> None:
                """Send the task, and its result."""
                status, body = gateway.run(self.path)
                if status:
                    self.send_response(status)
                    if status == 503:
                        self.send_header("Retry-After", "1")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Not here."""

        self._http = ThreadingHTTPServer(("127.0.0.1", server.port), Handler)
        self._http.daemon_threads = False  # `close` waits for them, since they need the broker
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def run(self, path: str) -> Tuple[int, bytes]:
        """Status and body; status 0 where the child or the worker ended under the task."""
        url = urlsplit(path)
        name = {"": "index", "api/plugins/deaf/hello": "call"}.get(url.path.strip("/"), url.path.strip("/"))
        result = self._app.send_task(name, kwargs=dict(parse_qsl(url.query)))
        result.backend = None  # else it asks the broker once more when it is collected, and that may have ended
        end = time.monotonic() + _RESULT_SECONDS
        while time.monotonic() < end and not self._closing.wait(0.02):
            meta = self._app.backend.get_task_meta(result.id)
            if meta["status"] in ("SUCCESS", "FAILURE"):
                return self._answer(meta)
            if self._server.process is not None and self._server.exit_code is not None:
                end = min(end, time.monotonic() + _LAST_RESULT_SECONDS)
        return 0, b""

    @staticmethod
    def _answer(meta: Dict[str, Any]) -> Tuple[int, bytes]:
        if meta["status"] == "SUCCESS":
            return 200, json.dumps(meta["result"]).encode()
        error = meta["result"]
        if type(error).__name__ in _CUT:
            return 0, b""
        if not isinstance(error, PluginError):
            return 500, repr(error).encode()
        problem = problem_of(error)
        return problem.status, problem.detail.encode()

    def close(self) -> None:
        """Answer no more."""
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()


@titled("first request")
def warm_request(cell: Cell, figures: Figures) -> None:
    """The plugins are there before the first task."""
    with cell.server() as server:
        server.wait(lambda: len(server.plugins(server.workers()[0])) == len(PLUGINS), "the plugins run")
        before = {process.pid for process in server.plugins(server.workers()[0])}
        answer = server.get("/call")
        figures.answered(answer)
        figures.expect({answer.json()["plain"], answer.json()["deaf"]} == before, "they are not those that were there")
        count(server, figures)
        in_parent(server, figures)
        end(cell, server, figures)


def scenarios(mode: str) -> List[Scenario]:
    """What is done to Celery. SIGTERM is the warm shutdown, SIGQUIT the cold one, which cuts tasks off."""
    first = [warm_request] if mode.endswith("+signals") else [first_request, four_workers]
    return [*first, plugin_crash, worker_kill, timed_out(time_limit=2), recycled(max_tasks_per_child=10),
            reloaded(signal.SIGHUP), stopped("graceful stop", signal.SIGTERM),
            stopped("quick stop", signal.SIGQUIT, "cut"), main_killed()]


FAMILY = Family(CeleryWorker, scenarios, needs=("celery", "redis", "redis-server"), tested=(
    ("prefork", "first request"), ("prefork", "4 workers"), ("prefork", "worker SIGKILL"),
    ("prefork", "worker time-out"), ("prefork", "recycling"), ("prefork", "quick stop"), ("prefork", "main SIGKILL"),
    ("prefork+signals", "plugin crash"), ("prefork+signals", "reload"), ("prefork+signals", "graceful stop"),
))
