"""Both demos under their real server, with one worker and with four: the same requests get the same answers.

One user's session is recorded with each framework; what is right is asserted while it is recorded, and the two records
are compared. The two demos of a pair run side by side.
"""
from __future__ import annotations

import html
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Dict, List, Optional, Set, Tuple
from xml.etree import ElementTree

import pytest

from examples.sync_service import demo as launcher
from tests.examples.demos import Answer, Conversation, Demo, alive, wait_for
from tests.examples.wire import ROOT, program

BACKUP = "/api/plugins/backup"
NOTIFIER = "/api/plugins/notifier"
REPORT = "/api/plugins/report"
FRAMEWORKS = ("flask", "django")

# What else an answer is compared by; servers and a framework's middleware add others of their own.
HEADERS = ("content-type", "content-security-policy", "location", "allow", "cache-control")
Record = List[Tuple[str, int, Dict[str, str], Any]]

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("gunicorn") is None, reason="gunicorn is missing: demos not compared"),
    pytest.mark.skipif(importlib.util.find_spec("django") is None, reason="Django is missing: demos not compared"),
    pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no /proc: what the demos leave behind is not seen"),
]


class Session:
    """A user of one demo, whose requests all reach the same worker process, and the record of what was answered."""

    def __init__(self, demo: Demo, ask: Conversation) -> None:
        self.demo = demo
        self.ask = ask
        self.record: Record = []

    def get(self, path: str, **headers: str) -> Answer:
        """A GET, recorded."""
        return self.send("GET", path, **headers)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """A request, recorded with all that both frameworks must answer alike."""
        return self.note(f"{method} {path} {body!r}", path, self.ask(method, path, body, **headers))

    def note(self, request: str, path: str, answer: Answer) -> Answer:
        """Record an answer."""
        fields = {name: self.demo.normalised(answer.headers[name]) for name in HEADERS if name in answer.headers}
        if not path.startswith("/api/plugins/"):
            fields.pop("allow", None)  # Flask knows HEAD and OPTIONS by itself
        self.record.append((self.demo.normalised(request), answer.status, fields, self._shown(answer)))
        return answer

    def _shown(self, answer: Answer) -> Any:
        """The body: JSON parsed, since frameworks differ in spaces; pages as people read them; no redirect's."""
        text = self.demo.normalised(answer.body.decode("utf-8"))
        if "json" in answer.headers.get("content-type", "") and text:
            return json.loads(text)
        return None if 300 <= answer.status < 400 else html.unescape(text).rstrip()


def plugins_start(session: Session) -> None:
    """The first request starts the plugins; each of them answers."""
    for path in (f"{REPORT}/summary", f"{BACKUP}/status", f"{NOTIFIER}/settings"):
        assert session.ask("GET", path).status == 200, session.demo.log
    assert session.get("/healthz").json["plugins"] == {
        "backup-plugin": "ready", "notifier": "ready", "report": "ready"}
    session.get("/")


def synchronisation(session: Session) -> None:
    """Files are copied; the backup is made by event; the notifier saw the events; the report draws the row."""
    data = session.demo.instance / "data"
    done = session.send("POST", "/sync", {"source": "inbox", "target": "mirror"})
    assert (done.status, done.json["copied"], done.json["warnings"]) == (200, 3, [])
    assert (data / "mirror" / "letters" / "first.txt").read_bytes() == b"Dear reader,\n"

    ask = session.ask
    backup = wait_for("a backup by event", lambda: ask("GET", f"{BACKUP}/backups").json["backups"])[0]
    assert (backup["sync"], backup["files"]) == (1, 3)
    session.get(f"{BACKUP}/backups")
    session.get(f"{BACKUP}/backups/{backup['id']}")
    refused = session.get(f"{BACKUP}/backups/{backup['id']}/files/readme.txt")
    assert (refused.status, refused.json["plugin"]) == (403, "backup-plugin")

    wait_for("both events", lambda: len(ask("GET", f"{NOTIFIER}/events").json["events"]) == 2)
    events = session.get(f"{NOTIFIER}/events").json["events"]
    assert [event["type"] for event in events] == ["SyncStarted", "SyncCompleted"]
    chart = session.get(f"{REPORT}/report.svg")
    assert chart.headers["content-type"].startswith("image/svg+xml")
    drawn = [element for element in ElementTree.fromstring(chart.body).iter() if element.get("class") == "sync"]
    assert [element.get("id") for element in drawn] == ["sync-1"]


