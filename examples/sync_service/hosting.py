"""What joins the service to plugins: the events sent on, the function offered to them, the question asked of one.

Each application hands in its framework's `plugins` object; both frameworks' have the same members. Services run on a
thread of the library's, the rest on the thread of a request.
"""
from __future__ import annotations

from typing import Any, Callable, Dict, List, Tuple

from legacy_plugins import errors

from .events import SyncCompleted, SyncFailed, SyncStarted
from .service import Service

SPACE_TIMEOUT_SECONDS = 2.0


def join(plugins: Any, service: Callable[[], Service]) -> None:
    """Register events and services with `plugins`; `service()` gives the current application's service."""
    plugins.connect(SyncStarted, fields=["id", "source", "target"])
    plugins.connect(SyncCompleted, fields=["id", "source", "target", "copied", "skipped", "deleted", "bytes"])
    plugins.connect(SyncFailed, fields=["id", "source", "target", "error"])

    @plugins.service("host/history")
    def host_history(params: Any, caller: Any) -> List[Dict[str, Any]]:
        """The newest synchronisations, newest first: `{limit}`, 1 to 100. For plugins that were granted it."""
        limit = params.get("limit", 20) if isinstance(params, dict) else 20
        if type(limit) is not int or not 1 <= limit <= 100:
            raise errors.InvalidParams(-32602, f"limit must be an integer from 1 to 100, not {limit!r}")
        return service().history.recent(limit)


def space_warnings(plugins: Any, needed: int) -> Tuple[str, ...]:
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
