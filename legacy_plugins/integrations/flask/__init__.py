"""Plugins in a Flask application: the extension, the blueprint factory alone, and error handlers to opt into."""
from __future__ import annotations

from legacy_plugins.integrations.flask.blueprint import create_blueprint
from legacy_plugins.integrations.flask.errors import register_error_handlers
from legacy_plugins.integrations.flask.extension import LegacyPlugins

__all__ = ["LegacyPlugins", "create_blueprint", "register_error_handlers"]
