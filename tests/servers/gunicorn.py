"""gunicorn: sync, gthread and gevent workers, each with and without --preload, and with our hooks for warm workers."""
from __future__ import annotations

import signal
import sys
from importlib import metadata
from typing import List, Sequence

from tests.servers.cells import Cell, Family, Figures, Scenario, count
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
    use_all,
    used_before_fork,
    worker_kill,
)
from tests.servers.server import PLUGINS, Server

_HOOKS = """
from legacy_plugins.integrations.gunicorn import ServerHooks
hooks = ServerHooks()
post_worker_init = hooks.post_worker_init
worker_int, worker_abort, worker_exit = hooks.worker_int, hooks.worker_abort, hooks.worker_exit
"""


class Gunicorn(Server):
    """`mode`: the worker class, `+preload`, `+hooks`. Settings: those of gunicorn's configuration file."""

    name = "gunicorn"
    modes = ("sync", "sync+preload", "gthread", "gthread+preload", "gevent", "gevent+preload", "gthread+hooks",
             "gevent+preload+hooks")

    @property
    def preload(self) -> bool:
        """Whether the application is imported before the workers are forked."""
        return "+preload" in self.mode

    def prepare(self) -> None:
        """Write the configuration file."""
        settings = {
            "bind": f"127.0.0.1:{self.port}", "workers": self.worker_count, "worker_class": self.mode.partition("+")[0],
            "preload_app": self.preload, "threads": 8 if self.mode.startswith("gthread") else 1,
            "graceful_timeout": 20, "control_socket_disable": True, **self.settings}
        lines = [f"{name} = {value!r}\n" for name, value in settings.items()]
        if self.mode.endswith("+hooks"):
            lines.append(_HOOKS)
        (self.folder / "gunicorn_conf.py").write_text("".join(lines), "utf-8")

    def command(self) -> Sequence[str]:
        """gunicorn on that file."""
        return [sys.executable, "-m", "gunicorn", "--config", "gunicorn_conf.py", "served:app"]


@titled("warm workers")
def warm_workers(cell: Cell, figures: Figures) -> None:
    """Before any request each of four workers has its plugins, and the master has none."""
    with cell.server(workers=4) as server:
        server.wait(lambda: [len(server.plugins(worker)) for worker in server.workers()] == [len(PLUGINS)] * 4,
                    "each worker has its plugins")
        use_all(server, figures)
        count(server, figures)
        in_parent(server, figures)
        end(cell, server, figures)


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
    preload = [used_before_fork(timeout=4)] if "+preload" in mode else []
    timeout, reload = timed_out(timeout=2), reloaded(signal.SIGHUP, *lost)
    stops = [stopped("graceful stop", signal.SIGTERM, orderly=True),
             stopped("quick stop", signal.SIGINT, "cut", "error")]
    if mode.endswith("+hooks"):
        return [warm_workers, worker_kill, timeout, reload, *stops, *preload]
    return [first_request, four_workers, plugin_crash, worker_kill, timeout, recycled(*lost, max_requests=40), reload,
            *stops, stopped("Ctrl-C", signal.SIGINT, "cut", "error", group=True), main_killed(timeout=4), *preload]


FAMILY = Family(Gunicorn, scenarios, needs=("gunicorn", "gevent"), tested=(
    ("sync", "first request"), ("sync", "worker time-out"), ("sync", "quick stop"),
    ("sync+preload", "4 workers"), ("sync+preload", "used before fork"),
    ("gthread", "plugin crash"), ("gthread", "worker SIGKILL"),
    ("gthread+preload", "recycling"), ("gthread+preload", "reload"),
    ("gevent", "plugin crash"), ("gevent", "worker SIGKILL"),
    ("gevent+preload", "graceful stop"), ("gevent+preload", "Ctrl-C"), ("gevent+preload", "main SIGKILL"),
    ("gevent+preload", "used before fork"), ("gthread+hooks", "warm workers"), ("gthread+hooks", "quick stop"),
    ("gevent+preload+hooks", "worker time-out"),
))
