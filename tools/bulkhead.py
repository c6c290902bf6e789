"""Measures what a slow plugin costs the rest of an application: `python tools/bulkhead.py`.

One gunicorn worker (gthread, 8 threads) serves an ordinary view and two plugins that take a second for each request:
one with the default of four places (`http.maxConcurrency`), one with places for everybody. 64 clients ask for the
plugin as often as they are let: they wait as long as Retry-After says, and up to a second more. One client asks for
the view meanwhile. Idle and loaded phases take turns, so that whatever else the machine does meets both.

Prints the view's latency idle, under load, and under load without the limit, and what the 64 clients got. Exits with 1
where the view's p99 under load is twice its idle value or more, or a refusal came without Retry-After. The clients are
a process of their own. Needs gunicorn and Flask.
"""
from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

ROOT = Path(__file__).resolve().parents[1]
PLACES = 4
_PATIENCE = 60.0

APPLICATION = '''
import os, time
from flask import Flask
from legacy_plugins.integrations.flask import LegacyPlugins

app = Flask(__name__)
LegacyPlugins(app, config=os.path.join(os.path.dirname(__file__), "plugins.json"))

@app.route("/view/<int:milliseconds>")
def view(milliseconds):
    """An ordinary view that waits for its database."""
    time.sleep(milliseconds / 1000)
    return {"view": milliseconds}
'''

PLUGIN = '''
import sys, time
from legacy_plugins.sdk import Plugin

plugin = Plugin("slow", version="1.0", max_workers=64)

@plugin.route("/slow", methods=["GET"])
def slow(request):
    time.sleep(float(sys.argv[1]))
    return "slow"

plugin.run()
'''


class Phase(NamedTuple):
    """Latencies of the view in milliseconds, sorted; and the clients' answers by status."""

    latencies: List[float]
    answers: Dict[str, int]

    def quantile(self, share: float) -> float:
        """The latency that so large a share of the requests kept."""
        return self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


def pooled(phases: List[Phase]) -> Phase:
    """All phases of a kind as one."""
    answers: Dict[str, int] = {}
    for phase in phases:
        for kind, count in phase.answers.items():
            answers[kind] = answers.get(kind, 0) + count
    return Phase(sorted(value for phase in phases for value in phase.latencies), answers)


# ---- the clients, in a process of their own


def crowd(port: int, clients: int) -> None:
    """Obey lines on stdin: `start PLUGIN` and `stop`, which prints the answers by kind as JSON."""
    running = threading.Event()
    counts: Dict[str, int] = {}
    lock = threading.Lock()  # guards counts
    path = [""]
    for _ in range(clients):
        threading.Thread(target=_client, args=(port, path, running, counts, lock), daemon=True).start()
    for line in sys.stdin:
        command, *words = line.split()
        if command == "start":
            path[0] = f"/api/plugins/{words[0]}/slow"
            running.set()
        else:
            running.clear()
            with lock:
                print(json.dumps(counts), flush=True)
                counts.clear()


def _client(port: int, path: List[str], running: threading.Event, counts: Dict[str, int], lock: threading.Lock) -> None:
    while True:
        running.wait()
        time.sleep(random.random())  # noqa: S311 - people do not come in step
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
        pause = 0.0
        while running.is_set():
            try:
                kind, pause = _ask(connection, path[0])
            except (OSError, http.client.HTTPException) as error:
                kind, pause = type(error).__name__, 1.0
                connection.close()
            with lock:
                counts[kind] = counts.get(kind, 0) + 1
            time.sleep(pause * (1 + random.random()))  # noqa: S311
        connection.close()


def _ask(connection: http.client.HTTPConnection, path: str) -> Tuple[str, float]:
    """What came of one request, and the seconds to wait before the next."""
    connection.request("GET", path)
    response = connection.getresponse()
    response.read()
    retry = response.getheader("Retry-After")
    if response.status == 200:
        return "200", 0.0
    return f"{response.status} {'with' if retry else 'without'} Retry-After", float(retry or 1)


# ---- the measurement


