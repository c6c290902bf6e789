"""What is shipped: the metadata's promises and the wheel's contents."""
from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import List

import pytest

import legacy_plugins

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def metadata() -> configparser.ConfigParser:
    """The declarations of setup.cfg."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> List[str]:
    """The names inside the wheel, built from a copy so that nothing is left in the checkout."""
    pytest.importorskip("setuptools", minversion="70.1", reason="setuptools 70.1 is missing: the wheel is not tested")
    copy = tmp_path_factory.mktemp("tree") / "checkout"
    copy.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(str(ROOT / name), str(copy))
    for name in ("legacy_plugins", "tests", "examples", "tools"):
        shutil.copytree(str(ROOT / name), str(copy / name), symlinks=True,
                        ignore=shutil.ignore_patterns("__pycache__", "target", "node_modules"))
    done = subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps",
                           "--no-build-isolation", "--wheel-dir", str(copy / "dist"), str(copy)],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=110)
    assert done.returncode == 0, done.stdout.decode()
    (path,) = (copy / "dist").glob("legacy_plugins-*.whl")
    with zipfile.ZipFile(str(path)) as archive:
        return archive.namelist()


def _requirements(text: str) -> List[str]:
    return sorted(re.split("[<>=!~ ]", line)[0].lower() for line in text.split("\n") if line)


@pytest.mark.req("D2")
def test_the_host_needs_three_libraries(metadata: configparser.ConfigParser) -> None:
    """jsonschema, pyyaml and blinker are all that an installation without extras brings."""
    assert _requirements(metadata["options"]["install_requires"]) == ["blinker", "jsonschema", "pyyaml"]


@pytest.mark.parametrize("name", ["setup.cfg", "pyproject.toml", "tox.ini", "legacy_plugins", "tests",
                                  "examples/flask_app"])
@pytest.mark.req("D3")
def test_top_level_of_the_repository(name: str) -> None:
    """The repository has the agreed files and folders."""
    assert (ROOT / name).exists()


def test_the_lowest_versions_are_the_promised_ones(metadata: configparser.ConfigParser) -> None:
    """The `lowest` environment tests exactly the lower bounds of the metadata."""
    declared = (metadata["options"]["install_requires"] + metadata["options.extras_require"]["flask"]).lower()
    lowest = (ROOT / "tools" / "lowest-requirements.txt").read_text("utf-8").lower()
    bounds = dict(line.split(">=") for line in declared.split("\n") if line)
    pins = dict(line.split("==") for line in lowest.split("\n") if "==" in line)
    assert {name: _numbers(version) for name, version in bounds.items()} == {
        name: _numbers(pins[name]) for name in bounds}


def _numbers(version: str) -> List[int]:
    """A release as numbers without trailing zeros: 2.0 and 2.0.0 are one."""
    numbers = [int(part) for part in version.split(".")]
    while numbers[-1] == 0:
        numbers.pop()
    return numbers


def test_one_version(metadata: configparser.ConfigParser) -> None:
    """The package's version is the one of the newest section of the change log."""
    heading = re.search(r"^## ([0-9]\S*)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert heading is not None
    assert legacy_plugins.__version__ == heading[1]


def test_the_wheel_has_what_the_library_reads(wheel: List[str]) -> None:
    """Every file of the package is inside, its schemas and the marker of its types among them."""
    ours = {path.relative_to(ROOT).as_posix() for path in (ROOT / "legacy_plugins").rglob("*")
            if path.is_file() and "__pycache__" not in path.parts}
    assert ours <= set(wheel)
    assert "legacy_plugins/py.typed" in wheel
    assert any(re.fullmatch(r"legacy_plugins/schemas/.+\.json", name) for name in wheel)


def test_the_wheel_has_nothing_else(wheel: List[str]) -> None:
    """Tests, examples and tools stay in the repository."""
    assert {name.split("/")[0] for name in wheel} == {
        "legacy_plugins", f"legacy_plugins-{legacy_plugins.__version__}.dist-info"}
