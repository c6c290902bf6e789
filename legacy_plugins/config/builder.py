"""A checked document to the frozen configuration: defaults merged, references filled in, paths and commands resolved.

Knows no faults: whatever could be wrong was found before. Calling thread only.
"""
from __future__ import annotations

import copy
import re
from typing import Any, Dict, Mapping, Optional, Sequence

from legacy_plugins.config.commands import CommandResolver
from legacy_plugins.config.defaults import merge
from legacy_plugins.config.model import HostConfig, PluginConfig, TrustConfig, TrustedCommand
from legacy_plugins.config.policies import (
    EventPolicy,
    Expect,
    FaultPolicy,
    HealthPolicy,
    HttpPolicy,
    Limits,
    LogPolicy,
    RateLimit,
    RestartPolicy,
    ReverseRpcPolicy,
)
from legacy_plugins.config.rate_storage import rate_storage
from legacy_plugins.config.substitution import substitute

_POLICIES = {
    "expect": Expect, "restart": RestartPolicy, "faults": FaultPolicy, "health": HealthPolicy, "events": EventPolicy,
    "reverseRpc": ReverseRpcPolicy, "http": HttpPolicy, "logs": LogPolicy, "limits": Limits,
}


def build_host(value: Mapping[str, Any], base_dir: str, source: Optional[str],
               environ: Mapping[str, str]) -> HostConfig:
    """The configuration that a checked document means.

    `base_dir`: absolute folder of relative paths. `source`: the file it was read from, if any. `environ`: where PATH
    and the references of `env` are looked up.
    """
    resolver = CommandResolver(base_dir, environ)
    fields = _fields({key: item for key, item in value.items() if key not in ("trust", "defaults", "plugins")})
    fields["rate_limit_storage"] = rate_storage(value.get("rateLimitStorage"), environ)[0]
    plugins = [_plugin(merge(value.get("defaults", {}), keys), resolver, environ) for keys in value["plugins"]]
    return HostConfig(trust=_trust(value.get("trust", {}), resolver), plugins=tuple(plugins), base_dir=base_dir,
                      source=source, **fields)


def _trust(keys: Mapping[str, Any], resolver: CommandResolver) -> TrustConfig:
    fields = _fields(keys)
    fields["directories"] = tuple(map(resolver.path, keys.get("directories", ())))
    fields["commands"] = tuple(_trusted_command(command, resolver) for command in keys.get("commands", ()))
    return TrustConfig(**fields)


def _trusted_command(command: Any, resolver: CommandResolver) -> TrustedCommand:
    if isinstance(command, str):
        return TrustedCommand(resolver.executable(command), command)
    argv: Sequence[str] = command["argv"]
    return TrustedCommand(resolver.executable(argv[0]), argv[0], resolver.vector(argv))


def _plugin(keys: Mapping[str, Any], resolver: CommandResolver, environ: Mapping[str, str]) -> PluginConfig:
    fields = _fields({key: item for key, item in keys.items() if key not in _POLICIES})
    command: str = keys["command"]
    fields["executable"] = resolver.executable(command)
    fields["args"] = resolver.arguments(fields["executable"] or command, keys.get("args", ()))
    if keys.get("wrapper"):
        fields["wrapper"] = resolver.vector(keys["wrapper"])
    if keys.get("cwd") is not None:
        fields["cwd"] = resolver.path(keys["cwd"])
    if keys.get("sha256") is not None:
        fields["sha256"] = keys["sha256"].lower()
    fields["env"] = {name: substitute(text, environ)[0] for name, text in keys.get("env", {}).items()}
    fields["routes"] = tuple(copy.deepcopy(route) for route in keys.get("routes", ()))  # `defaults` may share them
    for key, policy in _POLICIES.items():
        if key in keys:
            fields[_snake_case(key)] = policy(**_policy_fields(key, keys[key], resolver))
    return PluginConfig(**fields)


def _policy_fields(policy: str, keys: Mapping[str, Any], resolver: CommandResolver) -> Dict[str, Any]:
    fields = _fields(keys)
    if policy == "http":
        for name in ("forward_headers", "response_headers"):
            if name in fields:
                fields[name] = tuple(header.lower() for header in fields[name])
        fields["file_roots"] = tuple(map(resolver.path, keys.get("fileRoots", ())))
        if keys.get("rateLimit") is not None:
            fields["rate_limit"] = RateLimit(**_fields(keys["rateLimit"]))
    return fields


def _fields(keys: Mapping[str, Any]) -> Dict[str, Any]:
    """Keys and values as dataclasses have them: snake_case, tuples, integers where the file says 5000.0."""
    return {_snake_case(key): _frozen(value) for key, value in keys.items()}


def _snake_case(key: str) -> str:
    return re.sub("[A-Z]", lambda match: "_" + match.group().lower(), key)


def _frozen(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return tuple(value) if isinstance(value, list) else value
