"""The system checks: each fault has an id and a hint, and none is looked for by starting something."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List

import pytest
from django.core.checks import ERROR, WARNING, registry, run_checks
from django.test import override_settings
from django.urls import include, path

from legacy_plugins.integrations.django import checks, plugins
from legacy_plugins.integrations.django.settings import KEYS
from tests.integrations.django.conftest import ROOT, URLS

INCLUDED = (path("api/plugins/", include(URLS)),)


def _messages(own: Any, **more: Any) -> List[Any]:
    more.setdefault("ROOT_URLCONF", INCLUDED)
    with override_settings(LEGACY_PLUGINS=own, **more):
        found = run_checks(tags=["plugins"])
    for message in found:
        assert message.hint
        assert message.id.startswith("legacy_plugins.")
        assert message.level == (ERROR if message.id.startswith("legacy_plugins.E") else WARNING)
    return list(found)


def _ids(own: Any, **more: Any) -> List[str]:
    return [message.id.rpartition(".")[2] for message in _messages(own, **more)]


def hook(request: Any, plugin: str, route: Any) -> bool:
    """A hook to name."""
    return True


@pytest.fixture(autouse=True)
def no_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    """No `@plugins.authorize` of another test."""
    monkeypatch.setattr(plugins, "_authorize", None)


def test_a_good_project_has_none(config: Dict[str, Any]) -> None:
    """Nothing to say, and nothing was started."""
    with override_settings(LEGACY_PLUGINS={"CONFIG": config}, ROOT_URLCONF=INCLUDED):
        assert run_checks(tags=["plugins"]) == []
        assert not plugins.host.runtime().started
    assert "plugins" in registry.registry.tags_available()


def test_e001_the_setting() -> None:
    """A message for each fault of the setting."""
    assert _ids(None) == ["E001"]
    assert _ids({"CONFG": 1, "START": "now"}) == ["E001"] * 3


def test_e002_the_configuration(tmp_path: Path) -> None:
    """A message for each fault of the configuration, together with those of the setting."""
    broken = {"plugins": [{"name": "A", "command": 7}]}
    messages = _messages({"CONFIG": broken, "START": "now"})
    assert sorted(message.id[-4:] for message in messages) == ["E001", "E002", "E002"]
    (message,) = _messages({"CONFIG": str(tmp_path / "none.json")})
    assert message.id.endswith("E002")
    assert "none.json" in message.hint


@pytest.mark.parametrize("name", ["nowhere.hook", "os.sep", f"{__name__}.missing"])
def test_e003_the_hook(name: str) -> None:
    """It must import, and be a function."""
    assert _ids({"CONFIG": {"plugins": []}, "AUTHORIZE": name}) == ["E003"]
    assert _ids({"CONFIG": {"plugins": []}, "AUTHORIZE": f"{__name__}.hook"}) == []


def test_e004_where_they_are_included(config: Dict[str, Any]) -> None:
    """A prefix with variables, and a routePrefix that lies elsewhere."""
    assert _ids({"CONFIG": config}, ROOT_URLCONF=(path("<slug:x>/", include(URLS)),)) == ["E004"]
    config["plugins"][0]["routePrefix"] = "/elsewhere/shop"
    (message,) = _messages({"CONFIG": config})
    assert (message.id[-4:], "/elsewhere/shop" in message.msg) == ("E004", True)


@pytest.mark.req("R26")
def test_w001_programs_that_may_not_run(config: Dict[str, Any], tmp_path: Path) -> None:
    """Not trusted, or to be written by everybody; trusting it in the setting is enough. A disabled one is not asked."""
    (message,) = _messages({"CONFIG": {**config, "trust": {"commands": ["python"]}}})
    assert (message.id[-4:], "trust.directories" in message.msg) == ("W001", True)
    assert "['TRUST']" in message.hint
    trusted = {"CONFIG": {**config, "trust": {"commands": ["python"]}}, "TRUST": [str(tmp_path / "plugins")]}
    assert _ids(trusted) == []
    (tmp_path / "plugins" / "shop.py").chmod(0o666)
    (message,) = _messages({"CONFIG": config})
    assert (message.id[-4:], "chmod o-w" in message.msg) == ("W001", True)
    assert "TRUST" not in message.hint, "trust does not help where others may write the file"
    config["plugins"][0]["enabled"] = False
    assert _ids({"CONFIG": config}) == []


def test_w002_programs_that_cannot_run(config: Dict[str, Any]) -> None:
    """Missing ones; one with another checksum than it should have may not run (W001)."""
    config["plugins"].append({"name": "gone", "command": "/nowhere/plugin", "http": {"publicRoutes": ["*"]}})
    config["plugins"][0]["sha256"] = "0" * 64
    changed, gone = _messages({"CONFIG": config})
    assert (changed.id[-4:], "sha256" in changed.msg) == ("W001", True)
    assert (gone.id[-4:], "/nowhere/plugin" in gone.msg) == ("W002", True)


def test_w003_a_trust_that_is_off(config: Dict[str, Any]) -> None:
    """`trust.permissions: off` is told at each check."""
    config["trust"]["permissions"] = "off"
    assert _ids({"CONFIG": config}) == ["W003"]


def test_w004_urls_that_are_not_included(config: Dict[str, Any]) -> None:
    """A project that forgot them has no routes."""
    (message,) = _messages({"CONFIG": config}, ROOT_URLCONF=(path("x/", include([])),))
    assert (message.id[-4:], URLS in message.hint) == ("W004", True)


@pytest.mark.req("R23")
def test_w005_routes_that_nobody_may_call(config: Dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a hook, a plugin without public routes has only closed ones; a hook of either kind is enough."""
    config["plugins"][0]["http"]["publicRoutes"] = []
    (message,) = _messages({"CONFIG": config})
    assert (message.id[-4:], "shop" in message.msg) == ("W005", True)
    assert _ids({"CONFIG": config, "AUTHORIZE": f"{__name__}.hook"}) == []
    monkeypatch.setattr(plugins, "_authorize", hook)
    assert _ids({"CONFIG": config}) == []


