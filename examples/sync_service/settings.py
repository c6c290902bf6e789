"""What an operator sets, and the service that follows from it. Reads the environment when asked, never at import.

SYNC_INSTANCE: folder of the database and the locks. SYNC_ROOTS: folders that may be synchronised, separated by `:`.
LEGACY_PLUGINS_CONFIG: the plugins' configuration.
"""
from __future__ import annotations

import os
from pathlib import Path
from typing import Dict, Optional

from .history import History
from .service import Service

HERE = Path(__file__).resolve().parent
PLUGINS = HERE / "plugins.yaml"


def from_environment() -> Dict[str, str]:
    """The settings by name, with their defaults. No SYNC_ROOTS means the folder `data` in the instance's."""
    return {
        "SYNC_INSTANCE": os.environ.get("SYNC_INSTANCE") or str(HERE / "instance"),
        "SYNC_ROOTS": os.environ.get("SYNC_ROOTS", ""),
        "LEGACY_PLUGINS_CONFIG": os.environ.get("LEGACY_PLUGINS_CONFIG") or str(PLUGINS),
    }


def open_service(instance: str, roots: Optional[str]) -> Service:
    """The service on its folder, which is made where it is missing. What a dead process had under way has failed."""
    folder = Path(instance)
    allowed = [Path(root) for root in (roots or "").split(os.pathsep) if root]
    if not allowed:
        allowed = [folder / "data"]
        allowed[0].mkdir(parents=True, exist_ok=True)
    history = History(folder / "history.sqlite")
    history.close_interrupted()
    return Service(history, allowed, folder / "locks")
