"""The extension, joined to the service. Whoever calls plugins imports `plugins` from here."""
from __future__ import annotations

from flask import current_app

from examples.sync_service.hosting import join
from examples.sync_service.service import Service
from legacy_plugins.integrations.flask import LegacyPlugins

plugins = LegacyPlugins()


def current_service() -> Service:
    """The service of the current application."""
    service: Service = current_app.extensions["sync-service"]
    return service


join(plugins, current_service)
