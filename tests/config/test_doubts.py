"""What a configuration allows and nobody can have meant."""
from __future__ import annotations

from pathlib import Path
from typing import List

import pytest

from legacy_plugins.config import HostConfig, PluginConfig, ReverseRpcPolicy, TrustConfig
from legacy_plugins.config.doubts import doubts


def _doubts(**config: object) -> List[str]:
    return list(doubts(HostConfig(**config)))  # type: ignore[arg-type]


def test_what_is_as_it_should_be(tmp_path: Path) -> None:
    """Nothing is said of what exists and has an effect."""
    plugins = (PluginConfig("a", "/a"),
               PluginConfig("b", "/b", allow_reverse_rpc=True, reverse_rpc=ReverseRpcPolicy(methods=("host/*",))))
    assert _doubts(trust=TrustConfig(directories=(str(tmp_path),)), plugins=plugins) == []


@pytest.mark.req("R29")
def test_trust_that_is_odd(tmp_path: Path) -> None:
    """No check of permissions; folders that are not there, or are files."""
    (tmp_path / "file").write_text("")
    missing, file = str(tmp_path / "missing"), str(tmp_path / "file")
    trust = TrustConfig(directories=(str(tmp_path), missing, file), permissions="off")
    assert _doubts(trust=trust) == [
        "trust.permissions is off: whoever may write a plugin's file can run code as this user",
        f"trust.directories names {missing!r}, which is no directory: nothing in it can be started",
        f"trust.directories names {file!r}, which is no directory: nothing in it can be started"]


def test_methods_that_may_not_be_called() -> None:
    """They are granted and the door is shut; a disabled plugin may keep them."""
    methods = ReverseRpcPolicy(methods=("host/*",))
    plugins = (PluginConfig("a", "/a", reverse_rpc=methods),
               PluginConfig("b", "/b", reverse_rpc=methods, enabled=False))
    assert _doubts(plugins=plugins) == [
        "plugin 'a' has reverseRpc.methods without `allowReverseRpc: true`, and may call none of them"]
