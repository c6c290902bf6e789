"""Flask's own tutorial application with the extension added: its own test-suite passes, and its login guards a plugin.

The application is the `examples/tutorial` of Flask's source distribution, in the release that is installed. It is
fetched with pip into `.venv/downloads/` of the checkout, once; nothing of it is part of this repository.
"""
from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from importlib import metadata
from pathlib import Path
from typing import List

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOWNLOADS = ROOT / ".venv" / "downloads"
SECONDS = 110

# What somebody who adds the extension to the tutorial writes: a module, and two lines in the factory.
MODULE = '''
"""Plugins, for those who are logged in."""
import os

from flask import g, redirect, url_for

from legacy_plugins.integrations.flask import LegacyPlugins

plugins = LegacyPlugins(config=os.path.join(os.path.dirname(__file__), "plugins.yaml"))

@plugins.authorize
def members_only(request, plugin, route):
    if g.user is None:
        return redirect(url_for("auth.login"))
    return {"id": str(g.user["id"]), "name": g.user["username"]}
'''

CONFIGURATION = """
trust: {directories: [.], commands: [python]}
plugins:
  - {name: words, command: python, args: [words.py], env: {PYTHONPATH: "%s"}, handshakeTimeoutMs: 30000}
"""

PLUGIN = '''
from legacy_plugins.sdk import Plugin

plugin = Plugin("words", version="1.0")

@plugin.route("/count", methods=["POST"], auth=True)
def count(request):
    return {"words": len(request.text.split()), "user": request.user, "cookie": request.headers.get("cookie")}

plugin.run()
'''

TESTS = '''
import pytest

PATH = "/api/plugins/words/count"

@pytest.fixture(autouse=True)
def stop(app):
    yield
    app.extensions["legacy_plugins"].host.stop()

def test_strangers_are_sent_to_the_login(client):
    answer = client.post(PATH, data="one two", content_type="text/plain")
    assert (answer.status_code, answer.headers["Location"].endswith("/auth/login")) == (302, True)

def test_members_reach_the_plugin(client, auth):
    auth.login()
    answer = client.post(PATH, data="one two", content_type="text/plain")
    assert answer.get_json() == {"words": 2, "user": {"id": "1", "name": "test"}, "cookie": None}
    auth.logout()
    assert client.post(PATH).status_code == 302
'''


def _source() -> Path:
    """Flask's source distribution; a skip where it cannot be had."""
    version = metadata.version("flask")
    folder = DOWNLOADS / f"flask-{version}"
    if not list(folder.glob("*.tar.gz")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input",
                   "--no-deps", "--no-binary", "Flask", "--dest", str(folder), f"Flask=={version}"]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                                  timeout=SECONDS, encoding="utf-8", errors="replace")
            reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        except subprocess.TimeoutExpired:
            reason = f"pip took more than {SECONDS} s"
        if not list(folder.glob("*.tar.gz")):
            pytest.skip(f"the source of Flask {version} cannot be fetched ({reason}): its tutorial is not tested")
    return next(folder.glob("*.tar.gz"))


def _unpack(archive: Path, folder: Path) -> Path:
    """The tutorial's folder, out of the archive."""
    with tarfile.open(str(archive)) as source:
        members = [member for member in source.getmembers() if "/examples/tutorial/" in member.name]
        if hasattr(tarfile, "data_filter"):
            source.extractall(str(folder), members, filter="data")
        else:
            source.extractall(str(folder), members)
    return next(folder.glob("*/examples/tutorial"))


@pytest.fixture
def tutorial(tmp_path: Path) -> Path:
    """The tutorial with the extension added."""
    folder = _unpack(_source(), tmp_path)
    factory = folder / "flaskr" / "__init__.py"
    code = factory.read_text(encoding="utf-8")
    assert code.count("    return app\n") == 1
    added = "    from .plugins import plugins\n\n    plugins.init_app(app)\n    return app\n"
    factory.write_text(code.replace("    return app\n", added), encoding="utf-8")
    (folder / "flaskr" / "plugins.py").write_text(MODULE, encoding="utf-8")
    (folder / "flaskr" / "plugins.yaml").write_text(CONFIGURATION % ROOT, encoding="utf-8")
    (folder / "flaskr" / "words.py").write_text(PLUGIN, encoding="utf-8")
    return folder


def _pytest(folder: Path) -> List[str]:
    """Run the tutorial's tests as its reader does, with pytest alone; the names of those that passed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
                   "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run([sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider"], cwd=str(folder),
                          env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False, timeout=SECONDS, encoding="utf-8")
    assert done.returncode == 0, done.stdout
    return re.findall(r"^tests/(.+) PASSED", done.stdout, re.MULTILINE)


@pytest.mark.req("D7", "D8", "R23")
def test_flasks_tutorial_passes_its_own_tests(tutorial: Path) -> None:
    """Every test of the tutorial passes beside the extension, and its login guards the plugin's route."""
    (tutorial / "tests" / "test_plugins.py").write_text(TESTS, encoding="utf-8")
    passed = _pytest(tutorial)
    ours = [name for name in passed if name.startswith("test_plugins.py")]
    assert len(ours) == 2
    assert len(passed) - len(ours) >= 20, passed
    assert {name.partition("::")[0] for name in passed} == {path.name for path in tutorial.glob("tests/test_*.py")}
