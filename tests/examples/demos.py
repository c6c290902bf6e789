"""A demo as its reader starts it, and a client that stays with one of its worker processes.

Each worker has plugins of its own, so what a request changes in a plugin is seen by the same worker alone. The server
keeps a connection with the worker that accepted it: a `Conversation` is one connection, and fails where it would need
another.
"""
from __future__ import annotations

import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set, Tuple, Type, TypeVar

from tests.examples.wire import ROOT

SECONDS = 60.0
T = TypeVar("T")

class Answer(NamedTuple):
    """A status, the header fields by their names in lower case, and the body."""

    status: int
    headers: Dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


def wait_for(what: str, check: Callable[[], T]) -> T:
    """The first true value of `check`, which asks another process: that sends no news."""
    deadline = time.monotonic() + SECONDS
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < deadline, f"after {SECONDS:.0f} s still not: {what}"
        select.select([], [], [], 0.05)


class Conversation:
    """One connection to one worker process."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        self._connection.connect()
        self._connection.auto_open = 0  # a second connection may be another worker's

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self._connection.close()

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request. `body`: text is sent as a form, bytes as they are, all else as JSON; `headers`: `x_y` is X-Y."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, str):
            fields.setdefault("Content-Type", "application/x-www-form-urlencoded")
        elif body is not None:
            fields.setdefault("Content-Type", "application/json")
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        self._connection.request(method, path, body, fields)
        answer = self._connection.getresponse()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, named, answer.read())


class Demo:
    """A demo with its data in a folder of its own; started by `with`, ended by Ctrl-C."""

    def __init__(self, application: str, workers: int, instance: Path) -> None:
        self.application = application
        self.workers = workers
        self.instance = instance.resolve()
        self.port = _free_port()
        self.exit_code: Optional[int] = None
        self._log = instance.parent / f"{instance.name}.log"
        self._process: Optional[subprocess.Popen[bytes]] = None

    def __enter__(self) -> Demo:
        environment = dict(os.environ, PYTHONUNBUFFERED="1", GUNICORN_CMD_ARGS=f"--keep-alive {SECONDS:.0f}")
        environment.update(SYNC_ROOTS="", BACKUP_ROOT=str(self.instance / "backups"))
        command = [sys.executable, "-m", "examples.sync_service.demo", self.application, "--port", str(self.port),
                   "--workers", str(self.workers), "--instance", str(self.instance)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, cwd=str(ROOT), env=environment, stdin=subprocess.DEVNULL,
                                             stdout=log, stderr=log, start_new_session=True)
        try:
            wait_for(f"all workers of {self.application} are there", self._booted)
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self._kill()

    @property
    def log(self) -> str:
        """What the demo has printed until now."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def converse(self) -> Conversation:
        """A connection to one of the workers, whichever accepts it."""
        return Conversation(self.port)

    def interrupt(self) -> None:
        """Ctrl-C: every process of the terminal gets SIGINT. Returns when the server has ended."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGINT)
        self.exit_code = self._process.wait(SECONDS)

    def processes(self) -> Set[Tuple[int, str]]:
        """(pid, start time) of the server, its workers and all that they have started."""
        assert self._process is not None
        table = _process_table()
        below, grown = {self._process.pid}, True
        while grown:
            more = {pid for pid, (parent, _) in table.items() if parent in below} - below
            grown = bool(more)
            below |= more
        return {(pid, table[pid][1]) for pid in below if pid in table}

    def normalised(self, text: str) -> str:
        """`text` without what differs from run to run: folders, ports, times, backups' names, pids, ids, free space."""
        text = text.replace(str(self.instance), "<instance>").replace(str(self.port), "<port>")
        text = re.sub(r"\d{8}T\d{6}Z(-\d+)?", "<backup>", text)
        text = re.sub(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d+)?Z?", "<time>", text)
        text = re.sub(r'<td class="number">\d{2,}</td>\s*<td class="number">(?=\d)', "<pid>", text)
        text = re.sub(r'("freeBytes":\s*)\d+', r"\1 0", text)
        return re.sub(r'("(?:requestId|eventId)":\s*)"[^"]+"', r'\1"<id>"', text)

    def _booted(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the demo ended: {self.log}"
        return self.log.count("Booting worker") == self.workers

    def _kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()  # its workers and plugins end with it
            self._process.wait(SECONDS)


def alive(processes: Set[Tuple[int, str]]) -> List[int]:
    """The pids of those that still run; start times tell a pid from its next owner."""
    table = _process_table()
    return [pid for pid, started in processes if table.get(pid, (0, ""))[1] == started]


def _process_table() -> Dict[int, Tuple[int, str]]:
    """pid -> (parent's pid, start time) of all processes but zombies."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path("/proc", entry, "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            state, parent, *others = fields.rpartition(")")[2].split()
            if state != "Z":
                found[int(entry)] = (int(parent), others[17])
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
