"""A plugin on npm's vscode-jsonrpc: a foreign implementation of the same wire works unchanged."""
from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.examples.wire import EXAMPLES, ROOT, Wire, WireError, program

EXAMPLE = EXAMPLES / "vscode_jsonrpc"
TESTED = "the plugin on vscode-jsonrpc"
INSTALL_SECONDS = 90


@pytest.fixture(scope="module")
def plugin() -> Path:
    """The example in a folder below build/ with its one dependency installed there."""
    program("node", TESTED)
    npm = program("npm", TESTED)
    folder = ROOT / "build" / "examples" / "vscode_jsonrpc"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "plugin.js"):
        shutil.copy(str(EXAMPLE / name), str(folder / name))
    if not (folder / "node_modules" / "vscode-jsonrpc").is_dir():
        command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--fetch-retries=1"]
        done = subprocess.run(command, cwd=str(folder), timeout=INSTALL_SECONDS, check=False, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            pytest.skip(f"npm cannot install vscode-jsonrpc here: {TESTED} not tested")
    return folder / "plugin.js"


@pytest.mark.req("R1", "R4", "R6", "R12", "R40")
def test_it_works_unchanged(plugin: Path) -> None:
    """Handshake, a method, an event, an unknown method, shutdown and the end of stdin."""
    with Wire([program("node", TESTED), str(plugin)]) as wire:
        assert wire.handshake("vscode-plugin")["capabilities"] == ["greet"]
        assert wire.request("greet", {"name": "Jürgen"}) == {"greeting": "Hello, Jürgen!", "greeted": 1}
        wire.event("SyncStarted", {}, 1)
        assert wire.log("event SyncStarted")
        with pytest.raises(WireError) as caught:
            wire.request("no/such")
        assert caught.value.code == -32601
        assert wire.request("plugin/shutdown", {"reason": "test"}) is None
        assert wire.end() == 0


def test_it_is_about_twenty_lines() -> None:
    """The example shows how little an existing implementation needs."""
    assert len((EXAMPLE / "plugin.js").read_text(encoding="utf-8").splitlines()) <= 20
