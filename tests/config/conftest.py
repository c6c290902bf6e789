"""What the tests of the configuration share: one plugin with some keys, and the faults of a source."""
from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Tuple

import pytest

from legacy_plugins.config import HostConfig, PluginConfig, load_config
from legacy_plugins.errors import ConfigError

Faults = Callable[..., Tuple[str, ...]]


def _with_plugin(keys: Mapping[str, Any]) -> Dict[str, Any]:
    return {"plugins": [{"name": "shop", "command": "/opt/shop", **keys}]}


@pytest.fixture
def plugin() -> Callable[..., PluginConfig]:
    """`plugin(key=value, ...)`: what a plugin with these keys is loaded as."""
    def load(environ: Mapping[str, str] = {}, base_dir: str = "/base", **keys: Any) -> PluginConfig:
        return load_config(_with_plugin(keys), environ=environ, base_dir=base_dir).plugins[0]
    return load


@pytest.fixture
def faults() -> Faults:
    """`faults(source)`: the faults of a source that cannot be loaded."""
    def load(source: Any, environ: Mapping[str, str] = {}) -> Tuple[str, ...]:
        with pytest.raises(ConfigError) as caught:
            load_config(source, environ=environ)
        assert str(caught.value) == "\n".join(caught.value.faults)
        return caught.value.faults
    return load


@pytest.fixture
def plugin_faults(faults: Faults) -> Faults:
    """`plugin_faults(key=value, ...)`: the faults of a plugin with these keys, without the place they all share."""
    def load(environ: Mapping[str, str] = {}, **keys: Any) -> Tuple[str, ...]:
        texts = faults(_with_plugin(keys), environ)
        assert all(text.startswith("configuration: /plugins/0") and "(plugin 'shop')" in text for text in texts)
        return tuple(text[len("configuration: /plugins/0"):].replace(" (plugin 'shop')", "") for text in texts)
    return load


@pytest.fixture
def host() -> Callable[..., HostConfig]:
    """`host(key=value, ...)`: what a configuration without plugins is loaded as."""
    def load(environ: Mapping[str, str] = {}, base_dir: str = "/base", **keys: Any) -> HostConfig:
        return load_config({"plugins": [], **keys}, environ=environ, base_dir=base_dir)
    return load
