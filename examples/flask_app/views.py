"""The pages and the JSON interface: `POST /sync`, `GET /syncs`, `GET /`, `GET /healthz`.

What they answer is decided in `examples/sync_service/answers.py`; this is how Flask reads and writes it.
"""
from __future__ import annotations

from typing import Any, Tuple, Union

from flask import Blueprint, current_app, jsonify, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from examples.sync_service import answers

from .hosting import current_service, plugins

views = Blueprint("views", __name__)

Answer = Union[str, Response, Tuple[Union[str, Response], int]]


@views.route("/")
def home() -> Answer:
    """The home page: a form, the newest synchronisations, the plugins' state, the report."""
    return _home()


def _home(fault: str = "") -> str:
    mount = request.script_root + current_app.config.get("LEGACY_PLUGINS_URL_PREFIX", "/api/plugins")
    return render_template("home.html", **answers.home(current_service(), plugins.host, mount, fault))


@views.route("/syncs")
def syncs() -> Answer:
    """The newest synchronisations, newest first (`?limit=`, 1 to 1000)."""
    return jsonify(answers.newest(current_service(), request.args.get("limit")))


@views.route("/healthz")
def health() -> Answer:
    """Whether this worker can do its work."""
    body, status = answers.health(plugins.host)
    return jsonify(body), status


@views.route("/sync", methods=["POST"])
def sync() -> Answer:
    """Synchronise: `{source, target, delete?}` as JSON for a program, as a form for the home page."""
    if answers.is_foreign(request.host, request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")):
        body, status = {"error": answers.FOREIGN}, 403
    else:
        wants = _json_body() if request.is_json else {
            **request.form, "delete": "delete" in request.form}
        body, status = answers.synchronise(current_service(), plugins, wants)
    if request.is_json:
        return jsonify(body), status
    if status == 200:
        return redirect(url_for("views.home"), code=303)
    return _home(body["error"]), status


def _json_body() -> Any:
    try:
        return request.get_json(silent=True)
    except RecursionError:  # nested too deeply
        return None


@views.app_errorhandler(HTTPException)
def http_error(error: HTTPException) -> Any:
    """Programs that sent JSON get JSON back; the framework's own page serves all others."""
    if request.is_json:
        kept = [(name, value) for name, value in error.get_headers() if name != "Content-Type"]  # Allow, for 405
        return jsonify(error=error.name), error.code, kept
    return error
