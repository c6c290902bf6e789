"""Every server, in every mode, through every scenario: plugins per worker, orphans, hung requests, errors.

    python tools/server_table.py [--markdown] [--only WORDS] [--jobs 2] [--list]

The table comes on stdout, the progress on stderr. The exit code is 1 when any cell has an orphan, a hung request, an
unexplained error, or plugins in a process that needs none. The cells are those of `tests/servers`, where part of them
runs with the tests. Linux only: it reads ``/proc``.
"""
from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from typing import TYPE_CHECKING, Callable, List, Sequence, Tuple

if TYPE_CHECKING:
    from tests.servers.cells import Cell, Figures

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HEADINGS = ("server", "mode", "scenario", "workers", "plugins each", "in parent", "orphans", "hung", "errors",
            "answered", "gone after", "", "note")
RIGHT = range(3, 11)

Row = Tuple[str, ...]


def row(cell: Cell, figures: Figures) -> Row:
    """The texts of one line."""
    each = sorted(set(figures.plugins))
    gone = "" if figures.gone_ms is None else f"{figures.gone_ms} ms"
    return (cell.kind.name, cell.mode, cell.title, str(figures.workers), "/".join(map(str, each)) or "0",
            str(figures.parent), str(figures.orphans), str(figures.hung), str(figures.errors), str(figures.ok), gone,
            "ok" if figures.good else "BAD", figures.note)


def plain(rows: Sequence[Row]) -> str:
    """Columns of text, with a line between two modes."""
    widths = [max(len(line[column]) for line in (HEADINGS, *rows)) for column in range(len(HEADINGS))]

    def line(texts: Row) -> str:
        return "  ".join(text.rjust(width) if column in RIGHT else text.ljust(width)
                         for column, (text, width) in enumerate(zip(texts, widths))).rstrip()

    lines = [line(HEADINGS), "-" * (sum(widths) + 2 * len(widths))]
    for before, texts in zip((None, *rows), rows):
        if before is not None and before[:2] != texts[:2]:
            lines.append("")
        lines.append(line(texts))
    return "\n".join(lines)


def markdown(rows: Sequence[Row]) -> str:
    """A table for a document."""
    rule = ("|" + "|".join("--:" if column in RIGHT else "---" for column in range(len(HEADINGS))) + "|")
    return "\n".join(["| " + " | ".join(texts) + " |" for texts in (HEADINGS,)] + [rule]
                     + ["| " + " | ".join(texts) + " |" for texts in rows])


def versions(packages: Sequence[str]) -> str:
    """What was measured on."""
    found = []
    for package in packages:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            pass  # a program
    return ", ".join([f"Python {platform.python_version()}", *found, f"Linux {platform.release()}"])


def run(cells: Sequence[Cell], jobs: int) -> Tuple[List[Row], List[str]]:
    """Run all cells, `jobs` at a time, telling each on stderr; the table's rows, and what was wrong."""
    rows: List[Row] = []
    wrong: List[str] = []
    with ThreadPoolExecutor(jobs) as pool:
        for number, (cell, figures) in enumerate(zip(cells, pool.map(lambda cell: cell.run(), cells)), 1):
            print(f"[{number}/{len(cells)}] {cell}: {'ok' if figures.good else 'BAD'} ({figures.seconds:.1f} s)",
                  file=sys.stderr, flush=True)
            rows.append(row(cell, figures))
            if not figures.good:
                wrong.append("\n    ".join([str(cell), *figures.broken]))
    return rows, wrong


def chosen(only: Sequence[str]) -> Tuple[List[Cell], List[str], List[str]]:
    """The cells whose name has all words of one of `only`; the packages they use, and what cannot run here."""
    from tests.servers.families import FAMILIES

    cells: List[Cell] = []
    packages: List[str] = []
    left_out: List[str] = []
    matches: Callable[[Cell], bool] = lambda cell: not only or any(  # noqa: E731
        all(word in str(cell) for word in words.split()) for words in only)
    for family in FAMILIES:
        mine = [cell for cell in family.cells() if matches(cell)]
        if mine and family.missing():
            left_out.append(f"{family.kind.name} NOT RUN: {', '.join(family.missing())} is missing")
        elif mine:
            cells += mine
            packages += [name for name in family.needs if name not in packages]
    return cells, packages, left_out


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--only", action="append", default=[], metavar="WORDS",
                        help="only cells whose name has all these words; may be repeated")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="cells that run at the same time (2)")
    parser.add_argument("--list", action="store_true", help="print the cells' names and run none")
    options = parser.parse_args()
    sys.path.insert(0, ROOT)
    began = time.monotonic()
    cells, packages, left_out = chosen(options.only)
    if options.list:
        print("\n".join(map(str, cells)))
        return 0
    rows, wrong = run(cells, options.jobs)
    print((markdown if options.markdown else plain)(rows))
    print()
    for line in (*left_out, *wrong):
        print(line)
    print(f"{len(rows)} cells, {len(wrong)} bad, {time.monotonic() - began:.0f} s; {versions(packages)}")
    return 1 if wrong or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
