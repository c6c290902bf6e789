"""The table of requirements: it shows proofs, and fails on rows without one and on markers without a row."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "requirements_table.py"


def _table(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(TOOL), str(path)], cwd=ROOT, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100)


def _tests(folder: Path, body: str) -> Path:
    path = folder / "test_example.py"
    path.write_text("import pytest\n" + body, "utf-8")
    return path


def test_lists_rows_with_their_proofs(tmp_path: Path) -> None:
    """A row shows the test that carries its number, once however many cases the test has."""
    done = _table(_tests(tmp_path, '@pytest.mark.req("R6", "D1")\n@pytest.mark.parametrize("n", [1, 2])\n'
                                   "def test_proof(n): pass\n"))
    assert done.stdout.count("test_example.py::test_proof\n") == 2, done.stdout
    assert "R6  Frames are those of the Language Server Protocol" in done.stdout


def test_fails_where_a_row_has_no_test(tmp_path: Path) -> None:
    """A row without a test makes the command fail and is named."""
    done = _table(_tests(tmp_path, '@pytest.mark.req("R6")\ndef test_proof(): pass\n'))
    assert done.returncode == 1
    assert "R7 has no test that proves it" in done.stdout
    assert "R6 has no test" not in done.stdout


def test_fails_where_all_rows_but_a_marker_are_fine(tmp_path: Path) -> None:
    """A marker that names an unknown row, or none, makes the command fail although every row is proven."""
    every = [f"R{number}" for number in range(1, 43)] + [f"D{number}" for number in range(1, 9)]
    proof = f"@pytest.mark.req(*{every})\ndef test_proof(): pass\n"
    assert _table(_tests(tmp_path, proof)).returncode == 0
    done = _table(_tests(tmp_path, proof + '@pytest.mark.req("R99")\ndef test_other(): pass\n'))
    assert done.returncode == 1
    assert "R99 is no row" in done.stdout
    assert "test_other" in done.stdout
    done = _table(_tests(tmp_path, proof + "@pytest.mark.req()\ndef test_other(): pass\n"))
    assert done.returncode == 1
    assert "wants rows" in done.stdout


def test_fails_where_collecting_fails(tmp_path: Path) -> None:
    """A tree of tests that cannot be collected proves nothing, and the reason is shown."""
    done = _table(_tests(tmp_path, "import no_such_module\n"))
    assert done.returncode not in (0, 1)
    assert "no_such_module" in done.stdout