def plugin_routes(session: Session) -> None:
    """Bodies, methods and paths: what the plugins accept, and what is refused before it reaches them."""
    made = session.send("POST", f"{BACKUP}/backups", {"label": "by hand"})
    assert (made.status, made.headers["location"].rsplit("/", 1)[0]) == (201, "backups")
    bad = session.send("PUT", f"{NOTIFIER}/settings", {"types": ["SyncStarted", "Nonsense"]})
    assert (bad.status, "/types/1" in bad.body.decode()) == (400, True)
    assert session.send("PUT", f"{NOTIFIER}/settings", {"types": ["SyncFailed"]}).json["types"] == ["SyncFailed"]
    for method, path, body, status in (
            ("POST", f"{BACKUP}/backups", {"label": ""}, 400), ("POST", f"{BACKUP}/backups", b"{", 400),
            ("POST", f"{BACKUP}/backups", "label=x", 415), ("DELETE", f"{BACKUP}/backups", None, 405),
            ("GET", f"{BACKUP}/backups/none", None, 404), ("GET", f"{BACKUP}/nothing", None, 404),
            ("GET", "/api/plugins/nobody/", None, 404), ("GET", "/api/plugins/", None, 404),
            ("GET", f"{BACKUP}/%2e%2e/status", None, None), ("GET", f"{BACKUP}//status", None, None),
            ("GET", f"{REPORT}/report.svg?limit=x", None, 400), ("HEAD", f"{REPORT}/report.svg", None, 200),
            ("HEAD", f"{REPORT}/summary", None, 200), ("OPTIONS", f"{BACKUP}/backups", None, 204)):
        answer = session.send(method, path, body)
        assert status is None or answer.status == status, (method, path, answer)


def own_pages(session: Session) -> None:
    """The service's own pages: what they refuse, with a reason, and what they show."""
    for body, status in (({"source": "inbox"}, 400), ([], 400), (b"{", 400), (b"[" * 100_000, 400),
                         ({"source": "none", "target": "x"}, 400),
                         ({"source": "/etc", "target": "x"}, 403), ({"source": "inbox", "target": "../x"}, 403)):
        assert session.send("POST", "/sync", body).status == status
    form = "source=inbox&target=mirror"
    assert session.send("POST", "/sync", form, Origin="https://example.org").status == 403
    assert session.send("POST", "/sync", {}, Sec_Fetch_Site="cross-site").status == 403
    assert session.send("POST", "/sync", form).status == 303
    assert session.send("POST", "/sync", "source=<b>'\"&target=x").status == 400
    for path in ("/syncs", "/syncs?limit=1", "/syncs?limit=x", "/healthz"):
        assert session.get(path).status == 200
    wait_for("a backup of it", lambda: len(session.ask("GET", f"{BACKUP}/backups").json["backups"]) == 3)
    for path, status in (("/nothing", 404), ("/sync", 405)):
        assert session.get(path, Content_Type="application/json").status == status


def death_of_a_plugin(session: Session) -> None:
    """After kill -9: 503 with Retry-After while the plugin is away, the others and the service go on, then 200."""
    page = session.get("/").body.decode("utf-8")
    found = re.search(r'id="plugin-backup-plugin">.*?<td class="number">(\d+)</td>', page, re.DOTALL)
    assert found is not None
    os.kill(int(found.group(1)), signal.SIGKILL)
    status = f"{BACKUP}/status"
    refused = wait_for("503 with Retry-After", lambda: _refusal(session.ask("GET", status)))
    session.note("while the plugin is away", status, refused)
    assert refused.json["plugin"] == "backup-plugin"
    assert 1 <= int(refused.headers["retry-after"]) <= 3
    assert session.get(f"{NOTIFIER}/settings").status == session.get(f"{REPORT}/summary").status == 200
    wait_for("the plugin is back", lambda: session.ask("GET", status).status == 200)
    assert session.get(status).status == 200
    session.get("/")


