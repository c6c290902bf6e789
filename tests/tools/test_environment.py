"""The maker of local environments: what it says when it cannot, and when it makes one anew."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Tuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "environment.py"


def _run(folder: Path, *arguments: str, startup: str = "") -> subprocess.CompletedProcess[str]:
    """Run the tool in a copy of what it reads; `startup` is code that its interpreter runs first."""
    (folder / "tools").mkdir(exist_ok=True)
    (folder / "tools" / "environment.py").write_text(TOOL.read_text("utf-8"), "utf-8")
    (folder / "sitecustomize.py").write_text(startup, "utf-8")
    return subprocess.run([sys.executable, "tools/environment.py", *arguments], cwd=folder, stdin=subprocess.DEVNULL,
                          env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True, text=True,
                          timeout=100, check=False)


# Stands in for pip, which would go to the network: notes that an environment was made.
NO_PIP = """
import subprocess, sys
def run(command, **options):
    if "venv" in command:
        import os
        os.makedirs(os.path.join(command[-1], "bin"), exist_ok=True)
    print("step", *command[1:4], file=sys.stderr)
subprocess.run = run
"""


def test_names_what_to_install_where_venv_is_missing(tmp_path: Path) -> None:
    """Without ensurepip, as on a fresh Debian, the message names the package and the command, and nothing is made."""
    done = _run(tmp_path, "test", startup="import sys\nsys.modules['ensurepip'] = None\n")
    assert done.returncode == 1
    assert "apt-get install python3" in done.stderr
    assert "-venv" in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("arguments", [(), ("nonsense",), ("test", "check")])
def test_wants_one_known_name(tmp_path: Path, arguments: Tuple[str, ...]) -> None:
    """Anything but one known environment's name is a usage error."""
    done = _run(tmp_path, *arguments)
    assert done.returncode == 2
    assert "usage" in done.stderr


def test_prints_the_folder_of_programs_alone(tmp_path: Path) -> None:
    """stdout carries the folder and nothing else, so that a shell can use it."""
    done = _run(tmp_path, "minimal", startup=NO_PIP)
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert done.stdout == f"{tmp_path}/.venv/minimal-{version}/bin\n"


def test_makes_an_environment_once_until_something_changes(tmp_path: Path) -> None:
    """The second run makes nothing; after a change of the dependencies, or a move of the checkout, all is made anew."""
    (tmp_path / "first").mkdir()
    assert "step -m venv" in _run(tmp_path / "first", "test", startup=NO_PIP).stderr
    assert _run(tmp_path / "first", "test", startup=NO_PIP).stderr == ""
    (tmp_path / "first" / "setup.cfg").write_text("[options]\n", "utf-8")
    assert "step -m venv" in _run(tmp_path / "first", "test", startup=NO_PIP).stderr
    (tmp_path / "first").rename(tmp_path / "second")
    assert "step -m venv" in _run(tmp_path / "second", "test", startup=NO_PIP).stderr


def test_a_failed_step_leaves_no_stamp(tmp_path: Path) -> None:
    """An environment that could not be made is tried again, and the failed step is named."""
    failing = NO_PIP + """
def run(command, **options):
    raise subprocess.CalledProcessError(7, command)
subprocess.run = run
"""
    done = _run(tmp_path, "test", startup=failing)
    assert done.returncode == 1
    assert "exit code 7" in done.stderr
    assert done.stdout == ""
    assert "step -m venv" in _run(tmp_path, "test", startup=NO_PIP).stderr
