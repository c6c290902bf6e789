"""Everything that joins this application to its plugins: the extension, the events sent on, the services offered.

The rest of the application imports `plugins` for its calls, or knows nothing of plugins at all.
"""
from __future__ import annotations

from typing import Any, Dict, List, Tuple

from flask import current_app

from legacy_plugins import errors
from legacy_plugins.integrations.flask import LegacyPlugins

from .events import SyncCompleted, SyncFailed, SyncStarted

plugins = LegacyPlugins()

plugins.connect(SyncStarted, fields=["id", "source", "target"])
plugins.connect(SyncCompleted, fields=["id", "source", "target", "copied", "skipped", "deleted", "bytes"])
plugins.connect(SyncFailed, fields=["id", "source", "target", "error"])

SPACE_TIMEOUT_SECONDS = 2.0


@plugins.service("host/history")
def host_history(params: Any, caller: Any) -> List[Dict[str, Any]]:
    """The newest synchronisations, newest first: `{limit}`, 1 to 100. For plugins that were granted it."""
    limit = params.get("limit", 20) if isinstance(params, dict) else 20
    if type(limit) is not int or not 1 <= limit <= 100:
        raise errors.InvalidParams(-32602, f"limit must be an integer from 1 to 100, not {limit!r}")
    records: List[Dict[str, Any]] = current_app.extensions["sync-service"].history.recent(limit)
    return records


def space_warnings(needed: int) -> Tuple[str, ...]:
    """Ask the backup plugin for room for `needed` bytes. A plugin that is down is a warning, never an obstacle."""
    try:
        answer = plugins["backup-plugin"].request("backup/freeSpace", {}, timeout=SPACE_TIMEOUT_SECONDS)
        free = int(answer["freeBytes"])
    except errors.PluginError as error:
        return (f"the backup plugin could not be asked for free space: {error}",)
    except (KeyError, TypeError, ValueError):
        return ("the backup plugin gave no sensible answer about free space",)
    if free < needed:
        return (f"the backups have room for {free} bytes, and this synchronisation may need {needed}",)
    return ()