class Measurement:
    """The server, the clients, and the phases."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.options = options
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port: int = listener.getsockname()[1]
        _write(folder, options)
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT)))}
        self._server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--worker-class", "gthread", "--threads", str(options.threads),
             "--bind", f"127.0.0.1:{self.port}", "--log-level", "warning", "application:app"], cwd=folder, env=environ)
        self._crowd = subprocess.Popen([sys.executable, __file__, "crowd", str(self.port), str(options.clients)],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ready(self) -> None:
        """Wait for the server and both plugins."""
        end = time.monotonic() + _PATIENCE
        for plugin in ("bounded", "unbounded"):
            while True:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE)
                try:
                    if _ask(connection, f"/api/plugins/{plugin}/slow")[0] == "200":
                        break
                except OSError:
                    pass
                finally:
                    connection.close()
                if time.monotonic() > end:
                    raise SystemExit(f"no answer from the plugin {plugin!r}")
                time.sleep(0.1)

    def idle(self) -> Phase:
        """The view alone."""
        return Phase(self._latencies(), {})

    def loaded(self, plugin: str) -> Phase:
        """The view while the clients ask for a plugin."""
        self._tell(f"start {plugin}")
        time.sleep(2.0)  # all have come by then
        latencies = self._latencies()
        self._tell("stop")
        assert self._crowd.stdout is not None
        answers: Dict[str, int] = json.loads(self._crowd.stdout.readline())
        time.sleep(self.options.slow + 0.5)  # those inside have left by then
        return Phase(latencies, answers)

    def close(self) -> None:
        """Stop everything."""
        for process in (self._crowd, self._server):
            process.terminate()
            process.wait(_PATIENCE)

    def _latencies(self) -> List[float]:
        latencies = []
        end = time.monotonic() + self.options.seconds
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE)
        while time.monotonic() < end:
            started = time.perf_counter()
            connection.request("GET", f"/view/{self.options.view}")
            connection.getresponse().read()
            latencies.append(1000 * (time.perf_counter() - started))
            time.sleep(0.002)
        connection.close()
        return sorted(latencies)

    def _tell(self, line: str) -> None:
        assert self._crowd.stdin is not None
        self._crowd.stdin.write(line + "\n")
        self._crowd.stdin.flush()


def _write(folder: Path, options: argparse.Namespace) -> None:
    """The application, its plugin and their configuration."""
    plugins = folder / "plugins"
    plugins.mkdir()
    (folder / "application.py").write_text(APPLICATION, "utf-8")
    (plugins / "slow.py").write_text(PLUGIN, "utf-8")
    (folder / "plugins.json").write_text(json.dumps({
        "trust": {"directories": ["plugins"], "commands": ["python"], "permissions": "off"},
        "defaults": {"env": {"PYTHONPATH": str(ROOT)}, "rpcTimeoutMs": 30_000, "handshakeTimeoutMs": 30_000},
        "plugins": [{"name": name, "command": "python", "args": ["./plugins/slow.py", str(options.slow)],
                     "http": {"publicRoutes": ["*"], "maxConcurrency": places}}
                    for name, places in (("bounded", PLACES), ("unbounded", options.clients))]}), "utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What a slow plugin costs the rest of an application.")
    parser.add_argument("--rounds", type=int, default=5, help="idle and loaded phases each (5)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of measuring in each phase (4)")
    parser.add_argument("--clients", type=int, default=64, help="that ask for the slow plugin (64)")
    parser.add_argument("--threads", type=int, default=8, help="of the server (8)")
    parser.add_argument("--slow", type=float, default=1.0, help="seconds that the plugin takes (1)")
    parser.add_argument("--view", type=int, default=10, help="milliseconds that the view waits (10)")
    return parser.parse_args()


def _line(name: str, phase: Phase) -> None:
    print(f"{name:22} {phase.quantile(0.5):8.1f} {phase.quantile(0.9):8.1f} {phase.quantile(0.99):8.1f} "
          f"{phase.latencies[-1]:8.1f} {len(phase.latencies):7}  "
          f"{', '.join(f'{count} x {kind}' for kind, count in sorted(phase.answers.items()))}", flush=True)


def measure(options: argparse.Namespace) -> int:
    """Measure, print, and judge; the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        measurement = Measurement(Path(folder), options)
        try:
            measurement.ready()
            print(f"{options.clients} clients, {options.threads} threads, a plugin that takes {options.slow:g} s, a "
                  f"view that waits {options.view} ms\n{'view, ms':22} {'p50':>8} {'p90':>8} {'p99':>8} {'max':>8} "
                  f"{'number':>7}  the clients' answers")
            idle, loaded = [], []
            for number in range(options.rounds):
                idle.append(measurement.idle())
                _line(f"idle {number + 1}", idle[-1])
                loaded.append(measurement.loaded("bounded"))
                _line(f"loaded {number + 1}", loaded[-1])
            _line("loaded without limit", measurement.loaded("unbounded"))
        finally:
            measurement.close()
    before, after = pooled(idle), pooled(loaded)
    _line("idle, all", before)
    _line("loaded, all", after)
    ratio = after.quantile(0.99) / before.quantile(0.99)
    print(f"p99 under load is {ratio:.2f} times its idle value")
    fine = ratio < 2 and set(after.answers) == {"200", "503 with Retry-After"}
    return 0 if fine else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["crowd"]:
        crowd(int(sys.argv[2]), int(sys.argv[3]))
    else:
        sys.exit(measure(_arguments()))
