"""A real language server, which knows nothing of plugins: `JsonRpcProcess` drives it from initialize to exit."""
from __future__ import annotations

import importlib.util
import shutil
import sys
import threading
from pathlib import Path
from typing import Any, Dict, List

import pytest

from legacy_plugins.errors import MethodNotFound
from legacy_plugins.rpc import JsonRpcProcess
from tests.plugins.programs import SECONDS, state

SOURCE = "import textwrap\n\n\ntextwrap.ded\n"
SERVER_SECONDS = 60.0  # it starts slowly on a busy machine


def _command() -> List[str]:
    """How to start `pylsp`, or a skip that says what is missing."""
    if importlib.util.find_spec("pylsp") is not None:
        return [sys.executable, "-m", "pylsp"]
    path = shutil.which("pylsp")
    if path is None:
        pytest.skip("pylsp is missing (pip install python-lsp-server): a real language server is not tested")
    return [path]


@pytest.mark.req("R1", "R6", "R7", "R8")
def test_a_language_server(tmp_path: Path) -> None:
    """Initialize, open a file, get its diagnostics and a completion, an error for an unknown method, shutdown, exit."""
    path = tmp_path / "example.py"
    path.write_text(SOURCE)
    diagnosed = threading.Event()
    diagnostics: List[Dict[str, Any]] = []
    with JsonRpcProcess(_command(), cwd=str(tmp_path)) as server:
        @server.on("textDocument/publishDiagnostics")
        def keep(params: Dict[str, Any]) -> None:
            diagnostics.append(params)
            diagnosed.set()

        answer = server.request("initialize", {"processId": None, "rootUri": tmp_path.as_uri(), "capabilities": {}},
                                SERVER_SECONDS)
        assert answer["capabilities"]["completionProvider"]
        server.notify("initialized", {})
        server.notify("textDocument/didOpen", {"textDocument": {
            "uri": path.as_uri(), "languageId": "python", "version": 1, "text": SOURCE}})
        position = {"textDocument": {"uri": path.as_uri()}, "position": {"line": 3, "character": 12}}
        completion = server.submit("textDocument/completion", position, SERVER_SECONDS).result(SERVER_SECONDS)
        assert any(item["label"].startswith("dedent") for item in completion["items"])
        assert diagnosed.wait(SERVER_SECONDS)
        assert diagnostics[0]["uri"] == path.as_uri()
        with pytest.raises(MethodNotFound):
            server.request("no/such/method", {}, SERVER_SECONDS)
        assert server.request("shutdown", None, SERVER_SECONDS) is None
        server.notify("exit")
        assert server._ended.wait(SECONDS)
        assert state(server.pid) is None
        report = server._connection.ended
        assert report is not None
        assert report.fault is None
