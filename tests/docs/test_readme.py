"""The first screen of the README, run as its reader would run it: configuration, plugin, application, and a death."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, files, lay_out

README = ROOT / "README.md"
READER = """
import os
import signal
import threading
from app import app, plugins
from legacy_plugins import signals

browser = app.test_client()
with app.app_context():
    greeter = plugins["greeter"]

def page():
    answer = browser.get("/Ada")
    assert answer.mimetype == "application/json", answer.mimetype  # so that no visitor's text is markup
    return answer.get_json()

assert page() == {"text": "Hello Ada, says a process of its own"}, page()
route = browser.get("/api/plugins/greeter/greetings/Ada")
assert route.status_code == 200, route.get_data()
assert route.get_json() == {"greeting": "Hello Ada, says a process of its own"}

first = greeter.pid
back = threading.Event()
signals.plugin_ready.connect(lambda host, **extra: back.set(), weak=False)
os.kill(first, signal.SIGKILL)
without = page()
assert without["text"] == "Hello Ada" and without["without"].startswith("Plugin"), without

assert back.wait(20)
assert greeter.pid != first
assert page() == {"text": "Hello Ada, says a process of its own"}
print("survived")
"""


@pytest.mark.req("R1", "R3", "D7", "D8")
def test_the_application_survives_its_plugin(tmp_path: Path) -> None:
    """The three files of the README work: the page answers before, during and after the plugin's death."""
    lay_out(README, tmp_path)
    done = subprocess.run([sys.executable, "-W", "error", "-c", READER], cwd=tmp_path, stdin=subprocess.DEVNULL,
                          env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=100, check=False)
    assert done.returncode == 0, done.stdout.decode()
    assert b"survived" in done.stdout


def test_the_first_screen_is_short() -> None:
    """Configuration, plugin and application have about ten lines each."""
    shown = files(README)
    assert sorted(shown) == ["app.py", "plugins.yaml", "plugins/greeter.py"]
    for name, text in shown.items():
        assert len([line for line in text.splitlines() if line.strip()]) <= 11, name
