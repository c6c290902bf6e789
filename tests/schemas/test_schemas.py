"""The schema files and their validators."""
from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, List

import pytest
import referencing.exceptions
from jsonschema import Draft202012Validator

from legacy_plugins import schemas

FOLDER = Path(schemas.__file__).parent
NAMES = sorted(path.name[:-len(".schema.json")] for path in FOLDER.glob("*.schema.json"))


def test_there_are_schemas() -> None:
    """The tests below have something to look at."""
    assert "config" in NAMES


@pytest.mark.req("R39")
@pytest.mark.parametrize("name", NAMES)
def test_each_is_a_valid_schema(name: str) -> None:
    """Of JSON Schema 2020-12, with a name of its own that is no address."""
    schema = schemas.load(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"].startswith("urn:")


def test_identities_are_unique() -> None:
    """No two files have one `$id`."""
    identities = [schemas.load(name)["$id"] for name in NAMES]
    assert len(set(identities)) == len(identities)


def test_a_loaded_schema_is_the_callers_own() -> None:
    """Changing one changes no other, nor the validator."""
    schema = schemas.load("config")
    schema.clear()
    assert schemas.load("config")["title"]
    assert schemas.validator("config").is_valid({"plugins": []})
    assert not schemas.validator("config").is_valid({})


def test_a_validator_is_made_once() -> None:
    """Compiling it takes time, and it has no state."""
    assert schemas.validator("config") is schemas.validator("config")


@pytest.mark.parametrize("name", ["nothing", "", "../config/nothing"])
def test_an_unknown_name(name: str) -> None:
    """The error says which."""
    with pytest.raises(LookupError, match="there is no schema"):
        schemas.load(name)


@pytest.mark.parametrize("reference", ["http://127.0.0.1:9/x.json", "https://schema.invalid/x", "urn:other", "x.json"])
def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch, reference: str) -> None:
    """A reference that leaves its file fails without touching the network."""
    attempts: List[Any] = []
    monkeypatch.setattr(schemas, "load", lambda name: {"$ref": reference})
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args: attempts.append(args))
    monkeypatch.setattr(socket.socket, "connect", lambda *args: attempts.append(args))
    with pytest.raises(referencing.exceptions.Unresolvable):
        schemas.validator.__wrapped__("any").is_valid({})
    assert attempts == []


def test_a_zipped_package_has_its_schemas(tmp_path: Path) -> None:
    """Nothing depends on files lying about; `load` alone needs the standard library only."""
    copy = tmp_path / "tree" / "legacy_plugins" / "schemas"
    shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy.parent / "__init__.py").write_text("")
    archive = tmp_path / "package.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in copy.parent.rglob("*.*"):
            file.write(path, path.relative_to(tmp_path / "tree"))
    code = ("import json, sys\n"
            f"sys.path.insert(0, {str(archive)!r})\n"
            "from legacy_plugins import schemas\n"
            f"assert schemas.__file__.startswith({str(archive)!r})\n"
            "print(json.dumps(schemas.load('config')))\n")
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          timeout=60, check=True)
    assert json.loads(done.stdout) == schemas.load("config")
