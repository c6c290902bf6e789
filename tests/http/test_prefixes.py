"""Prefixes: from a path to its plugin."""
from __future__ import annotations

from typing import Optional

import pytest

from legacy_plugins.config.model import HostConfig, PluginConfig
from legacy_plugins.http.prefixes import PluginPrefixes


def _prefixes(mount: str = "/api/plugins", **prefixes: Optional[str]) -> PluginPrefixes:
    plugins = tuple(PluginConfig(name, "/p", route_prefix=prefix) for name, prefix in prefixes.items())
    return PluginPrefixes(HostConfig(plugins=plugins, base_dir="/"), mount)


@pytest.mark.req("R21", "R33")
@pytest.mark.parametrize("mount", ["/api/plugins", "", "/a/b/c"])
def test_the_default_prefix_is_mount_and_name(mount: str) -> None:
    """Without `routePrefix` a plugin is served below the mount, under its name."""
    prefixes = _prefixes(mount, shop=None)
    located = prefixes.find(tuple(f"{mount}/shop/items/1"[1:].split("/")))
    assert located is not None
    assert (located.plugin.name, located.prefix, located.segments) == ("shop", f"{mount}/shop", ("items", "1"))
    assert prefixes.prefix("shop") == f"{mount}/shop"
    assert prefixes.prefix("other") is None


@pytest.mark.req("R23", "R33")
def test_prefixes_keep_plugins_apart() -> None:
    """A configured prefix replaces the default one, and whole segments are compared."""
    prefixes = _prefixes(shop="/api/plugins/store/eu", other=None)
    assert prefixes.faults == ()
    assert prefixes.find(("api", "plugins", "shop")) is None
    assert prefixes.find(("api", "plugins", "store", "europe")) is None
    assert prefixes.find(("api", "plugins", "Other")) is None
    located = prefixes.find(("api", "plugins", "store", "eu", "x"))
    assert located is not None
    assert located.plugin.name == "shop"


@pytest.mark.parametrize("prefix", ["/elsewhere/shop", "/api/plugins", "/api/pluginsshop", "/"])
def test_a_prefix_outside_the_mount_is_a_fault(prefix: str) -> None:
    """The fault names plugin, prefix and mount, and the plugin is not served."""
    prefixes = _prefixes(shop=prefix)
    (fault,) = prefixes.faults
    assert "'shop'" in fault
    assert "'/api/plugins'" in fault
    assert prefixes.prefix("shop") is None


@pytest.mark.parametrize("prefix", ["/api/plugins/shop", "/api/plugins/shop/inner"])
def test_nested_prefixes_are_a_fault(prefix: str) -> None:
    """One plugin's prefix inside another's would let one answer for the other."""
    (fault,) = _prefixes(shop=None, inner=prefix).faults
    assert "'inner'" in fault
    assert "'shop'" in fault
