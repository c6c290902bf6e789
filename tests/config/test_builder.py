"""Every key that is accepted has an effect on what is built."""
from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest

from legacy_plugins import schemas
from legacy_plugins.config import HostConfig, PluginConfig, RateLimit, TrustedCommand, load_config

Load = Callable[..., PluginConfig]

#: A value other than the default for each key of a plugin, and what it is built as where that is another value.
PLUGIN_KEYS: Dict[str, Any] = {
    "name": "till", "command": "/opt/till", "args": ["-v"], "cwd": "/srv", "wrapper": ["/usr/bin/nice", "-n5"],
    "sha256": "aB" * 32, "uid": 1000, "gid": 0, "env": {"A": "${HOME}"}, "envPass": ["HTTPS_PROXY"], "enabled": False,
    "required": True, "expect.name": "till", "expect.version": "1.", "rpcTimeoutMs": 1, "handshakeTimeoutMs": 2,
    "readyTimeoutMs": 3, "shutdownTimeoutMs": 4, "restart.enabled": False, "restart.maxRetries": 0,
    "restart.backoffMs": 0, "restart.strategy": "linear", "restart.maxBackoffMs": 0, "restart.jitter": 1,
    "restart.resetAfterMs": 5, "faults.limit": 1, "faults.perSeconds": 2, "health.enabled": True,
    "health.intervalMs": 6, "health.timeoutMs": 7, "health.failures": 8, "events.include": ["A*"],
    "events.exclude": ["Ab"],
    "events.publish": ["B"], "events.queueSize": 9, "events.overflow": "dropNewest", "events.ack": True,
    "events.ackTimeoutMs": 10, "events.maxRedeliveries": 0, "allowReverseRpc": True, "reverseRpc.methods": ["u/*"],
    "reverseRpc.maxConcurrency": 11, "reverseRpc.timeoutMs": 12, "routePrefix": "/x/y", "http.publicRoutes": ["/a"],
    "http.forwardHeaders": ["Cookie"], "http.responseHeaders": ["Set-Cookie"], "http.htmlSandbox": False,
    "http.schemaPatterns": True, "http.fileRoots": ["/f"], "http.maxBodyBytes": 0, "http.maxConcurrency": 13,
    "http.rateLimit": {"requests": 5, "perSeconds": 6}, "logs.level": "DEBUG", "logs.linesPerSecond": 14,
    "logs.burst": 15, "logs.maxLineBytes": 16, "logs.tailLines": 0, "logs.redact": ["(?i)token"],
    "limits.maxFrameBytes": 1024, "limits.maxPending": 17, "limits.queueBytes": 2048, "limits.messageTimeoutMs": 18,
    "limits.writeStallMs": 19, "limits.notificationsPerSecond": 0, "limits.openFiles": 20, "limits.cpuSeconds": 21,
    "limits.dataMb": 22,
}
BUILT: Dict[str, Any] = {
    "sha256": "ab" * 32, "env": {"A": "/root"}, "http.forwardHeaders": ("cookie",),
    "http.responseHeaders": ("set-cookie",), "http.rateLimit": RateLimit(5, 6),
}
#: Keys whose other value goes with `handshake: none`, which has a test of its own.
WITHOUT_HANDSHAKE = {"handshake", "routes"}
#: The key that needs packages which may be missing here; `test_rate_storage` is about it.
WITH_PACKAGES = {"rateLimitStorage"}
HOST_KEYS: Dict[str, Any] = {
    "guard": False, "exitTimeoutMs": 1, "trust.directories": ["/t"], "trust.permissions": "strict",
    "trust.commands": ["/c"],
}


