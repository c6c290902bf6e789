"""uWSGI: the application imported before the workers are forked, with one thread and several, and after (lazy-apps).

uWSGI answers SIGTERM with a reload unless it is told otherwise. Here SIGTERM lets workers finish their requests, as
docs/servers/uwsgi.md recommends, and SIGINT, which uWSGI always answers by ending them at once, is the quick stop.
"""
from __future__ import annotations

import os
import signal
import sys
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


class Uwsgi(Server):
    """`mode`: when the application is imported, and `+threads`. Settings: options of uWSGI, `_` standing for `-`."""

    name = "uWSGI"
    modes = ("fork", "fork+threads", "lazy-apps")

    def command(self) -> Sequence[str]:
        """uWSGI with options for its command line. `binary-path`: what pyuwsgi executes at a reload."""
        options = {
            "http-socket": f"127.0.0.1:{self.port}", "module": "served:app", "master": True, "need-app": True,
            "processes": self.worker_count, "enable-threads": True, "binary-path": sys.executable,
            "hook-master-start": "unix_signal:15 gracefully_kill_them_all", "worker-reload-mercy": 20,
            "no-orphans": True, "disable-logging": True, "lazy-apps": self.mode == "lazy-apps",
            "threads": 8 if self.mode.endswith("+threads") else None,
            **{name.replace("_", "-"): value for name, value in self.settings.items()}}
        arguments = [os.path.join(os.path.dirname(sys.executable), "pyuwsgi")]
        for name, value in options.items():
            if value not in (None, False):
                arguments += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        return arguments


def scenarios(mode: str) -> List[Scenario]:
    """What is done to uWSGI in a mode. SIGINT cuts requests off, and so does the end of their worker."""
    return [
        first_request, four_workers, plugin_crash, worker_kill, timed_out(harakiri=2),
        # A master that is told to stop while it sleeps over a respawn waits for workers that are gone: uWSGI's own.
        recycled(max_requests=40, min_worker_lifetime=1, forkbomb_delay=0), reloaded(signal.SIGHUP),
        stopped("graceful stop", signal.SIGTERM), stopped("quick stop", signal.SIGINT, "cut"), main_killed(),
        *([] if mode == "lazy-apps" else [used_before_fork()])]


FAMILY = Family(Uwsgi, scenarios, needs=("pyuwsgi",), tested=(
    ("fork", "first request"), ("fork", "worker time-out"), ("fork", "graceful stop"), ("fork", "main SIGKILL"),
    ("fork+threads", "4 workers"), ("fork+threads", "plugin crash"), ("fork+threads", "worker SIGKILL"),
    ("fork+threads", "recycling"), ("fork+threads", "used before fork"),
    ("lazy-apps", "reload"), ("lazy-apps", "quick stop"),
))
