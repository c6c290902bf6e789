"""The application: found by its package's name, without models, and starting nothing."""
from __future__ import annotations

import subprocess
import sys

from django.apps import apps

SCRIPT = """
import sys, threading
from legacy_plugins.integrations.django import plugins   # before there are settings
from blinker import signal

plugins.connect(signal("Early"))
plugins.authorize(lambda request, plugin, route: True)
plugins.service("early")(lambda params, caller: None)
from django.conf import settings
settings.configure(INSTALLED_APPS=["legacy_plugins.integrations.django"], LEGACY_PLUGINS={"CONFIG": "/nowhere.yaml"})
import django
django.setup()
assert threading.active_count() == 1, threading.enumerate()
assert "subprocess" not in sys.modules or not __import__("subprocess")._active
assert plugins._made == []
print("inert")
"""


def test_the_application() -> None:
    """Installed by its package's name; no model, so no migration."""
    config = apps.get_app_config("legacy_plugins")
    assert (config.name, config.verbose_name) == ("legacy_plugins.integrations.django", "Plugins")
    assert list(config.get_models()) == []


def test_nothing_happens_at_set_up() -> None:
    """Registrations come before settings; set-up reads no configuration, and starts no thread and no process."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", SCRIPT], stdin=subprocess.DEVNULL, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.stdout.decode().strip() == "inert"
