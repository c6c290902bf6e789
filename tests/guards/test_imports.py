"""What importing may do: nothing but define names. Each check runs in an interpreter of its own."""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONVERSATION = Path(__file__).with_name("sdk_conversation.py")
HOST_DEPENDENCIES = {"jsonschema", "referencing", "yaml", "blinker", "flask", "werkzeug", "django"}

PROBE = """
import atexit, json, os, signal, sys, threading
def facts():
    return {"descriptors": sorted(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else [],
            "threads": threading.active_count(),
            "handlers": [str(signal.getsignal(number)) for number in signal.valid_signals()],
            "environment": dict(os.environ), "folder": os.getcwd(), "stdout": id(sys.stdout),
            "hook": str(sys.excepthook), "exit hooks": atexit._ncallbacks()}
import concurrent.futures, logging.handlers, subprocess  # what these do at import is not ours
before = facts()
import @MODULE@
after = facts()
print(json.dumps({"before": before, "after": after, "modules": sorted(sys.modules)}))
"""

MODULES = ["legacy_plugins", "legacy_plugins.sdk", "legacy_plugins.rpc", "legacy_plugins.host", "legacy_plugins.config",
           "legacy_plugins.http", "legacy_plugins.signals", "legacy_plugins.testing",
           "legacy_plugins.integrations.flask"]


def _import(module: str) -> Dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", PROBE.replace("@MODULE@", module)], cwd=ROOT, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, timeout=60, check=True)
    result: Dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("module", MODULES)
def test_importing_starts_nothing(module: str) -> None:
    """An import starts no thread, opens no descriptor, sets no handler and changes nothing of the process."""
    facts = _import(module)
    assert facts["before"] == facts["after"]


@pytest.mark.parametrize("module", ["legacy_plugins", "legacy_plugins.sdk", "legacy_plugins.rpc",
                                    "legacy_plugins.errors", "legacy_plugins.transport", "legacy_plugins.protocol"])
def test_importing_loads_no_host_dependency(module: str) -> None:
    """The front door and the floors that a plugin uses load neither jsonschema nor yaml, blinker or a framework."""
    modules = set(_import(module)["modules"])
    assert module in modules
    assert modules & HOST_DEPENDENCIES == set()


@pytest.mark.req("D1")
def test_the_host_loads_no_framework() -> None:
    """A host that is used without a web edge does not load one, and never an event loop."""
    assert set(_import("legacy_plugins.host")["modules"]) & {"flask", "werkzeug", "django", "asyncio"} == set()


def test_every_public_name_is_there() -> None:
    """Each name that the package lists can be had from its front door, and from `import *`."""
    code = ("import legacy_plugins\n"
            "for name in legacy_plugins.__all__: getattr(legacy_plugins, name)\n"
            "assert set(legacy_plugins.__all__) <= set(dir(legacy_plugins))\n"
            "from legacy_plugins import *\n"
            "print(*sorted(legacy_plugins.__all__))\n")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, timeout=60, check=True)
    assert {"PluginHost", "PluginClient", "PluginConfig", "HostConfig", "RestartPolicy", "PluginState", "PluginStatus",
            "signals", "errors", "load_config"} <= set(done.stdout.decode().split())


@pytest.mark.req("R1", "R13")
def test_the_plugin_side_serves_without_the_host_dependencies() -> None:
    """Without jsonschema, yaml and blinker a plugin on the sdk answers its handshake, a call and a route."""
    done = subprocess.run([sys.executable, str(CONVERSATION), "--hide", *sorted(HOST_DEPENDENCIES)], cwd=ROOT,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
    assert done.returncode == 0, done.stdout.decode()
    assert "conversation complete" in done.stdout.decode()
