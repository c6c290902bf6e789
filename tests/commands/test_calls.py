"""`call`: one call of one plugin."""
from __future__ import annotations

import json
from typing import Any

import pytest

from legacy_plugins import errors
from legacy_plugins.commands import WrongUsage, call
from legacy_plugins.config.model import PluginConfig
from tests.http.fakes import FakeHost


def _host(answer: Any) -> FakeHost:
    host = FakeHost(PluginConfig("shop", "/p"))
    host.client("shop").answer = answer
    return host


def test_a_result_is_json() -> None:
    """As it came, readable; params and time-out go to the plugin as they are given."""
    host = _host({"é": 1})
    answer = call(host, "shop", "shop/add", "[1, 2]", 2.5)  # type: ignore[arg-type]
    assert (json.loads(answer.text), "é" in answer.text, answer.exit_code) == ({"é": 1}, True, 0)
    assert [(one.method, one.params, one.timeout) for one in host.calls] == [("shop/add", [1, 2], 2.5)]
    assert host.log == [("start", True), ("stop",)]


def test_nothing_of_a_plugins_moves_the_cursor() -> None:
    """What a terminal would obey is escaped, and the result stays JSON."""
    result = {"a": "\x9b2J \u202e é"}
    answer = call(_host(result), "shop", "shop/add", "null", None)  # type: ignore[arg-type]
    assert "\x9b" not in answer.text
    assert "\u202e" not in answer.text
    assert json.loads(answer.text) == result


def test_failures() -> None:
    """An error passes, and the plugins are stopped; wrong params start none."""
    host = _host(errors.RpcError(-32601, "none"))
    with pytest.raises(errors.RpcError):
        call(host, "shop", "shop/none", "null", None)  # type: ignore[arg-type]
    assert host.log == [("start", True), ("stop",)]
    with pytest.raises(WrongUsage):
        call(host, "shop", "shop/none", "{", None)  # type: ignore[arg-type]
    assert len(host.log) == 2
