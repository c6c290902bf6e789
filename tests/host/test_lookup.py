"""What operators and hooks may name a host by."""
from __future__ import annotations

import sys
import types
from typing import Any, Callable

import pytest

from legacy_plugins import PluginHost
from legacy_plugins.host.lookup import find_host


@pytest.fixture
def host() -> PluginHost:
    """A host without plugins; it is never started."""
    return PluginHost({"plugins": []})


class _Application:
    """What keeps its host as Flask's applications do; it can be called, but not without arguments."""

    def __init__(self, host: Any) -> None:
        self.extensions = {} if host is None else {"legacy_plugins": types.SimpleNamespace(host=host)}

    def __call__(self, environ: Any, start_response: Any) -> Any:
        raise AssertionError("nobody asked for a request")


@pytest.mark.parametrize("wrap", [
    lambda host: host, lambda host: lambda: host, lambda host: types.SimpleNamespace(host=host), _Application,
    lambda host: lambda: _Application(host),
])
def test_each_way_to_name_a_host(host: PluginHost, wrap: Callable[[PluginHost], Any]) -> None:
    """A host, a function that gives one, and an application that has one in either place all mean that host."""
    assert find_host(wrap(host)) is host


def test_a_place_in_a_module(host: PluginHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text names a module and an attribute of it, at any depth."""
    module = types.ModuleType("shop_of_a_test")
    module.app = _Application(host)  # type: ignore[attr-defined]
    module.parts = types.SimpleNamespace(host=host)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert find_host("shop_of_a_test:app") is host
    assert find_host("shop_of_a_test:parts.host") is host
    with pytest.raises(LookupError, match="has no 'missing'"):
        find_host("shop_of_a_test:parts.missing")


@pytest.mark.parametrize("text", ["shop", "shop:", ":host", ""])
def test_a_text_that_names_no_place(text: str) -> None:
    """What is not 'module:attribute' is told as that."""
    with pytest.raises(LookupError, match=r"is not 'package\.module:attribute'"):
        find_host(text)


@pytest.mark.parametrize("source", [None, 3, lambda: None, _Application(None), lambda environ, start_response: []])
def test_what_has_no_host(source: Any) -> None:
    """Where there is no host, an error says what was found, and no application is called to find out."""
    with pytest.raises(LookupError, match="neither a PluginHost nor an application that has one"):
        find_host(source)


def test_an_import_that_fails() -> None:
    """The error of a module that cannot be imported is that import's own."""
    with pytest.raises(ModuleNotFoundError, match="no_such_module_of_a_test"):
        find_host("no_such_module_of_a_test:host")
