"""The pages and the JSON interface: `POST /sync`, `GET /syncs`, `GET /`, `GET /healthz`.

A web page of another site must not be able to start a synchronisation through its visitor's browser, so a POST that a
browser marks as coming from elsewhere is refused.
"""
from __future__ import annotations

from typing import Any, Dict, Tuple, Union
from urllib.parse import urlsplit

from flask import Blueprint, current_app, jsonify, redirect, render_template, request, url_for
from werkzeug.exceptions import Forbidden, HTTPException
from werkzeug.wrappers import Response

from legacy_plugins import PluginState

from .hosting import plugins, space_warnings
from .locks import FolderBusy
from .service import OutsideRoots, Service
from .sync import SyncError, folder_size

views = Blueprint("views", __name__)

# Where the plugins' own answers can be looked at, below the mount.
_PAGES = ({"plugin": "backup-plugin", "path": "backup/backups", "text": "Backups"},
          {"plugin": "notifier", "path": "notifier/events", "text": "Events seen by the notifier"})

Answer = Union[str, Response, Tuple[Union[str, Response], int]]


def _service() -> Service:
    service: Service = current_app.extensions["sync-service"]
    return service


@views.route("/")
def home() -> Answer:
    """The home page: a form, the newest synchronisations, the plugins' state, the report."""
    return _home()


def _home(fault: str = "") -> str:
    prefix = current_app.config.get("LEGACY_PLUGINS_URL_PREFIX", "/api/plugins")
    states = plugins.host.status()
    disabled = {status.name for status in states if status.state is PluginState.DISABLED}
    return render_template("home.html", syncs=_service().history.recent(25), plugins=states, roots=_service().roots,
                           mount=request.script_root + prefix, fault=fault,
                           pages=[page for page in _PAGES if page["plugin"] not in disabled])


@views.route("/syncs")
def syncs() -> Answer:
    """The newest synchronisations, newest first (`?limit=`, 1 to 1000)."""
    limit = request.args.get("limit", default=50, type=int)
    return jsonify(synchronisations=_service().history.recent(min(max(limit, 1), 1000)))


@views.route("/healthz")
def health() -> Answer:
    """Whether this worker can do its work: 503 where a plugin marked `required` is not ready."""
    states = {status.name: status.state.value for status in plugins.host.status()}
    healthy = plugins.host.healthy
    return jsonify(status="ok" if healthy else "unhealthy", plugins=states), 200 if healthy else 503


@views.route("/sync", methods=["POST"])
def sync() -> Answer:
    """Synchronise: `{source, target, delete?}` as JSON for a program, as a form for the home page."""
    _refuse_other_sites()
    wants = _json_body() if request.is_json else {**request.form, "delete": "delete" in request.form}
    body, status = _synchronise(wants)
    if request.is_json:
        return jsonify(body), status
    if status == 200:
        return redirect(url_for("views.home"), code=303)
    return _home(body["error"]), status


def _synchronise(wants: Dict[str, Any]) -> Tuple[Dict[str, Any], int]:
    source, target, delete = wants.get("source"), wants.get("target"), wants.get("delete", False)
    if not isinstance(source, str) or not isinstance(target, str) or not isinstance(delete, bool):
        return {"error": 'expected {"source": "<folder>", "target": "<folder>", "delete": true or false}'}, 400
    try:
        folders = _service().folders(source, target)
        warnings = space_warnings(folder_size(folders[0]))
        record = _service().run(*folders, delete=delete)
    except OutsideRoots as error:
        return {"error": str(error)}, 403
    except (SyncError, OSError) as error:
        return {"error": str(error)}, 400
    except FolderBusy as error:
        return {"error": str(error)}, 409
    record["warnings"] = warnings
    return record, 200 if record["outcome"] == "completed" else 500


def _json_body() -> Dict[str, Any]:
    body = request.get_json(silent=True)
    return body if isinstance(body, dict) else {}


def _refuse_other_sites() -> None:
    origin = request.headers.get("Origin")
    foreign = origin is not None and urlsplit(origin).netloc != request.host
    if foreign or request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise Forbidden("a page of another site may not start a synchronisation")


@views.app_errorhandler(HTTPException)
def http_error(error: HTTPException) -> Any:
    """Programs that sent JSON get JSON back; the framework's own page serves all others."""
    if request.is_json:
        return jsonify(error=error.description), error.code
    return error

