"""The frozen configuration, made by hand."""
from __future__ import annotations

import dataclasses
import os

import pytest

from legacy_plugins.config import HostConfig, PluginConfig, TrustConfig, TrustedCommand, load_config
from legacy_plugins.errors import UnknownPlugin


def test_a_plugin_by_hand_equals_a_loaded_one() -> None:
    """Name and absolute command are enough; all else has the defaults of the file format."""
    loaded = load_config({"plugins": [{"name": "shop", "command": "/opt/shop"}]}, environ={}, base_dir="/base")
    assert loaded == HostConfig(plugins=(PluginConfig("shop", "/opt/shop"),), base_dir="/base")
    assert HostConfig().base_dir == os.getcwd()


def test_only_an_absolute_command_is_its_own_executable() -> None:
    """A bare or relative name means nothing until a loader has looked it up."""
    assert PluginConfig("shop", "/opt/shop").executable == "/opt/shop"
    assert PluginConfig("shop", "node").executable is None
    assert PluginConfig("shop", "./shop").executable is None


def test_nothing_of_the_callers_is_kept() -> None:
    """Lists become tuples and `env` a view that cannot be written, of a copy."""
    env = {"TOKEN": "a"}
    plugin = PluginConfig("shop", "/opt/shop", args=["-v"], env=env)  # type: ignore[arg-type]
    env["TOKEN"] = "b"
    assert plugin.args == ("-v",)
    assert plugin.env == {"TOKEN": "a"}
    with pytest.raises(TypeError):
        plugin.env["TOKEN"] = "c"  # type: ignore[index]
    assert TrustConfig(directories=["/a"]) == TrustConfig(directories=("/a",))  # type: ignore[arg-type]
    assert TrustedCommand("/a", "a", ["/a"]).argv == ("/a",)  # type: ignore[arg-type]
    assert HostConfig(plugins=[plugin]).plugins == (plugin,)  # type: ignore[arg-type]


@pytest.mark.req("R28")
def test_no_repr_shows_the_environment() -> None:
    """Values of `env` may be secrets."""
    config = HostConfig(plugins=(PluginConfig("shop", "/opt/shop", env={"TOKEN": "hunter2"}),))
    assert "hunter2" not in repr(config)


def test_a_change_shows_in_the_comparison() -> None:
    """Equal configurations compare equal, and a changed secret is a change."""
    plugin = PluginConfig("shop", "/opt/shop", env={"TOKEN": "a"})
    assert plugin == PluginConfig("shop", "/opt/shop", env={"TOKEN": "a"})
    assert plugin != dataclasses.replace(plugin, env={"TOKEN": "b"})
    assert plugin != dataclasses.replace(plugin, rpc_timeout_ms=1)


def test_plugins_are_found_by_name() -> None:
    """An unknown name is answered with the known ones."""
    config = HostConfig(plugins=(PluginConfig("a", "/a"), PluginConfig("b", "/b")))
    assert config.plugin("b").command == "/b"
    with pytest.raises(UnknownPlugin, match="no plugin 'c' is configured; known: a, b") as caught:
        config.plugin("c")
    assert caught.value.plugin == "c"
    with pytest.raises(UnknownPlugin, match="known: none"):
        HostConfig().plugin("c")
