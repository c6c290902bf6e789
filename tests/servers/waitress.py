"""waitress: one process with threads; SIGINT is its orderly end, SIGTERM ends it as it ends any Python program."""
from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any, List, Mapping, Sequence

from tests.servers.cells import Family, Scenario
from tests.servers.processes import Process
from tests.servers.scenarios import first_request, main_killed, plugin_crash, stopped
from tests.servers.server import Server


class Waitress(Server):
    """`mode`: only one. The process that is started serves; there is never another."""

    name = "waitress"
    modes = ("threads",)

    def __init__(self, folder: Path, mode: str, *, workers: int = 1, **settings: Any) -> None:
        super().__init__(folder, mode, workers=1, **settings)

    def command(self) -> Sequence[str]:
        """waitress with eight threads."""
        return [sys.executable, "-m", "waitress", f"--listen=127.0.0.1:{self.port}", "--threads=8", "served:app"]

    def worker_pids(self, table: Mapping[int, Process]) -> List[int]:
        """The one process."""
        return [self.pid]


def scenarios(_mode: str) -> List[Scenario]:
    """What is done to waitress. Both signals cut off what is under way."""
    return [first_request, plugin_crash, main_killed(), stopped("graceful stop", signal.SIGINT, "cut"),
            stopped("quick stop", signal.SIGTERM, "cut")]


FAMILY = Family(Waitress, scenarios, needs=("waitress",), tested=(
    ("threads", "first request"), ("threads", "plugin crash"), ("threads", "main SIGKILL"),
    ("threads", "graceful stop"), ("threads", "quick stop"),
))
