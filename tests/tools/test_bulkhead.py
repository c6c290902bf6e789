"""The measurement of what a slow plugin costs: that it runs, counts, and judges by its own figures."""
from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "bulkhead.py"


@pytest.mark.fault("R16")
@pytest.mark.skipif(importlib.util.find_spec("gunicorn") is None or importlib.util.find_spec("flask") is None,
                    reason="needs the packages gunicorn and flask")
def test_it_measures() -> None:
    """One short round: refusals with Retry-After alone, and an exit code that says what the ratio says."""
    done = subprocess.run(
        [sys.executable, str(TOOL), "--rounds", "1", "--seconds", "0.5", "--clients", "16", "--slow", "0.3"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, check=False)
    ratio = re.search(r"p99 under load is ([0-9.]+) times", done.stdout)
    assert ratio is not None, done.stdout + done.stderr
    assert done.returncode == (0 if float(ratio.group(1)) < 2 else 1)
    (loaded,) = [line for line in done.stdout.splitlines() if line.startswith("loaded, all")]
    assert re.search(r"[0-9]+ x 200, [0-9]+ x 503 with Retry-After\Z", loaded), loaded
    (unlimited,) = [line for line in done.stdout.splitlines() if line.startswith("loaded without")]
    assert "503" not in unlimited
