"""What the example's service answers on the web, without a framework and without plugins."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Optional

import pytest

from examples.sync_service import answers
from examples.sync_service.service import Service
from examples.sync_service.settings import PLUGINS, from_environment, open_service
from legacy_plugins import PluginHost, errors


class Absent:
    """Plugins that are all down."""

    def __getitem__(self, name: str) -> Any:
        raise errors.PluginUnavailable(name)


class Answering:
    """A backup plugin that gives one answer."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def __getitem__(self, name: str) -> Answering:
        return self

    def request(self, method: str, params: Any, timeout: float) -> Any:
        """The answer."""
        return self._answer


@pytest.fixture
def service(tmp_path: Path) -> Service:
    """A service whose only root is the default one, with a folder to synchronise."""
    service = open_service(str(tmp_path), "")
    (tmp_path / "data" / "in").mkdir()
    (tmp_path / "data" / "in" / "file").write_bytes(b"x" * 2000)
    return service


@pytest.mark.parametrize(("plugins", "warning"), [
    (Absent(), "could not be asked"), (Answering({"freeBytes": 1999}), "have room for 1999 bytes"),
    (Answering({}), "no sensible answer"), (Answering({"freeBytes": 2000}), None),
])
def test_a_synchronisation_warns_and_goes_on(service: Service, plugins: Any, warning: Optional[str]) -> None:
    """Whatever the backup plugin says of its room, or says nothing, the files are copied."""
    body, status = answers.synchronise(service, plugins, {"source": "in", "target": "out"})
    assert (status, body["outcome"], body["bytes"]) == (200, "completed", 2000)
    assert [warning in text for text in body["warnings"]] == ([] if warning is None else [True])


@pytest.mark.parametrize(("limit", "expected"), [
    (None, 3), ("2", 2), ("0", 1), ("-1", 3), ("x", 3), ("9" * 9, 3), ("9" * 5000, 3),
])
def test_the_limit_of_the_list(service: Service, limit: Optional[str], expected: int) -> None:
    """1 to 1000; what is no number is as if nothing had been said."""
    for _ in range(3):
        service.run(*service.folders("in", "out"))
    assert len(answers.newest(service, limit)["synchronisations"]) == expected


@pytest.mark.parametrize(("headers", "foreign"), [
    ({}, False), ({"origin": "http://host:8000"}, False), ({"fetch_site": "same-origin"}, False),
    ({"fetch_site": "none"}, False), ({"origin": "http://host"}, True), ({"origin": "null"}, True),
    ({"fetch_site": "cross-site"}, True), ({"fetch_site": "same-site"}, True),
])
def test_pages_of_other_sites_are_told_from_programs(headers: Dict[str, str], foreign: bool) -> None:
    """A browser says where a page came from; a program says nothing."""
    given: Dict[str, Optional[str]] = {"origin": None, "fetch_site": None, **headers}
    assert answers.is_foreign("host:8000", given["origin"], given["fetch_site"]) is foreign


def test_the_home_page_has_text_for_everything(service: Service) -> None:
    """Sizes and times for people; a plugin that has not started yet has neither a pid nor a version."""
    service.run(*service.folders("in", "out"))
    host = PluginHost({"plugins": [{"name": "notifier", "command": "node"},
                                   {"name": "backup-plugin", "command": "/nowhere", "enabled": False}],
                       "trust": {"commands": ["node"], "directories": ["/nowhere"]}})
    page = answers.home(service, host, "/api/plugins", "a fault")
    assert (page["syncs"][0]["size"], page["syncs"][0]["when"][10]) == ("2.0 KiB", " ")
    assert [(row["name"], row["pid"], row["version"]) for row in page["plugins"]] == [
        ("notifier", "", ""), ("backup-plugin", "", "")]
    assert [link["plugin"] for link in page["pages"]] == ["notifier"]
    assert (page["fault"], page["roots"]) == ("a fault", [str(root) for root in service.roots])


def test_settings_have_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any variable the application runs on a folder beside the service, with the repository's plugins."""
    for name in ("SYNC_INSTANCE", "SYNC_ROOTS", "LEGACY_PLUGINS_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    assert from_environment() == {"SYNC_INSTANCE": str(PLUGINS.with_name("instance")), "SYNC_ROOTS": "",
                                  "LEGACY_PLUGINS_CONFIG": str(PLUGINS)}
    monkeypatch.setenv("SYNC_ROOTS", "/a:/b")
    assert from_environment()["SYNC_ROOTS"] == "/a:/b"
