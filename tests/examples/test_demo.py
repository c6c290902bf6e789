"""The demo's launcher: what it prepares, what it leaves out, and that Ctrl-C leaves nothing behind."""
from __future__ import annotations

import importlib.util
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any, Dict, List

import pytest
import yaml

from examples.cargo_build import CargoMissing
from examples.sync_service import demo
from tests.examples.wire import ROOT

SECONDS = 60


@pytest.mark.req("R10")
def test_a_missing_language_disables_its_plugin_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The written configuration differs from the repository's in `enabled` of that plugin and in nothing else."""
    monkeypatch.setattr(demo, "HERE", tmp_path)
    written = yaml.safe_load(demo.configuration({"notifier": "no node"}).read_text(encoding="utf-8"))
    original = yaml.safe_load(demo.PLUGINS.read_text(encoding="utf-8"))
    assert [plugin.pop("enabled", True) for plugin in written["plugins"]] == [True, False, True]
    assert written == original


def test_with_all_languages_the_repositorys_configuration_is_used() -> None:
    """Nothing is written where nothing is missing."""
    assert demo.configuration({}) == demo.PLUGINS


def test_each_missing_language_has_one_line_with_its_command(monkeypatch: pytest.MonkeyPatch,
                                                             capsys: pytest.CaptureFixture[str]) -> None:
    """Without cargo and node the announcement has a line for each that says what to install."""
    def no_cargo(crate: Path) -> Path:
        raise CargoMissing("cargo is not on PATH; install it: apt-get install cargo")

    monkeypatch.setattr(demo, "build", no_cargo)
    monkeypatch.setattr(demo.shutil, "which", lambda name: None)
    missing = demo.missing_languages()
    demo.announce(8000, missing)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("LEFT OUT")]
    assert [re.findall(r"LEFT OUT: ([a-z-]+): .*apt-get install \w+", line) for line in lines] == [
        ["backup-plugin"], ["notifier"]]


@pytest.mark.parametrize(("missing", "shown"), [
    ({}, ["backup/backups", "notifier/events", "report/report.svg"]), ({"notifier": "no node"},
                                                                       ["backup/backups", "report/report.svg"]),
    ({"backup-plugin": "no cargo", "notifier": "no node"}, ["report/report.svg"]),
])
def test_a_plugin_that_is_left_out_is_not_advertised(missing: Dict[str, str], shown: List[str],
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    """The announcement has a URL for each plugin that runs, and for no other."""
    demo.announce(8000, missing)
    assert re.findall(r"curl http://127\.0\.0\.1:8000/api/plugins/(\S+)", capsys.readouterr().out) == shown


def test_sample_data_is_made_once(tmp_path: Path) -> None:
    """The first run has something to synchronise; what a user did with it since is left alone."""
    demo.sample_data(tmp_path / "inbox")
    assert (tmp_path / "inbox" / "letters" / "first.txt").is_file()
    (tmp_path / "inbox" / "readme.txt").unlink()
    demo.sample_data(tmp_path / "inbox")
    assert not (tmp_path / "inbox" / "readme.txt").exists()


def test_a_port_in_use_is_seen() -> None:
    """A port that somebody listens on is not free."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert not demo.port_is_free(taken.getsockname()[1])


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fetch(port: int, path: str, body: Any = None) -> str:
    """One HTTP request to the demo."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return str(answer.read().decode("utf-8"))


@pytest.mark.req("R3", "R15")
@pytest.mark.skipif(importlib.util.find_spec("gunicorn") is None, reason="gunicorn is missing: the demo is not tested")
@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="os.pidfd_open is missing: Ctrl-C is not tested")
def test_ctrl_c_leaves_no_process(tmp_path: Path) -> None:
    """The demo serves its page with running plugins; after Ctrl-C the server, its worker and all plugins are gone."""
    port = free_port()
    environment = dict(os.environ, SYNC_ROOTS=str(tmp_path), PYTHONUNBUFFERED="1")
    command = [sys.executable, "-m", "examples.sync_service.demo", "flask", "--port", str(port)]
    with subprocess.Popen(command, cwd=str(ROOT), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          start_new_session=True, encoding="utf-8") as demo_process:
        try:
            assert demo_process.stdout is not None
            for line in demo_process.stdout:
                if "Booting worker" in line:
                    break
            (tmp_path / "mine").mkdir()
            (tmp_path / "mine" / "file").write_bytes(b"x")
            folders = {"source": str(tmp_path / "mine"), "target": str(tmp_path / "copy")}
            done = json.loads(fetch(port, "/sync", folders))
            assert done["copied"] == 1
            assert json.loads(fetch(port, "/api/plugins/report/summary"))["newest"] == done["id"]
            pids = [int(pid) for pid in re.findall(r'<td class="number">(\d{2,})</td>\s*<td class="number">0</td>',
                                                   fetch(port, "/").split("Plugins of this worker")[1])]
            assert pids
            watched: List[int] = [os.pidfd_open(pid) for pid in pids]
            os.killpg(demo_process.pid, signal.SIGINT)
            assert demo_process.wait(9) == 0, "the worker had to be killed"
            for descriptor in watched:
                assert select.select([descriptor], [], [], SECONDS)[0], "a plugin is still running"
                os.close(descriptor)
        finally:
            if demo_process.poll() is None:
                demo_process.kill()
