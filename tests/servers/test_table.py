"""A cheap part of the table of `make servers`: every mode and every scenario of each server, but not each with each.

A cell waits longer here than in the table for what it waits for, since tests run on busy machines. Most of its time is
waiting, so a few cells run at once.
"""
from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Dict, Iterator, List

import pytest

from tests.servers.cells import Cell, Family, Figures
from tests.servers.families import FAMILIES

GRACE = 30.0
AT_ONCE = 3


def _tested() -> List[object]:
    cells = {(family.kind.name, cell.mode, cell.title): (family, cell)
             for family in FAMILIES for cell in family.cells(GRACE)}
    chosen = [cells[family.kind.name, mode, title] for family in FAMILIES for mode, title in family.tested]
    return [pytest.param(family, cell, id=str(cell).replace(" ", "-")) for family, cell in chosen]


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> Iterator[Dict[str, Future[Figures]]]:
    """The figures of the chosen cells, each once it has run: in the order of the tests, `AT_ONCE` at a time."""
    chosen = [item.callspec.params for item in request.session.items
              if item.fspath == request.fspath and "cell" in item.callspec.params]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = {str(params["cell"]): pool.submit(params["cell"].run) for params in chosen
                if not params["family"].missing()}
        yield runs
        for run in runs.values():
            run.cancel()


@pytest.mark.req("R3", "R15")
@pytest.mark.fault("H1", "H2", "H3", "H5", "H6", "H7", "H8", "H15")
@pytest.mark.parametrize(("family", "cell"), _tested())
def test_a_server_keeps_its_plugins_in_order(family: Family, cell: Cell, runs: Dict[str, Future[Figures]]) -> None:
    """Own plugins in each worker, none in a parent that needs none, no orphan, no hung request, no error."""
    if family.missing():
        pytest.skip(f"{', '.join(family.missing())} is missing: {cell} is not tested")
    figures = runs[str(cell)].result()
    assert figures.good, "\n".join([str(cell), *figures.broken])


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: str(family.kind.name))
def test_every_mode_and_scenario_is_tested(family: Family) -> None:
    """The chosen cells leave out no mode and no scenario of a server."""
    cells = family.cells()
    assert {mode for mode, _ in family.tested} == {cell.mode for cell in cells}
    assert {title for _, title in family.tested} == {cell.title for cell in cells}
