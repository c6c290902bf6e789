"""gunicorn: sync, gthread and gevent workers, each with and without --preload."""
from __future__ import annotations

import signal
import sys
from importlib import metadata
from typing import List, Sequence

from tests.servers.cells import Family, Scenario
from tests.servers.scenarios import (
    first_request,
    four_workers,
    main_killed,
    plugin_crash,
    recycled,
    reloaded,
    stopped,
    timed_out,
    used_before_fork,
    worker_kill,
)
from tests.servers.server import Server


class Gunicorn(Server):
    """`mode`: the worker class, and `+preload`. Settings: those of gunicorn's configuration file."""

    name = "gunicorn"
    modes = ("sync", "sync+preload", "gthread", "gthread+preload", "gevent", "gevent+preload")

    @property
    def preload(self) -> bool:
        """Whether the application is imported before the workers are forked."""
        return self.mode.endswith("+preload")

    def prepare(self) -> None:
        """Write the configuration file."""
        settings = {
            "bind": f"127.0.0.1:{self.port}", "workers": self.worker_count, "worker_class": self.mode.partition("+")[0],
            "preload_app": self.preload, "threads": 8 if self.mode.startswith("gthread") else 1,
            "graceful_timeout": 20, "control_socket_disable": True, **self.settings}
        lines = [f"{name} = {value!r}\n" for name, value in settings.items()]
        (self.folder / "gunicorn_conf.py").write_text("".join(lines), "utf-8")

    def command(self) -> Sequence[str]:
        """gunicorn on that file."""
        return [sys.executable, "-m", "gunicorn", "--config", "gunicorn_conf.py", "served:app"]


def _release() -> int:
    """The first number of gunicorn's version; 0 where it is not installed."""
    try:
        return int(metadata.version("gunicorn").partition(".")[0])
    except metadata.PackageNotFoundError:
        return 0


def scenarios(mode: str) -> List[Scenario]:
    """What is done to gunicorn in a mode.

    A quick stop raises inside of views, for which gunicorn answers 500 where it can. `timeout`: workers look for their
    parent twice in that time. Before release 24 threaded workers closed connections that they had accepted but not read
    when they ended, with plugins or without (gunicorn's issues 3038 and 3394).
    """
    lost = ("cut",) if mode.startswith("gthread") and _release() < 24 else ()
    preload = [used_before_fork(timeout=4)] if mode.endswith("+preload") else []
    return [
        first_request, four_workers, plugin_crash, worker_kill, timed_out(timeout=2), recycled(*lost, max_requests=40),
        reloaded(signal.SIGHUP, *lost), stopped("graceful stop", signal.SIGTERM, orderly=True),
        stopped("quick stop", signal.SIGINT, "cut", "error"),
        stopped("Ctrl-C", signal.SIGINT, "cut", "error", group=True), main_killed(timeout=4), *preload]


FAMILY = Family(Gunicorn, scenarios, needs=("gunicorn", "gevent"), tested=(
    ("sync", "first request"), ("sync", "worker time-out"), ("sync", "quick stop"),
    ("sync+preload", "4 workers"), ("sync+preload", "used before fork"),
    ("gthread", "plugin crash"), ("gthread", "worker SIGKILL"),
    ("gthread+preload", "recycling"), ("gthread+preload", "reload"),
    ("gevent", "plugin crash"), ("gevent", "worker SIGKILL"),
    ("gevent+preload", "graceful stop"), ("gevent+preload", "Ctrl-C"), ("gevent+preload", "main SIGKILL"),
    ("gevent+preload", "used before fork"),
))
