"""The example application joined with its real plugins: the main job, from a synchronisation to the last plugin."""
from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Tuple
from xml.etree import ElementTree

import pytest
from flask import Flask
from flask.testing import FlaskClient

from examples.flask_app.app import create_app
from examples.flask_app.hosting import plugins
from examples.sync_service import demo
from legacy_plugins import PluginHost, signals
from tests.examples.wire import EXAMPLES, ROOT, rust_program

SECONDS = 30.0
BACKUP = "/api/plugins/backup"
NOTIFIER = "/api/plugins/notifier"
REPORT = "/api/plugins/report"
SERVICE = EXAMPLES / "sync_service"

# The plan's own example of a configuration; only its paths differ, and who is trusted is said beside it.
PLAN = """
{"plugins": [{
  "name": "backup-plugin",
  "command": "/opt/plugins/backup-plugin",
  "args": ["--config", "/etc/backup-plugin/config.toml"],
  "cwd": "/opt/plugins/backup-plugin",
  "env": {"LOG_LEVEL": "info", "PLUGIN_TOKEN": "placeholder"},
  "restart": {"enabled": true, "maxRetries": 3, "backoffMs": 2000},
  "rpcTimeoutMs": 5000, "handshakeTimeoutMs": 5000, "shutdownTimeoutMs": 3000,
  "events": {"include": ["SyncStarted", "SyncCompleted"], "exclude": []},
  "allowReverseRpc": false, "routePrefix": "/api/plugins/backup", "enabled": true
}]}
"""


class Heard:
    """What the library's signals said of plugins, for tests to wait on."""

    def __init__(self) -> None:
        self._facts: List[Tuple[str, str, str]] = []
        self._changed = threading.Condition()

    def add(self, kind: str, plugin: str, text: str = "") -> None:
        with self._changed:
            self._facts.append((kind, plugin, text))
            self._changed.notify_all()

    def wait(self, kind: str, plugin: str, text: str = "", times: int = 1) -> None:
        """Wait until the plugin was heard of so often with a text that holds `text`."""
        def enough() -> bool:
            return sum(fact[:2] == (kind, plugin) and text in fact[2] for fact in self._facts) >= times

        with self._changed:
            assert self._changed.wait_for(enough, SECONDS), f"no {kind} {text!r} of {plugin}: {self._facts}"


@pytest.fixture
def heard() -> Iterator[Heard]:
    """Everything that the library's signals say during the test."""
    heard = Heard()

    def on_log(sender: Any, plugin: str, message: str, **extra: Any) -> None:
        heard.add("log", plugin, message)

    def on_ready(sender: Any, plugin: str, **extra: Any) -> None:
        heard.add("ready", plugin)

    def on_restarting(sender: Any, plugin: str, **extra: Any) -> None:
        heard.add("restarting", plugin)

    receivers = ((signals.plugin_log, on_log), (signals.plugin_ready, on_ready),
                 (signals.plugin_restarting, on_restarting))
    for source, receiver in receivers:
        source.connect(receiver)
    yield heard
    for source, receiver in receivers:
        source.disconnect(receiver)


@pytest.fixture(scope="module")
def missing() -> Dict[str, str]:
    """The plugins whose language is not here, with the reason."""
    return demo.missing_languages()


