"""A vendor's program that speaks the framing and knows nothing of plugins: a language server under a host."""
from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from legacy_plugins import PluginHost, PluginState

pytestmark = pytest.mark.skipif(importlib.util.find_spec("pylsp") is None,
                                reason="pylsp is missing (pip install python-lsp-server): no vendor's server is tested")


@pytest.mark.req("R1", "R15")
def test_a_language_server_runs_without_a_handshake(tmp_path: Path) -> None:
    """With `handshake: none` it is ready once it runs, answers its methods, gets no events, and is stopped by EOF."""
    host = PluginHost({
        "trust": {"commands": [{"argv": ["python", "-m", "pylsp"]}], "permissions": "off"},
        "plugins": [{"name": "pylsp", "command": "python", "args": ["-m", "pylsp"], "handshake": "none"}],
    })
    with host:
        client = host["pylsp"]
        assert client.state is PluginState.READY
        answer = client.request("initialize", {"processId": None, "rootUri": tmp_path.as_uri(), "capabilities": {}},
                                timeout=60)
        assert answer["capabilities"]["hoverProvider"] is True
        assert host.broadcast("SyncStarted").filtered == ("pylsp",)
        assert client.request("shutdown", timeout=60) is None
        client.stop(timeout=30)
        assert client.state is PluginState.STOPPED
    assert client.last_crash is None
