"""Reading configuration files."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Callable, Tuple

import pytest

from legacy_plugins.config import load_config
from legacy_plugins.config.file_reader import MAX_FILE_BYTES

Faults = Callable[..., Tuple[str, ...]]


@pytest.mark.req("R30")
@pytest.mark.parametrize(("name", "text"), [
    ("a.json", '{"plugins": [{"name": "shop", "command": "/opt/shop"}]}'),
    ("a.yaml", "plugins: [{name: shop, command: /opt/shop}]"),
    ("a.yml", "plugins:\n  - name: shop\n    command: /opt/shop\n"),
    ("a.JSON", '\ufeff{"plugins": [{"name": "shop", "command": "/opt/shop"}]}'),
    ("b.yaml", "\ufeffplugins: [{name: shop, command: /opt/shop}]"),
])
def test_json_and_yaml_say_the_same(tmp_path: Path, name: str, text: str) -> None:
    """The suffix tells the format; a byte order mark is skipped."""
    (tmp_path / name).write_text(text, "utf-8")
    config = load_config(tmp_path / name, environ={})
    assert config.plugins[0].name == "shop"
    assert config.source == str(tmp_path / name)
    assert config.base_dir == str(tmp_path)


@pytest.mark.parametrize("name", ["a.toml", "a", "a.json.bak"])
def test_another_suffix_is_refused(tmp_path: Path, faults: Faults, name: str) -> None:
    """A format is not guessed."""
    (tmp_path / name).write_text("plugins: []")
    (fault,) = faults(tmp_path / name)
    assert fault.startswith(f"{tmp_path / name}: found a name that ends in")
    assert fault.endswith("expected .json, .yaml or .yml")


def test_a_file_that_is_not_there(tmp_path: Path, faults: Faults) -> None:
    """The fault names the file as an absolute path and the reason."""
    assert faults(tmp_path / "a.json") == (f"{tmp_path / 'a.json'}: cannot be read: No such file or directory",)
    assert "cannot be read" in faults("a\0.json")[0]


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_regular_file_is_not_opened(tmp_path: Path, faults: Faults, kind: str) -> None:
    """Opening a pipe would wait for its writer."""
    path = tmp_path / "a.yaml"
    if kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    assert faults(path) == (f"{path}: not a regular file",)


def test_a_large_file_is_refused(tmp_path: Path, faults: Faults) -> None:
    """One byte over the bound is too many; at the bound the file is read."""
    path = tmp_path / "a.json"
    text = '{"plugins": []}'
    path.write_text(text + " " * (MAX_FILE_BYTES - len(text)))
    assert load_config(path, environ={}).plugins == ()
    path.write_text(text + " " * (MAX_FILE_BYTES - len(text) + 1))
    assert faults(path) == (f"{path}: larger than {MAX_FILE_BYTES} bytes",)


@pytest.mark.parametrize("name", ["a.json", "a.yaml"])
def test_only_utf8(tmp_path: Path, faults: Faults, name: str) -> None:
    """The fault tells line and column of the first byte that is not UTF-8."""
    (tmp_path / name).write_bytes('{"plugins": [],\n "é": "'.encode() + b"\xff\"}")
    assert faults(tmp_path / name) == (f"{tmp_path / name}:2:8: not UTF-8",)
