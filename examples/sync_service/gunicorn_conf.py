"""gunicorn's settings for the demo; address and number of workers come from the command line.

Threads suit an application that waits for plugins; each worker process has plugins of its own.
"""
from __future__ import annotations

import signal
from typing import Any

worker_class = "gthread"
threads = 8
graceful_timeout = 10
control_socket_disable = True  # newer versions would make one in the home directory; older ones ignore the name


def post_worker_init(worker: Any) -> None:
    """Leave Ctrl-C to the master, which then tells its workers.

    A terminal sends SIGINT to both. The master's SIGQUIT can reach a threaded worker inside its handler for SIGINT,
    where it then waits for a lock of its own until the master kills it. A handler, unlike SIG_IGN, is not inherited by
    plugins.
    """
    signal.signal(signal.SIGINT, lambda number, frame: None)
