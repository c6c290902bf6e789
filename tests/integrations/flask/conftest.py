"""A plugin that really runs, for what only the real host can show."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest
from flask import Flask

ROOT = Path(__file__).resolve().parents[3]

SHOP = '''
"""Answers a route and two methods, and asks the host."""
import os, queue
from legacy_plugins.sdk import Plugin

plugin = Plugin("shop", version="1.0")
seen = queue.Queue()

@plugin.route("/items/{id}", methods=["GET", "POST"], description="One item")
def item(request):
    return {"id": request.path_params["id"], "user": request.user, "pid": os.getpid()}

@plugin.method("shop/add")
def add(params):
    return sum(params)

@plugin.method("shop/ask")
def ask(params):
    return plugin.host.request("app/name", params)

@plugin.method("shop/seen")
def event(params):
    return seen.get(timeout=4)

@plugin.on("*")
def remember(event):
    seen.put([event.type, event.payload])

plugin.run()
'''


@pytest.fixture
def config(tmp_path: Path) -> Dict[str, Any]:
    """A configuration with the plugin `shop`, open to everybody."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "shop.py").write_text(SHOP)
    return {"trust": {"directories": [str(folder)], "commands": ["python"]}, "plugins": [{
        "name": "shop", "command": "python", "args": [str(folder / "shop.py")], "env": {"PYTHONPATH": str(ROOT)},
        "allowReverseRpc": True, "http": {"publicRoutes": ["*"]}}]}


@pytest.fixture
def apps() -> Iterator[List[Flask]]:
    """Applications whose plugins are stopped when the test ends."""
    made: List[Flask] = []
    yield made
    for app in made:
        state = app.extensions.get("legacy_plugins")
        if state is not None:
            state.host.stop()
