"""Floor 2': what the user asked for. Reads files and mappings into frozen values; starts and supervises nothing."""
from __future__ import annotations

from legacy_plugins.config.loader import load_config
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

__all__ = [
    "EventPolicy", "Expect", "FaultPolicy", "HealthPolicy", "HostConfig", "HttpPolicy", "Limits", "LogPolicy",
    "PluginConfig", "RateLimit", "RestartPolicy", "ReverseRpcPolicy", "TrustConfig", "TrustedCommand", "load_config",
]