def _keys(schema: Dict[str, Any], prefix: str = "") -> Iterator[Tuple[str, Dict[str, Any]]]:
    for key, value in schema["properties"].items():
        if "properties" in value and "default" not in value:
            yield from _keys(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _nested(key: str, value: Any) -> Dict[str, Any]:
    parent, _, last = key.rpartition(".")
    return {parent: {last: value}} if parent else {last: value}


def _attribute(config: Any, key: str) -> Any:
    for part in key.split("."):
        config = getattr(config, "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in part))
    return config


def _as_built(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def test_the_tables_have_every_key() -> None:
    """A key that is added to the schema needs a test here."""
    schema = schemas.load("config")
    assert {key for key, _ in _keys(schema["$defs"]["plugin"])} == set(PLUGIN_KEYS) | WITHOUT_HANDSHAKE
    assert {key for key, _ in _keys(schema)} == set(HOST_KEYS) | WITH_PACKAGES | {"version", "defaults", "plugins"}


@pytest.mark.req("R10", "R27")
@pytest.mark.parametrize("key", PLUGIN_KEYS)
def test_every_key_of_a_plugin_has_its_effect(plugin: Load, key: str) -> None:
    """The value arrives, as what the model says it is; no other key changes."""
    built = plugin({"HOME": "/root"}, **_nested(key, PLUGIN_KEYS[key]))
    expected = BUILT.get(key, _as_built(PLUGIN_KEYS[key]))
    assert _attribute(built, key) == expected
    base = plugin()
    assert _attribute(base, key) != expected
    changed = {other for other, _ in _keys(schemas.load("config")["$defs"]["plugin"])
               if _attribute(built, other) != _attribute(base, other)}
    assert changed == {key}


@pytest.mark.parametrize("key", PLUGIN_KEYS)
def test_every_key_of_a_plugin_may_be_a_default(key: str) -> None:
    """In `defaults` each key but the name means the same."""
    if key == "name":
        return
    config = load_config({"defaults": {"command": "/opt/shop", **_nested(key, PLUGIN_KEYS[key])},
                          "plugins": [{"name": "shop"}]}, environ={"HOME": "/root"})
    assert _attribute(config.plugins[0], key) == BUILT.get(key, _as_built(PLUGIN_KEYS[key]))


@pytest.mark.parametrize("key", HOST_KEYS)
def test_every_key_of_the_host_has_its_effect(key: str) -> None:
    """The same for keys of the host."""
    built = load_config({"plugins": [], **_nested(key, HOST_KEYS[key])}, environ={})
    expected = (TrustedCommand("/c", "/c"),) if key == "trust.commands" else _as_built(HOST_KEYS[key])
    assert _attribute(built, key) == expected
    assert _attribute(load_config({"plugins": []}, environ={}), key) != expected


def test_the_version_is_optional() -> None:
    """There is one so far."""
    assert load_config({"version": 1, "plugins": []}, environ={}) == load_config({"plugins": []}, environ={})


def test_routes_are_copied_for_each_plugin() -> None:
    """Routes that come from `defaults` are not shared between plugins, nor with the caller."""
    routes: List[Dict[str, Any]] = [{"path": "/x", "method": ["GET"], "schema": {"type": "object"}}]
    config = load_config({"defaults": {"handshake": "none", "routes": routes},
                          "plugins": [{"name": "a", "command": "/x"}, {"name": "b", "command": "/x"}]}, environ={})
    first, second = (plugin.routes[0] for plugin in config.plugins)
    assert first == second == routes[0]
    assert first is not second
    assert first["schema"] is not second["schema"]
    routes[0]["schema"]["type"] = "string"
    assert first["schema"] == {"type": "object"}
    assert config.plugins[0].handshake == "none"


def test_the_models_defaults_are_the_schemas() -> None:
    """What editors show is what happens."""
    schema = schemas.load("config")
    plugin = PluginConfig("shop", "/opt/shop")
    for key, value in _keys(schema["$defs"]["plugin"]):
        if key not in ("name", "command"):
            assert _attribute(plugin, key) == _as_built(value["default"]), key
    for key, value in _keys(schema):
        if key not in ("plugins", "defaults"):
            assert _attribute(HostConfig(), key) == _as_built(value["default"]), key
    limit = schema["$defs"]["plugin"]["properties"]["http"]["properties"]["rateLimit"]["properties"]
    assert RateLimit(1).per_seconds == limit["perSeconds"]["default"]


@pytest.mark.parametrize("key", ["cwd", "sha256", "uid", "gid", "routePrefix", "expect.name", "expect.version",
                                 "http.rateLimit", "limits.openFiles", "limits.cpuSeconds", "limits.dataMb"])
def test_null_takes_a_default_back(key: str) -> None:
    """A plugin may say null where `defaults` says something."""
    config = load_config({"defaults": _nested(key, PLUGIN_KEYS[key]),
                          "plugins": [{"name": "a", "command": "/x", **_nested(key, None)}]}, environ={})
    assert _attribute(config.plugins[0], key) is None
