"""`list`, `check`, `routes` of a host that is a fake."""
from __future__ import annotations

import json
from typing import Any

from legacy_plugins.commands import check, list_plugins, list_routes
from legacy_plugins.config.model import PluginConfig
from legacy_plugins.config.policies import HttpPolicy
from legacy_plugins.host import PluginState
from tests.http.fakes import FakeHost, route


def _host() -> Any:
    public = HttpPolicy(public_routes=("GET /items",))
    host = FakeHost(PluginConfig("shop", "/p", http=public), PluginConfig("idle", "/p"))
    host.declare("shop", route("/items", "GET", "POST", description="Items"), route("/admin", auth=True))
    host.client("idle").state = PluginState.DISABLED
    return host


def test_list() -> None:
    """A row for each plugin; the plugins run for the command alone."""
    host = _host()
    answer = list_plugins(host, as_json=True)
    assert [(row["name"], row["state"]) for row in json.loads(answer.text)] == [("shop", "ready"), ("idle", "disabled")]
    assert answer.exit_code == 0
    assert host.log == [("start", True), ("stop",)]


def test_check() -> None:
    """A disabled plugin is fine, one that did not come up is not."""
    host = _host()
    assert check(host, as_json=False).exit_code == 0
    host.client("shop").state = PluginState.FAILED
    answer = check(host, as_json=False)
    assert (answer.exit_code, "failed" in answer.text) == (1, True)
    assert host.log.count(("stop",)) == 2


def test_routes() -> None:
    """As they are served, and which are public for at least one of their methods."""
    answer = list_routes(_host(), as_json=True, prefix=lambda plugin: f"/api/{plugin}")
    items, admin = json.loads(answer.text)
    assert items == {"methods": "GET,POST", "path": "/api/shop/items", "plugin": "shop", "auth": False, "public": True,
                     "description": "Items"}
    assert (admin["public"], admin["auth"]) == (False, True)
    unserved = json.loads(list_routes(_host(), as_json=True, prefix=lambda plugin: None).text)
    assert unserved[0]["path"] == "(not served) /items"