@pytest.fixture
def app(tmp_path: Path, missing: Dict[str, str], heard: Heard, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """The application on folders of the test's own; its plugins are stopped afterwards."""
    monkeypatch.setenv("BACKUP_ROOT", str(tmp_path / "backups"))
    (tmp_path / "data" / "in" / "letters").mkdir(parents=True)
    (tmp_path / "data" / "in" / "a.txt").write_text("alpha", encoding="utf-8")
    (tmp_path / "data" / "in" / "letters" / "ü.txt").write_text("Grüße", encoding="utf-8")
    app = create_app({
        "TESTING": True, "SYNC_INSTANCE": str(tmp_path / "instance"), "SYNC_ROOTS": str(tmp_path / "data"),
        "LEGACY_PLUGINS_CONFIG": str(demo.configuration(missing)),
    })
    yield app
    with app.app_context():
        plugins.host.stop()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser, or curl."""
    return app.test_client()


@pytest.fixture
def need(missing: Dict[str, str]) -> Callable[..., None]:
    """Skip, in so many words, a test that needs a plugin whose language is not here."""
    def check(*names: str) -> None:
        for name in names:
            if name in missing:
                pytest.skip(f"{missing[name]}: {name} not tested")

    return check


def synchronise(client: FlaskClient, **fields: Any) -> Dict[str, Any]:
    """Start a synchronisation of `in` and expect it to succeed."""
    answer = client.post("/sync", json={"source": "in", "target": "out", **fields})
    assert answer.status_code == 200, answer.get_data(as_text=True)
    body: Dict[str, Any] = answer.get_json()
    return body


def problem(answer: Any) -> Mapping[str, Any]:
    """The problem document of an error answer (RFC 9457)."""
    assert answer.mimetype == "application/problem+json"
    document: Mapping[str, Any] = json.loads(answer.get_data(as_text=True))
    return document


@pytest.mark.req("R2", "R16", "R17", "R40", "D6", "D8")
def test_the_main_job(client: FlaskClient, need: Any, heard: Heard, tmp_path: Path) -> None:
    """A synchronisation copies real files; by event the Rust plugin backs them up and the Node plugin lists both
    events in order; the Python plugin's chart draws the new row, which it asked this application for."""
    need("backup-plugin", "notifier")
    done = synchronise(client)
    assert (done["outcome"], done["copied"], done["warnings"]) == ("completed", 2, [])
    assert (tmp_path / "data" / "out" / "letters" / "ü.txt").read_text(encoding="utf-8") == "Grüße"

    heard.wait("log", "backup-plugin", "backed up")
    backups = client.get(f"{BACKUP}/backups").get_json()["backups"]
    assert [(backup["sync"], backup["files"]) for backup in backups] == [(done["id"], 2)]
    entries = client.get(f"{BACKUP}/backups/{backups[0]['id']}").get_json()["entries"]
    assert [entry["path"] for entry in entries] == ["a.txt", "letters/ü.txt"]

    heard.wait("log", "notifier", f"SyncCompleted {done['id']}")
    events = client.get(f"{NOTIFIER}/events").get_json()["events"]
    assert [event["type"] for event in events] == ["SyncStarted", "SyncCompleted"]
    assert events[1]["payload"]["copied"] == 2

    chart = client.get(f"{REPORT}/report.svg")
    assert (chart.status_code, chart.mimetype) == (200, "image/svg+xml")
    drawn = [element for element in ElementTree.fromstring(chart.data).iter() if element.get("class") == "sync"]
    assert [element.get("id") for element in drawn] == [f"sync-{done['id']}"]


@pytest.mark.req("R9", "R42")
def test_the_report_follows_the_history_by_reverse_rpc(client: FlaskClient) -> None:
    """Each synchronisation adds a row, failures too, whatever is in the text; the summary counts them."""
    (client.application.extensions["sync-service"].roots[0] / "in" / "a<&>").mkdir()
    synchronise(client)
    synchronise(client, source="in/a<&>", target="out2")
    assert client.post("/sync", json={"source": "in", "target": "in/a.txt"}).status_code == 400
    chart = ElementTree.fromstring(client.get(f"{REPORT}/report.svg").data)
    titles = [element.text or "" for element in chart.iter() if element.tag.endswith("title")]
    assert len(titles) == 2
    assert "in/a<&>" in titles[0]
    summary = client.get(f"{REPORT}/summary").get_json()
    assert (summary["synchronisations"], summary["copied"], summary["outcomes"]) == (2, 2, {"completed": 2})
    assert len(client.get(f"{REPORT}/report.svg?limit=1").data) < len(client.get(f"{REPORT}/report.svg").data)
    assert client.get(f"{REPORT}/report.svg?limit=x").status_code == 400


@pytest.mark.req("R20", "R21", "R22")
def test_a_body_that_breaks_the_schema_gets_400_with_its_pointer(client: FlaskClient, need: Any) -> None:
    """The plugin never sees it; the answer names the place in the body."""
    need("notifier")
    answer = client.put(f"{NOTIFIER}/settings", json={"types": ["SyncStarted", "Nonsense"]})
    assert answer.status_code == 400
    assert "/types/1" in json.dumps(problem(answer))
    assert client.get(f"{NOTIFIER}/settings").get_json()["types"] == ["SyncCompleted", "SyncFailed"]
    assert client.put(f"{NOTIFIER}/settings", json={"types": ["SyncFailed"]}).get_json()["types"] == ["SyncFailed"]


@pytest.mark.req("R23")
def test_a_route_that_is_not_public_gets_403(client: FlaskClient, need: Any, heard: Heard) -> None:
    """Without an `authorize` hook a backup's files are for nobody, its list and details for all."""
    need("backup-plugin")
    synchronise(client)
    heard.wait("log", "backup-plugin", "backed up")
    backup = client.get(f"{BACKUP}/backups").get_json()["backups"][0]["id"]
    refused = client.get(f"{BACKUP}/backups/{backup}/files/a.txt")
    assert refused.status_code == 403
    assert problem(refused)["plugin"] == "backup-plugin"
    assert client.get(f"{BACKUP}/backups/{backup}").status_code == 200


@pytest.mark.req("R3", "R36", "R37")
def test_a_killed_plugin_comes_back_and_the_others_notice_nothing(client: FlaskClient, app: Flask, need: Any,
                                                                  heard: Heard) -> None:
    """After `kill -9`: 503 with Retry-After, the other two untouched, a synchronisation with a warning, then 200."""
    need("backup-plugin", "notifier")
    assert client.get(f"{BACKUP}/status").status_code == 200
    with app.app_context():
        os.kill(plugins["backup-plugin"].pid, signal.SIGKILL)
        heard.wait("restarting", "backup-plugin")
        refused = client.get(f"{BACKUP}/status")
        assert refused.status_code == 503
        assert 1 <= int(refused.headers["Retry-After"]) <= 3
        assert client.get(f"{NOTIFIER}/events").status_code == 200
        assert client.get(f"{REPORT}/summary").status_code == 200
        assert "backup plugin" in synchronise(client)["warnings"][0]
        heard.wait("ready", "backup-plugin", times=2)
        assert client.get(f"{BACKUP}/status").status_code == 200
        heard.wait("log", "backup-plugin", "backed up")  # the event was kept for it


@pytest.mark.req("R35", "R38")
def test_a_synchronisation_goes_on_without_plugins(client: FlaskClient, app: Flask) -> None:
    """With all plugins stopped the files are copied all the same, and the answer says what was not asked."""
    with app.app_context():
        plugins.host.start()
        for name in plugins.host:
            plugins.host[name].disable()
    done = synchronise(client)
    assert (done["outcome"], done["copied"]) == ("completed", 2)
    assert "could not be asked" in done["warnings"][0]


def test_the_home_page_shows_synchronisations_and_plugins(client: FlaskClient, heard: Heard) -> None:
    """The page lists what was done and the state of each plugin, and shows the report."""
    synchronise(client)
    heard.wait("ready", "report")
    page = client.get("/").get_data(as_text=True)
    for expected in ('id="sync-1"', 'id="plugin-backup-plugin"', 'id="plugin-notifier"', 'id="plugin-report"',
                     'src="/api/plugins/report/report.svg"', 'class="badge ready"', 'class="badge completed"'):
        assert expected in page


def test_the_home_page_links_to_plugins_that_are_enabled(client: FlaskClient, app: Flask, need: Any) -> None:
    """Backups and events are one click away; a plugin that is disabled has no link."""
    need("backup-plugin", "notifier")
    links = [f'<a href="{BACKUP}/backups">', f'<a href="{NOTIFIER}/events">']
    page = client.get("/").get_data(as_text=True)
    assert [link in page for link in links] == [True, True]
    with app.app_context():
        plugins["notifier"].disable()
    page = client.get("/").get_data(as_text=True)
    assert [link in page for link in links] == [True, False]


def test_the_form_redirects_to_the_page_and_shows_faults_on_it(client: FlaskClient) -> None:
    """A browser's form leads back to the page, or to the page with the reason."""
    good = client.post("/sync", data={"source": "in", "target": "out"})
    assert (good.status_code, good.headers["Location"].endswith("/")) == (303, True)
    bad = client.post("/sync", data={"source": "<b>", "target": "out"})
    assert bad.status_code == 400
    assert "&lt;b&gt; is not a folder" in bad.get_data(as_text=True)


@pytest.mark.parametrize(("body", "status"), [
    ({"source": "in"}, 400), ([], 400), ({"source": "in", "target": 5}, 400), ({"source": "in", "target": "in/x"}, 400),
    ({"source": "in", "target": "out", "delete": "yes"}, 400), ({"source": "none", "target": "out"}, 400),
    ({"source": "/etc", "target": "out"}, 403), ({"source": "in", "target": "../x"}, 403),
])
def test_wrong_requests_are_refused_with_a_reason(client: FlaskClient, body: Any, status: int) -> None:
    """What cannot be done is said in JSON, and nothing is recorded."""
    answer = client.post("/sync", json=body)
    assert answer.status_code == status
    assert answer.get_json()["error"]
    assert client.get("/syncs").get_json() == {"synchronisations": []}


@pytest.mark.parametrize("headers", [{"Origin": "https://example.org"}, {"Sec-Fetch-Site": "cross-site"}])
def test_pages_of_other_sites_cannot_start_anything(client: FlaskClient, headers: Dict[str, str]) -> None:
    """A form on another site that a visitor's browser sends here is refused."""
    answer = client.post("/sync", data={"source": "in", "target": "out"}, headers=headers)
    assert answer.status_code == 403
    assert client.post("/sync", data={"source": "in", "target": "out"},
                       headers={"Origin": "http://localhost"}).status_code == 303


def test_health_names_every_plugin(client: FlaskClient) -> None:
    """GET /healthz is 200 as long as no required plugin is missing; GET /syncs has the record."""
    health = client.get("/healthz")
    assert health.status_code == 200
    assert set(health.get_json()["plugins"]) == {"backup-plugin", "notifier", "report"}
    synchronise(client)
    assert client.get("/syncs?limit=1").get_json()["synchronisations"][0]["outcome"] == "completed"


@pytest.mark.req("R10", "R27", "R30", "R33", "R40")
def test_the_plans_own_configuration_works_unchanged(tmp_path: Path, heard: Heard) -> None:
    """The example of the plan runs as it is written but for its paths, and for the trust that is said beside it."""
    executable = rust_program(SERVICE / "plugins" / "backup-plugin", "the plan's own configuration")
    config = tmp_path / "config.toml"
    config.write_text(f"root = '{tmp_path / 'backups'}'\n", encoding="utf-8")
    text = PLAN.replace('"/opt/plugins/backup-plugin",\n  "env"', json.dumps(str(tmp_path)) + ',\n  "env"')
    text = text.replace('"/opt/plugins/backup-plugin"', json.dumps(str(executable)))
    text = text.replace('"/etc/backup-plugin/config.toml"', json.dumps(str(config)))
    (tmp_path / "folder").mkdir()
    with PluginHost(json.loads(text), trust=[str(executable.parent)]) as host:
        assert host["backup-plugin"].request("backup/freeSpace", {}, timeout=5)["freeBytes"] > 0
        assert host.routes()[0].prefix == "/api/plugins/backup"
        host.broadcast("SyncCompleted", {"id": 1, "target": str(tmp_path / "folder")})
        heard.wait("log", "backup-plugin", "backed up")
    assert str(ROOT) not in text.replace(str(executable), "")