def _refusal(answer: Answer) -> Optional[Answer]:
    """The answer, if it is one of a plugin that waits for its restart; one to a call that died with it is another."""
    return answer if answer.status == 503 and "retry-after" in answer.headers else None


def whoever_answers(demo: Demo) -> None:
    """The record and the backups are files: every worker shows them, whichever of them accepts the connection."""
    for _ in range(3 * demo.workers - 2):
        with demo.converse() as ask:
            assert [sync["id"] for sync in ask("GET", "/syncs").json["synchronisations"]] == [2, 1]
            assert {backup["label"] for backup in ask("GET", f"{BACKUP}/backups").json["backups"]} == {
                "synchronisation 1", "by hand", "synchronisation 2"}


class Played:
    """One demo played from its start to Ctrl-C, on a thread of its own."""

    def __init__(self, framework: str, workers: int, folder: Path) -> None:
        self.demo = Demo(framework, workers, folder / framework)
        self.record: Record = []
        self.left: List[int] = []
        self.error: Optional[BaseException] = None
        self._thread = threading.Thread(target=self._play, name=framework, daemon=True)
        self._thread.start()

    def result(self) -> Played:
        """What came of it; raises what went wrong."""
        self._thread.join()
        if self.error is not None:
            raise AssertionError(f"{self.demo.application}: {self.error!r}\n{self.demo.log}") from self.error
        return self

    def _play(self) -> None:
        try:
            with self.demo:
                self._use()
        except BaseException as error:  # noqa: BLE001  re-raised in the test
            self.error = error

    def _use(self) -> None:
        with self.demo.converse() as ask:
            session = Session(self.demo, ask)
            for scene in (plugins_start, synchronisation, plugin_routes, own_pages, death_of_a_plugin):
                scene(session)
        whoever_answers(self.demo)
        self.record = session.record
        started: Set[Tuple[int, str]] = self.demo.processes()
        self.demo.interrupt()
        wait_for("all processes are gone", lambda: not alive(started))


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.req("R2", "R15", "R23", "R36")
def test_both_demos_answer_alike(workers: int, tmp_path: Path) -> None:
    """Status, header fields and body of each request are the same, and Ctrl-C leaves no process of either."""
    program("node", "that the demos agree")
    missing: Dict[str, str] = launcher.missing_languages()
    if missing:
        pytest.skip("; ".join(missing.values()) + ": that the demos agree not tested")
    flask, django = [played.result() for played in [Played(name, workers, tmp_path) for name in FRAMEWORKS]]
    assert len(flask.record) == len(django.record)
    for ours, theirs in zip(flask.record, django.record):
        assert ours == theirs
    assert (flask.demo.exit_code, django.demo.exit_code) == (0, 0)


def test_both_command_lines_say_the_same(tmp_path: Path) -> None:
    """`flask plugins routes` and `manage.py plugins routes`, from anywhere: the same routes, as they are served."""
    program("node", "that the command lines agree")
    missing: Dict[str, str] = launcher.missing_languages()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "FLASK_APP": "examples.flask_app.app",
                   "LEGACY_PLUGINS_CONFIG": str(launcher.configuration(missing)), "BACKUP_ROOT": str(tmp_path)}
    said = []
    for command in (["-m", "flask"], [str(ROOT / "examples" / "django_app" / "manage.py")]):
        instance = str(tmp_path / str(len(said)))
        done = subprocess.run([sys.executable, *command, "plugins", "routes", "--json"], cwd=str(tmp_path), timeout=100,
                              env={**environment, "SYNC_INSTANCE": instance}, stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        said.append(json.loads(done.stdout))
    assert said[0] == said[1]
    assert f"{REPORT}/report.svg" in [row["path"] for row in said[0]]
