"""The application factory. Nothing starts here: plugins start in the worker process that serves the first request."""
from __future__ import annotations

from typing import Any, Mapping, Optional

from flask import Flask

from examples.sync_service.settings import from_environment, open_service

from .hosting import plugins
from .views import views


def create_app(settings: Optional[Mapping[str, Any]] = None) -> Flask:
    """An application with the given settings, which win over the environment."""
    app = Flask(__name__)
    app.config.update(from_environment(), LEGACY_PLUGINS_START="eager")
    app.config.update(settings or {})
    app.extensions["sync-service"] = open_service(app.config["SYNC_INSTANCE"], app.config["SYNC_ROOTS"])
    app.register_blueprint(views)
    plugins.init_app(app)
    return app
