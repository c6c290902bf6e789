"""A cell of the table: one server, one mode, one scenario; and the figures that it gives.

A scenario is a function `(Cell, Figures) -> None` in `scenarios.py` or in a family's own file. It starts servers with
`cell.server(...)`, provokes something, and enters what it finds.
"""
from __future__ import annotations

import importlib.util
import shutil
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, List, Optional, Tuple, Type

from tests.servers.client import Answer, Load
from tests.servers.processes import Process, commands
from tests.servers.server import PLUGINS, Server


@dataclass
class Figures:
    """What a cell found.

    `workers`: processes that served. `plugins`: plugin processes of each, one number where all have the same.
    `parent`: plugin processes of processes that need none. `orphans`: processes left `grace` seconds after their host.
    `hung`: requests without an answer, and servers that did not end. `errors`: answers that nothing explains.
    `provoked`: requests that failed because the scenario ends a worker or a plugin under them: for information.
    `broken`: what is not as it must be, in words. `gone_ms`: time from a host's end to that of its last process.
    """

    workers: int = 0
    plugins: List[int] = field(default_factory=list)
    parent: int = 0
    orphans: int = 0
    hung: int = 0
    errors: int = 0
    provoked: int = 0
    ok: int = 0
    gone_ms: Optional[int] = None
    broken: List[str] = field(default_factory=list)
    note: str = ""
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether everything is as it must be."""
        return not (self.parent or self.orphans or self.hung or self.errors or self.broken)

    def expect(self, condition: object, text: str) -> None:
        """Enter what is not as it must be."""
        if not condition:
            self.broken.append(text)

    def answered(self, answer: Answer, *allowed: str) -> None:
        """Count one request. `allowed`: outcomes beside `ok` that the scenario explains."""
        if answer.outcome == "ok":
            self.ok += 1
        elif answer.outcome == "hung":
            self.hung += 1
        elif answer.outcome in allowed:
            self.provoked += 1
        else:
            self.errors += 1
            self.broken.append(f"answer {answer.outcome} {answer.status} {answer.body[:200]}")

    def answered_all(self, load: Load, *allowed: str) -> None:
        """Count the requests of a load."""
        self.ok += load.count("ok")
        for answer in load.bad:
            self.answered(answer, *allowed)

    def left(self, who: List[Process], what: str) -> None:
        """Enter processes that should be gone."""
        self.orphans += len(who)
        self.broken.extend(f"{what} {line}" for line in commands(who))


#: What is done to a server.
Scenario = Callable[["Cell", Figures], None]


@dataclass
class Cell:
    """One cell. `grace`: how long what belonged to an ended host may still be there, in seconds.

    `folders`: of the servers that ran; those of a good cell are removed.
    """

    kind: Type[Server]
    mode: str
    scenario: Scenario
    grace: float = 2.0
    folders: List[Path] = field(default_factory=list)

    @property
    def title(self) -> str:
        """The scenario's name in the table."""
        return str(getattr(self.scenario, "title", self.scenario.__name__.replace("_", " ")))

    def __str__(self) -> str:
        return f"{self.kind.name} {self.mode}: {self.title}"

    def server(self, **settings: Any) -> Server:
        """A server in a new folder; use it in `with`."""
        self.folders.append(Path(tempfile.mkdtemp(prefix="served-")))
        return self.kind(self.folders[-1], self.mode, **settings)

    def run(self) -> Figures:
        """Run it. Never raises for what the server or the library does: that is in the figures."""
        figures = Figures()
        began = time.monotonic()
        try:
            self.scenario(self, figures)
        except AssertionError as error:
            figures.broken.append(str(error))
        except Exception:  # noqa: BLE001 - the table goes on; what a scenario did not reckon with is in it
            figures.broken.append(traceback.format_exc())
        figures.seconds = time.monotonic() - began
        if figures.good:
            for folder in self.folders:
                shutil.rmtree(str(folder))
        else:
            figures.broken.append("see " + ", ".join(str(folder / "server.log") for folder in self.folders))
        return figures


@dataclass(frozen=True)
class Family:
    """What a family's file offers to the table: its driver, the scenarios of each mode, and what must be installed.

    `tested`: the cells (mode, title) that run with every `make test`; each mode and each scenario once is the measure.
    """

    kind: Type[Server]
    scenarios: Callable[[str], List[Scenario]]
    needs: Tuple[str, ...] = ()
    tested: Tuple[Tuple[str, str], ...] = ()

    def missing(self) -> List[str]:
        """The packages and programs that are not installed here."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None and shutil.which(name) is None]

    def cells(self, grace: float = 2.0) -> List[Cell]:
        """All cells, mode by mode."""
        return [Cell(self.kind, mode, scenario, grace)
                for mode in self.kind.modes for scenario in self.scenarios(mode)]


def settle(cell: Cell, server: Server, figures: Figures, began: float) -> None:
    """Wait, for at most `grace` seconds from `began` on, until no orphan is left; enter how long it took, and the rest.

    `began`: the moment (`time.monotonic()`) at which the host process was seen to be gone.
    """
    try:
        server.wait(lambda: not server.orphans(), "no orphans", max(0.0, began + cell.grace - time.monotonic()))
    except AssertionError:
        figures.left(server.orphans(), "orphan")
    else:
        figures.gone_ms = max(figures.gone_ms or 0, round((time.monotonic() - began) * 1000))


def count(server: Server, figures: Figures, expected: int = len(PLUGINS)) -> None:
    """Enter the plugins of each worker and of the parent; every worker must have its own."""
    workers = server.workers()
    figures.workers = len(workers)
    found = [server.plugins(worker) for worker in workers]
    figures.plugins = [len(plugins) for plugins in found]
    figures.expect(all(number == expected for number in figures.plugins),
                   f"workers have {figures.plugins} plugins, not {expected}")
    tokens = [{process.token for process in plugins} for plugins in found]
    shared = len(set().union(*tokens)) if tokens else 0
    figures.expect(shared == sum(map(len, tokens)), "two workers share a token")
    for worker in workers:
        figures.expect(len(server.guards(worker)) == 1, f"worker {worker} has {len(server.guards(worker))} guards")
