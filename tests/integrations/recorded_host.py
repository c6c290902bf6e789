"""A host that notes what it is told to do, in place of doing it."""
from __future__ import annotations

from typing import List, Optional, Tuple

from legacy_plugins import PluginHost


class RecordedHost(PluginHost):
    """`told`: each start with whether it waits and for how long, each stop with its seconds."""

    def __init__(self, exit_timeout_ms: int = 4500) -> None:
        super().__init__({"plugins": [], "exitTimeoutMs": exit_timeout_ms})
        self.told: List[Tuple[object, ...]] = []

    def start(self, wait: bool = True, timeout: Optional[float] = None) -> None:
        """Note it."""
        self.told.append(("start", wait, timeout))

    def stop(self, timeout: Optional[float] = None) -> None:
        """Note it."""
        self.told.append(("stop", timeout))
