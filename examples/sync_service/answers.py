"""What the service answers on the web, as values: bodies, statuses, and what the home page shows.

The views of both frameworks read the request, ask here, and write the response. Runs on the thread of a request.
"""
from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple
from urllib.parse import urlsplit

from legacy_plugins import PluginHost, PluginState

from .hosting import space_warnings
from .locks import FolderBusy
from .service import OutsideRoots, Service
from .sync import SyncError, folder_size

Body = Dict[str, Any]

FOREIGN = "a page of another site may not start a synchronisation"

# Where the plugins' own answers can be looked at, below the mount.
_PAGES = ({"plugin": "backup-plugin", "path": "backup/backups", "text": "Backups"},
          {"plugin": "notifier", "path": "notifier/events", "text": "Events seen by the notifier"})


def is_foreign(host: str, origin: Optional[str], fetch_site: Optional[str]) -> bool:
    """Whether a page of another site sent the request through its visitor's browser.

    `host`, `origin`, `fetch_site`: the header fields Host, Origin and Sec-Fetch-Site. Programs send neither of the last
    two; there is no login here that a forged request could borrow.
    """
    foreign = origin is not None and urlsplit(origin).netloc != host
    return foreign or (fetch_site or "none") not in ("none", "same-origin")


def synchronise(service: Service, plugins: Any, wants: Any) -> Tuple[Body, int]:
    """Carry out `{source, target, delete?}`: the record of it, or what is wrong, and the status."""
    wants = wants if isinstance(wants, dict) else {}
    source, target, delete = wants.get("source"), wants.get("target"), wants.get("delete", False)
    if not isinstance(source, str) or not isinstance(target, str) or not isinstance(delete, bool):
        return {"error": 'expected {"source": "<folder>", "target": "<folder>", "delete": true or false}'}, 400
    try:
        folders = service.folders(source, target)
        warnings = space_warnings(plugins, folder_size(folders[0]))
        record = service.run(*folders, delete=delete)
    except OutsideRoots as error:
        return {"error": str(error)}, 403
    except (SyncError, OSError) as error:
        return {"error": str(error)}, 400
    except FolderBusy as error:
        return {"error": str(error)}, 409
    record["warnings"] = list(warnings)
    return record, 200 if record["outcome"] == "completed" else 500


def newest(service: Service, limit: Optional[str]) -> Body:
    """The newest synchronisations, newest first; `limit`: 1 to 1000 as text, 50 where it is no number."""
    number = int(limit[:6]) if limit is not None and limit.isdecimal() else 50
    return {"synchronisations": service.history.recent(min(max(number, 1), 1000))}


def health(host: PluginHost) -> Tuple[Body, int]:
    """Whether this worker can do its work: 503 where a plugin marked `required` is not ready."""
    states = {status.name: status.state.value for status in host.status()}
    healthy = host.healthy
    return {"status": "ok" if healthy else "unhealthy", "plugins": states}, 200 if healthy else 503


def home(service: Service, host: PluginHost, mount: str, fault: str = "") -> Body:
    """What the home page's template shows; all of it is ready to print, since two template languages print it."""
    states = host.status()
    disabled = {status.name for status in states if status.state is PluginState.DISABLED}
    return {
        "mount": mount, "fault": fault, "roots": [str(root) for root in service.roots],
        "syncs": [_sync_row(record) for record in service.history.recent(25)],
        "plugins": [_plugin_row(status) for status in states],
        "pages": [page for page in _PAGES if page["plugin"] not in disabled],
    }


def _sync_row(record: Body) -> Body:
    return {**record, "when": record["started"][:19].replace("T", " "), "size": _size(record["bytes"])}


def _plugin_row(status: Any) -> Body:
    ready = status.state is PluginState.READY
    return {"name": status.name, "state": status.state.value, "version": status.version or "", "pid": status.pid or "",
            "restarts": status.restarts, "reason": "" if ready else status.reason or ""}


def _size(count: int) -> str:
    """A number of bytes for people: 17 B, 1.5 KiB."""
    if count < 1024:
        return f"{count} B"
    units: List[str] = ["KiB", "MiB", "GiB", "TiB"]
    value, unit = count / 1024, units.pop(0)
    while value >= 1024 and units:
        value, unit = value / 1024, units.pop(0)
    return f"{value:.1f} {unit}"
