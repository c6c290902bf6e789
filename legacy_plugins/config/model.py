"""What the user asked for, as frozen values: host, trust and plugins.

Made by `loader` from a file or a mapping, or by hand. Names are the file's keys in snake_case, times stay in
milliseconds. Values are taken as they are; `loader` is what checks them. Equal configurations compare equal, which is
what a reload looks at. Any thread. Must not import jsonschema, yaml or a reader of files.
"""
from __future__ import annotations

import os
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Mapping, Optional, Tuple

from legacy_plugins.config.policies import (
    EventPolicy,
    Expect,
    FaultPolicy,
    HealthPolicy,
    HttpPolicy,
    Limits,
    LogPolicy,
    RestartPolicy,
    ReverseRpcPolicy,
    freeze_lists,
)
from legacy_plugins.errors import UnknownPlugin

__all__ = ["HostConfig", "PluginConfig", "TrustConfig", "TrustedCommand"]


@dataclass(frozen=True)
class TrustedCommand:
    """An executable that may run although it is in no trusted directory.

    `given`: as the configuration has it. `path`: what that means, absolute, links kept; None for a bare name that was
    not found on PATH. `argv`: the exact command line, its first element being `path` where that is known; None where
    any arguments are allowed.
    """

    path: Optional[str]
    given: str
    argv: Optional[Tuple[str, ...]] = None

    def __post_init__(self) -> None:
        freeze_lists(self)


@dataclass(frozen=True)
class TrustConfig:
    """What may run: programs inside `directories` (absolute), and `commands`.

    `permissions`: how closely files are looked at: standard, strict or off.
    """

    directories: Tuple[str, ...] = ()
    commands: Tuple[TrustedCommand, ...] = ()
    permissions: str = "standard"

    def __post_init__(self) -> None:
        freeze_lists(self)


@dataclass(frozen=True)
class PluginConfig:
    """One plugin.

    `command`: as the configuration has it. `executable`: what that means, absolute, links kept; None for a bare name
    that was not found on PATH. Who makes a `PluginConfig` by hand gives an absolute command, or sets both.
    `wrapper`: goes before the executable; its first element is absolute, or a bare name that was not found on PATH.
    `args`, `cwd`: with paths made absolute; `cwd` None: the folder of the trusted file that runs.
    `env`: with the host's variables filled in; it may hold secrets, so it is in no `repr`.
    `routes`: declarations as they stand on the wire, for `handshake` "none".
    `route_prefix`: None means the mount followed by the name.
    """

    name: str
    command: str
    executable: Optional[str] = None
    args: Tuple[str, ...] = ()
    cwd: Optional[str] = None
    wrapper: Tuple[str, ...] = ()
    sha256: Optional[str] = None
    uid: Optional[int] = None
    gid: Optional[int] = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    env_pass: Tuple[str, ...] = ()
    enabled: bool = True
    required: bool = False
    handshake: str = "required"
    routes: Tuple[Mapping[str, Any], ...] = ()
    expect: Expect = field(default_factory=Expect)
    rpc_timeout_ms: int = 5000
    handshake_timeout_ms: int = 5000
    ready_timeout_ms: int = 30000
    shutdown_timeout_ms: int = 3000
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    faults: FaultPolicy = field(default_factory=FaultPolicy)
    health: HealthPolicy = field(default_factory=HealthPolicy)
    events: EventPolicy = field(default_factory=EventPolicy)
    allow_reverse_rpc: bool = False
    reverse_rpc: ReverseRpcPolicy = field(default_factory=ReverseRpcPolicy)
    route_prefix: Optional[str] = None
    http: HttpPolicy = field(default_factory=HttpPolicy)
    logs: LogPolicy = field(default_factory=LogPolicy)
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        freeze_lists(self)
        object.__setattr__(self, "env", MappingProxyType(dict(self.env)))
        if self.executable is None and os.path.isabs(self.command):
            object.__setattr__(self, "executable", self.command)


@dataclass(frozen=True)
class HostConfig:
    """All that a host is told.

    `exit_timeout_ms`: bound on stopping all plugins when the interpreter exits, in milliseconds.
    `rate_limit_storage`: URL of the storage in which all processes count web requests together, None: each for itself;
    it may hold a password, so it is in no `repr`.
    `base_dir`: absolute; the folder that relative paths of the configuration were relative to. `source`: the absolute
    path of the file it was read from, None for a mapping.
    """

    version: int = 1
    guard: bool = True
    exit_timeout_ms: int = 4500
    rate_limit_storage: Optional[str] = field(default=None, repr=False)
    trust: TrustConfig = field(default_factory=TrustConfig)
    plugins: Tuple[PluginConfig, ...] = ()
    base_dir: str = field(default_factory=os.getcwd)
    source: Optional[str] = None

    def __post_init__(self) -> None:
        freeze_lists(self)

    def plugin(self, name: str) -> PluginConfig:
        """The plugin of that name; raises `UnknownPlugin`, which lists the known ones."""
        for plugin in self.plugins:
            if plugin.name == name:
                return plugin
        known = ", ".join(plugin.name for plugin in self.plugins) or "none"
        raise UnknownPlugin(f"no plugin {name!r} is configured; known: {known}", plugin=name)
