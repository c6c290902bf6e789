"""The development servers: `flask run` with its reloader and without, and Django's `manage.py runserver`.

A reloader is a process that serves nothing and runs the server as its child, anew after each change of a file. SIGINT
reaches all of them, as Ctrl-C in a terminal does; any other signal only the process that was started, as a supervisor's
does.
"""
from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any, List, Mapping, Optional, Sequence, Tuple

from tests.servers.cells import Cell, Family, Figures, Scenario, count, settle
from tests.servers.client import Load
from tests.servers.processes import Process
from tests.servers.scenarios import end, first_request, in_parent, main_killed, plugin_crash, stopped, titled
from tests.servers.server import PROGRAMS, Server


class Reloader(Server):
    """A development server: one process serves, the one that was started or its child."""

    #: The file of the application.
    application = ""
    #: The mode in which there is no reloader.
    single = ""

    def __init__(self, folder: Path, mode: str, *, workers: int = 1, **settings: Any) -> None:
        super().__init__(folder, mode, workers=1, **settings)

    def prepare(self) -> None:
        """Put the application there."""
        shutil.copy(str(PROGRAMS / self.application), str(self.folder))

    def worker_pids(self, table: Mapping[int, Process]) -> List[int]:
        """The one that serves."""
        return [self.pid] if self.mode == self.single else super().worker_pids(table)

    def signal(self, number: int, pid: Optional[int] = None) -> None:
        """Send a signal to one process, or SIGINT to all."""
        if pid is None and number == signal.SIGINT:
            os.killpg(self.pid, number)
        else:
            super().signal(number, pid)

    def touch(self) -> None:
        """Change the application's file, as an editor that saves it does."""
        path = self.folder / self.application
        later = path.stat().st_mtime + 5
        os.utime(str(path), (later, later))


class FlaskRun(Reloader):
    """Flask's and werkzeug's."""

    name = "flask run"
    modes = ("debug", "no reload")
    application = "served.py"
    single = "no reload"

    def command(self) -> Sequence[str]:
        """`flask run`; FLASK_DEBUG is what `--debug` sets in the versions of Flask that have it."""
        self.environment.update(FLASK_APP="served", FLASK_DEBUG="1" if self.mode == "debug" else "0")
        return [sys.executable, "-m", "flask", "run", "--port", str(self.port)]


class Runserver(Reloader):
    """Django's."""

    name = "runserver"
    modes = ("autoreload", "noreload")
    application = "project.py"
    single = "noreload"

    def command(self) -> Sequence[str]:
        """`manage.py runserver`."""
        options = ["--noreload"] if self.mode == "noreload" else []
        return [sys.executable, "project.py", "runserver", "--skip-checks", *options, f"127.0.0.1:{self.port}"]


@titled("reload")
def reload(cell: Cell, figures: Figures) -> None:
    """The application's file changes, under load: the child ends with its plugins, another one has its own."""
    with cell.server() as server:
        assert isinstance(server, Reloader)
        with Load(server.port, clients=2) as load:
            server.wait(lambda: load.workers(), "requests are answered")
            old = load.workers()
            server.all()
            server.touch()
            server.wait(lambda: not old & set(server.workers()), "the old child is gone")
            settle(cell, server, figures, time.monotonic())
            server.wait(lambda: load.workers() - old, "the new child answers")
        figures.answered_all(load, "cut", "error")
        count(server, figures)
        in_parent(server, figures)
        end(cell, server, figures, signal.SIGINT)


@titled("worker SIGKILL")
def child_kill(cell: Cell, figures: Figures) -> None:
    """The child is killed under load: its plugins are gone, and the reloader ends, since nothing told it to reload."""
    with cell.server() as server:
        with Load(server.port, clients=2) as load:
            server.wait(lambda: load.count("ok"), "requests are answered")
            (child,) = server.workers()
            count(server, figures)
            in_parent(server, figures)
            server.signal(signal.SIGKILL, child)
            figures.hung += not server.wait_end()
            settle(cell, server, figures, time.monotonic())
        figures.answered_all(load, "cut")


def scenarios(mode: str) -> List[Scenario]:
    """What is done to a development server. Whatever ends it cuts off requests, or answers 503 while it ends."""
    stops = [stopped("graceful stop", signal.SIGINT, "cut", "error"), stopped("quick stop", signal.SIGTERM, "cut")]
    if mode.startswith("no"):
        return [first_request, plugin_crash, main_killed(), *stops]
    return [first_request, plugin_crash, child_kill, reload, *stops]


def _tested(reloading: str, single: str) -> Tuple[Tuple[str, str], ...]:
    return ((reloading, "plugin crash"), (reloading, "worker SIGKILL"), (reloading, "reload"),
            (reloading, "quick stop"), (single, "first request"), (single, "main SIGKILL"), (single, "graceful stop"))


FLASK = Family(FlaskRun, scenarios, needs=("flask",), tested=_tested("debug", "no reload"))
DJANGO = Family(Runserver, scenarios, needs=("django",), tested=_tested("autoreload", "noreload"))
