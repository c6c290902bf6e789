"""The command behind `make servers`: which cells it runs, what it prints, how it ends."""
from __future__ import annotations

import sys
from typing import List

import pytest

from tests.servers import families
from tests.servers.cells import Cell, Family, Figures
from tests.servers.server import Server
from tools import server_table


class Fake(Server):
    """A server that is never started."""

    name = "fake"
    modes = ("threads", "forks")


def good(cell: Cell, figures: Figures) -> None:
    """All as it must be."""
    figures.workers, figures.plugins, figures.ok = 4, [2, 2, 2, 2], 7


def bad(cell: Cell, figures: Figures) -> None:
    """An orphan."""
    figures.orphans = 1
    figures.expect(cell.mode == "forks", "only in forks")


good.title, bad.title = "first request", "worker SIGKILL"  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two families: one that can run, and one that needs what nobody has."""
    monkeypatch.setattr(families, "FAMILIES", [
        Family(Fake, lambda mode: [good] if mode == "threads" else [good, bad]),
        Family(Fake, lambda mode: [good], needs=("no_such_package",))])


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The command's exit code."""
    monkeypatch.setattr(sys, "argv", ["server_table.py", *arguments])
    monkeypatch.setattr(sys, "path", list(sys.path))
    return server_table.main()


def test_a_bad_cell_is_named_and_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The table has all cells, the bad one with its reason; what cannot run is named; the exit code is 1."""
    assert run(monkeypatch) == 1
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "fake threads first request 4 2 0 0 0 0 7 ok" in lines
    assert "fake forks worker SIGKILL 0 0 0 1 0 0 0 BAD" in lines
    assert "fake NOT RUN: no_such_package is missing" in lines
    assert "fake forks: worker SIGKILL" in lines
    assert lines[-1].startswith("3 cells, 1 bad, ")


def test_good_cells_end_well(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--only` just the cells run that have all the words, and exit code 0 says that these are good."""
    assert run(monkeypatch, "--only", "forks first", "--markdown") == 0
    table: List[str] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(table) == 3
    assert table[2] == "| fake | forks | first request | 4 | 2 | 0 | 0 | 0 | 0 | 7 |  | ok |  |"


def test_no_cell_is_no_success(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Words that fit no cell are an error, not an empty success."""
    assert run(monkeypatch, "--only", "apache") == 1


def test_cells_can_be_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`--list` names the cells and runs none."""
    assert run(monkeypatch, "--list") == 0
    assert capsys.readouterr().out.split("\n")[:3] == [
        "fake threads: first request", "fake forks: first request", "fake forks: worker SIGKILL"]