@pytest.mark.parametrize(("options", "expected"), [
    ({}, ["W006"]), ({b"master": True}, ["W006"]), ({b"enable-threads": True}, []), ({"threads": b"4"}, []),
])
def test_w006_a_server_without_threads(monkeypatch: pytest.MonkeyPatch, options: Any, expected: List[str]) -> None:
    """uWSGI without --enable-threads never runs the library's."""
    monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(opt=options))
    assert _ids({"CONFIG": {"plugins": []}}) == expected


def test_the_page_has_every_check_and_every_key() -> None:
    """docs/django.md lists what there is, and nothing else."""
    page = (ROOT / "docs" / "django.md").read_text("utf-8")
    source = Path(checks.__file__).read_text("utf-8")
    ids = set(re.findall(r'"([EW]\d{3})"', source))
    assert re.findall(r"^\| `legacy_plugins\.(\w+)` \|", page, re.M) == sorted(ids)
    table = page.split("| key of `LEGACY_PLUGINS`")[1].split("\n\n")[0]
    assert re.findall(r"^\| `([A-Z]+)` \|", table, re.M) == list(KEYS)


PROJECT = """
import sys
from django.conf import settings
from django.core.management import execute_from_command_line

urlpatterns = []
settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="x", INSTALLED_APPS=["legacy_plugins.integrations.django"],
                   LEGACY_PLUGINS={"CONFIG": "plugins.yaml", "START": "now"})
execute_from_command_line(["manage.py", *sys.argv[1:]])
"""


@pytest.mark.parametrize(("arguments", "status", "words"), [
    (["check"], 1, ["legacy_plugins.E001", "HINT", "relative path", "'now'"]),
    (["plugins", "check"], 1, ["configuration has faults", "relative path", "'now'"]),
    (["plugins", "list", "--json"], 1, ["configuration has faults"]),
    (["plugins"], 2, ["usage"]), (["plugins", "frobnicate"], 2, ["frobnicate"]),
])
def test_a_whole_project_from_its_command_line(tmp_path: Path, arguments: List[str], status: int,
                                               words: List[str]) -> None:
    """All faults as text and an exit code, never a traceback."""
    (tmp_path / "manage.py").write_text(PROJECT)
    done = subprocess.run([sys.executable, "-W", "error", "manage.py", *arguments], cwd=tmp_path, timeout=60,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    text = done.stdout.decode()
    assert done.returncode == status, text
    assert "Traceback" not in text
    assert all(word in text for word in words), text
