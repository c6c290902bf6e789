"""A real server in a folder and a session of its own, and who belongs to it.

One file for each family of servers has a subclass (`gunicorn.py` is the model): it says the command, and how workers
are told. Everything else is here: the application's folder, the start, requests, workers, plugins, guards, orphans,
the stop. No test framework; whatever fails raises `AssertionError` with the end of the server's log.
"""
from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, TypeVar

from tests.servers.client import Answer, ask
from tests.servers.processes import MARK_VARIABLE, Process, below, look, wait_for

_S = TypeVar("_S", bound="Server")

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).parent / "programs"
#: The plugins of the application, each one process in each worker.
PLUGINS = ("plain", "deaf")
#: How long a start or an orderly end may take on a busy machine, in seconds.
PATIENCE = 60.0


def free_port() -> int:
    """A port that nobody listens on now, from below those that the system gives to clients in the meantime."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def configuration(mark: str) -> Dict[str, Any]:
    """The plugins' configuration, in the folder where they lie. Their environment carries the server's mark."""
    return {
        "trust": {"directories": ["plugins"], "commands": [sys.executable], "permissions": "off"},
        "exitTimeoutMs": 3000,
        "defaults": {"env": {MARK_VARIABLE: mark, "PYTHONPATH": str(ROOT)}, "handshakeTimeoutMs": 20000,
                     "shutdownTimeoutMs": 500, "http": {"publicRoutes": ["*"], "maxConcurrency": 64},
                     "rpcTimeoutMs": 10000, "restart": {"backoffMs": 100, "jitter": 0}},
        "plugins": [{"name": name, "command": sys.executable, "args": [f"./plugins/{name}.py"]} for name in PLUGINS],
    }


def _are_gone(processes: Sequence[Process]) -> bool:
    alive = {process.identity for process in look().values()}
    return not any(process.identity in alive for process in processes)


class Server:
    """One server: `with Server(folder, mode, workers=2) as server: server.get("/call")`.

    `folder`: an empty folder that only this server uses. `mode`: one of the subclass's `modes`. `settings`: what the
    subclass's command understands (`timeout`, `max_requests`, ...). `eager`: the application uses a plugin at import.
    """

    #: The family's name in the table.
    name = ""
    #: The modes that a row of the table may have.
    modes: Tuple[str, ...] = ()

    def __init__(self, folder: Path, mode: str, *, workers: int = 1, eager: bool = False, **settings: Any) -> None:
        assert mode in self.modes, f"{self.name} has no mode {mode!r}"
        self.folder, self.mode, self.worker_count, self.settings = folder, mode, workers, settings
        self.mark = secrets.token_hex(8)
        self.port = free_port()
        self.environment: Dict[str, str] = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"},
            MARK_VARIABLE: self.mark, "SERVED_PLUGINS": str(folder / "plugins.json"), "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT))), "PYTHONDONTWRITEBYTECODE": "1"}
        if eager:
            self.environment["SERVED_EAGER"] = "1"
        self.process: Optional[subprocess.Popen[bytes]] = None
        self._hosts: Dict[str, Tuple[int, int]] = {}  # token -> the host process that it belongs to

    # What a family says.

    def prepare(self) -> None:
        """Write what the server needs into `folder`, beside the application."""

    def command(self) -> Sequence[str]:
        """The argument vector. The working folder is `folder`, where `served:app` can be imported."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Whether the server serves. Asked until it is so; must not use a plugin."""
        return self.get("/", 5).outcome == "ok"

    def worker_pids(self, table: Mapping[int, Process]) -> List[int]:
        """The processes that serve requests: by default the main process's children that are no plugins."""
        return [process.pid for process in table.values()
                if process.parent == self.pid and process.token is None and process.mark == self.mark]

    # Life.

    def __enter__(self: _S) -> _S:
        try:
            self.start()
        except BaseException:
            self.destroy()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.destroy()

    def start(self) -> None:
        """Start it and wait until it serves."""
        (self.folder / "plugins").mkdir(parents=True, exist_ok=True)
        for name in PLUGINS:
            shutil.copy(str(PROGRAMS / f"{name}.py"), str(self.folder / "plugins"))
        shutil.copy(str(PROGRAMS / "served.py"), str(self.folder))
        (self.folder / "plugins.json").write_text(json.dumps(configuration(self.mark)), "utf-8")
        self.prepare()
        with open(str(self.log_path), "wb") as log:
            self.process = subprocess.Popen(
                list(self.command()), cwd=str(self.folder), env=self.environment, stdin=subprocess.DEVNULL,
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        self.wait(lambda: self.exit_code is not None or self.is_ready(), "it serves")
        assert self.exit_code is None, f"{self} ended with {self.exit_code}:\n{self.log()}"

    @property
    def pid(self) -> int:
        """The main process."""
        assert self.process is not None
        return self.process.pid

    @property
    def exit_code(self) -> Optional[int]:
        """The main process's, None while it runs."""
        assert self.process is not None
        return self.process.poll()

    def signal(self, number: int, pid: Optional[int] = None) -> None:
        """Send a signal to the main process, or to one that belongs to this server."""
        os.kill(self.pid if pid is None else pid, number)

    def wait_end(self, seconds: float = PATIENCE) -> bool:
        """Wait for the main process's end; whether it came."""
        assert self.process is not None
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def destroy(self) -> None:
        """Kill whatever is left of it. A test that looks at the end waits for that end before."""
        if self.process is None:
            return
        self.process.kill() if self.process.poll() is None else None
        self.process.wait()
        for _ in range(100):  # what forks while it is killed is caught in the next round
            left = [process for process in self.all() if not process.guard]  # guards end by themselves
            if not left:
                break
            for process in left:
                try:
                    os.kill(process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            wait_for(partial(_are_gone, left), "killed processes end", PATIENCE)

    # Requests and log.

    def get(self, path: str, seconds: float = 20.0) -> Answer:
        """One request."""
        return ask(self.port, path, seconds)

    @property
    def log_path(self) -> Path:
        """Where stdout and stderr of the server go."""
        return self.folder / "server.log"

    def log(self, last: int = 30) -> str:
        """The last lines of the log."""
        return "\n".join(self.log_path.read_text("utf-8", "replace").splitlines()[-last:])

    def wait(self, check: Any, what: str, seconds: float = PATIENCE) -> Any:
        """Wait until something is so; its value. What fails shows the log."""
        try:
            return wait_for(check, f"{self}: {what}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()}") from None

    def __repr__(self) -> str:
        return f"{self.name} {self.mode}"

    # Who belongs to it.

    def all(self) -> List[Process]:
        """Everything that belongs to this server: main, workers, plugins, what these started, guards."""
        table = look()
        self._learn(table)
        mine = below(table, [self.pid])
        return [process for process in table.values()
                if process.mark == self.mark or process.pid in mine
                or (process.token is not None and process.token in self._hosts)]

    def _learn(self, table: Mapping[int, Process]) -> None:
        """Remember whose token is whose: plugins and guards are their host's children for as long as it lives."""
        for process in table.values():
            parent = table.get(process.parent)
            if process.token is not None and parent is not None and parent.token is None and parent.mark == self.mark:
                self._hosts.setdefault(process.token, parent.identity)

    def workers(self) -> List[int]:
        """The pids of the processes that serve requests now."""
        return sorted(self.worker_pids(look()))

    def plugins(self, host: int) -> List[Process]:
        """The plugin processes that process `host` started and that run."""
        return [process for process in self.all()
                if process.parent == host and process.token is not None and not process.guard]

    def guards(self, host: int) -> List[Process]:
        """The guards of process `host`."""
        return [process for process in look().values() if process.parent == host and process.guard]

    def orphans(self) -> List[Process]:
        """Plugins, what they started, and guards whose host process is gone."""
        everything = self.all()
        alive = {process.identity for process in everything}
        return [process for process in everything
                if process.token is not None and self._hosts.get(process.token) not in alive]
