"""The application factory. Nothing starts here: plugins start in the worker process that serves the first request.

Settings, each also an environment variable: SYNC_INSTANCE (folder of the database), SYNC_ROOTS (folders that may be
synchronised, separated by `:`), LEGACY_PLUGINS_CONFIG (the plugins' configuration).
"""
from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Mapping, Optional

from flask import Flask

from .history import History
from .hosting import plugins
from .service import Service
from .views import views

HERE = Path(__file__).resolve().parent


def create_app(settings: Optional[Mapping[str, Any]] = None) -> Flask:
    """An application with the given settings, which win over the environment."""
    app = Flask(__name__)
    instance = os.environ.get("SYNC_INSTANCE") or str(HERE / "instance")
    app.config.update(
        SYNC_INSTANCE=instance,
        SYNC_ROOTS=os.environ.get("SYNC_ROOTS") or None,
        LEGACY_PLUGINS_CONFIG=os.environ.get("LEGACY_PLUGINS_CONFIG") or str(HERE / "plugins.yaml"),
        LEGACY_PLUGINS_START="eager",
    )
    app.config.update(settings or {})
    app.extensions["sync-service"] = _service(app)
    app.register_blueprint(views)
    plugins.init_app(app)
    return app


def _service(app: Flask) -> Service:
    instance = Path(app.config["SYNC_INSTANCE"])
    roots = [Path(root) for root in (app.config["SYNC_ROOTS"] or "").split(os.pathsep) if root]
    if not roots:
        roots = [instance / "data"]
        roots[0].mkdir(parents=True, exist_ok=True)
    history = History(instance / "history.sqlite")
    history.close_interrupted()
    return Service(history, roots, instance / "locks")
