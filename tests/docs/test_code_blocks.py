"""Every fenced block of README and docs is executed or parsed; what the fences mean is said in CONTRIBUTING.md.

A page is a folder: blocks with ``file=NAME`` are written there, and the page's scripts run in it, in order.
"""
from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

import pytest
import yaml

from legacy_plugins import load_config
from tests.docs.pages import PAGES, ROOT, Block, blocks, lay_out, name

UNCHECKED = {"text"}  # diagrams and listings; everything else has a check below
BLOCKS = [block for page in PAGES for block in blocks(page)]


def _of(*languages: str) -> List[Block]:
    return [block for block in BLOCKS if block.language in languages]


def _id(block: Block) -> str:
    return f"{name(block.page)}:{block.line}"


def _environment() -> Dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}


def test_every_block_has_a_check() -> None:
    """No block is in a language that nothing here checks."""
    checked = {"python", "yaml", "json", "sh", "wire"} | UNCHECKED
    assert [f"{_id(block)} {block.language}" for block in BLOCKS if block.language not in checked] == []


@pytest.mark.parametrize("block", _of("python"), ids=_id)
def test_python_compiles(block: Block) -> None:
    """Every Python block is Python of the oldest version that we support."""
    compile(block.text, _id(block), "exec", dont_inherit=True)


@pytest.mark.parametrize("page", [page for page in PAGES if any(block.language == "python" for block in blocks(page))],
                         ids=name)
def test_python_runs(page: Path, tmp_path: Path) -> None:
    """The scripts of a page (Python blocks that are neither files nor excerpts) run to their end, in order."""
    lay_out(page, tmp_path)
    for block in blocks(page):
        if block.language == "python" and block.file is None and "excerpt" not in block.words:
            done = subprocess.run([sys.executable, "-c", block.text], cwd=tmp_path, env=_environment(),
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  timeout=60, check=False)
            assert done.returncode == 0, f"{_id(block)}:\n{done.stdout.decode()}"


@pytest.mark.parametrize("block", _of("yaml", "json"), ids=_id)
def test_data_parses(block: Block, tmp_path: Path) -> None:
    """YAML and JSON blocks parse, and those marked `config` are configurations that load."""
    value = yaml.safe_load(block.text) if block.language == "yaml" else json.loads(block.text)
    if "config" in block.words:
        lay_out(block.page, tmp_path)
        load_config(value, base_dir=str(tmp_path))


@pytest.mark.parametrize("block", _of("sh"), ids=_id)
def test_commands_parse(block: Block) -> None:
    """Shell blocks parse, and each `make` target that they name exists."""
    done = subprocess.run(["sh", "-n"], input=block.text.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=10, check=False)
    assert done.returncode == 0, done.stdout.decode()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    assert set(re.findall(r"^make ([a-z-]+)", block.text, re.M)) <= targets
