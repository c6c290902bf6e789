"""Prints every row of docs/requirements.md with the tests that prove it.

Collects the tests of the tree (nothing is run) and reads their ``req`` markers. The exit code is 1 where a row has no
test, a marker names a row that does not exist, or a marker holds something other than rows; pytest's own code where
collecting failed.

    python tools/requirements_table.py [PATH ...]
"""
from __future__ import annotations

import contextlib
import io
import re
import sys
from pathlib import Path
from typing import Dict, List, Tuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "requirements.md"
_ROW = re.compile(r"\| ([DR][0-9]+) \| (.+) \|")


class MarkerCollector:
    """A pytest plugin: remembers which test functions carry which rows."""

    def __init__(self) -> None:
        self.tests: Dict[str, List[str]] = {}
        self.misuses: List[str] = []

    def pytest_collection_modifyitems(self, items: List[pytest.Item]) -> None:
        """Called once by pytest, with every test it found."""
        for item in items:
            test = item.nodeid.split("[")[0]  # the cases of one function are one proof
            for marker in item.iter_markers("req"):
                if not marker.args or marker.kwargs or not all(isinstance(row, str) for row in marker.args):
                    self.misuses.append(f"{test}: req{marker.args} wants rows, such as req(\"R17\")")
                    continue
                for row in marker.args:
                    tests = self.tests.setdefault(row, [])
                    if test not in tests:
                        tests.append(test)


def rows_of(page: str) -> Dict[str, str]:
    """Row -> requirement, in the page's order."""
    return {match[1]: match[2] for match in map(_ROW.fullmatch, page.splitlines()) if match}


def collect(paths: List[str]) -> Tuple[int, MarkerCollector]:
    """Let pytest find the tests; its output is shown only where it failed."""
    collector = MarkerCollector()
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        code = pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", *paths], plugins=[collector])
    if code != 0:
        print(output.getvalue())
    return int(code), collector


def report(rows: Dict[str, str], collector: MarkerCollector) -> List[str]:
    """Print the table; return what is wrong with it."""
    for row, text in rows.items():
        print(f"{row}  {text}")
        for test in collector.tests.get(row, ["(no test)"]):
            print(f"      {test}")
    faults = [f"{row} has no test that proves it" for row in rows if row not in collector.tests]
    faults += [f"{row} is no row of {PAGE.relative_to(ROOT)}, but is named by {', '.join(tests)}"
               for row, tests in collector.tests.items() if row not in rows]
    return faults + sorted(set(collector.misuses))


def main(paths: List[str]) -> int:
    """The command; see the module's docstring."""
    rows = rows_of(PAGE.read_text("utf-8"))
    code, collector = collect(paths or [str(ROOT / "tests")])
    if code != 0:
        return code
    faults = report(rows, collector)
    proofs = len({test for tests in collector.tests.values() for test in tests})
    print(f"\n{len(rows)} requirements, {proofs} tests that prove them, {len(faults)} faults")
    for fault in faults:
        print(f"  {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
