"""Plugins in a Django project: the object `plugins`, which may be imported and used before the settings are ready."""
from __future__ import annotations

from legacy_plugins.integrations.django.extension import LegacyPlugins

__all__ = ["plugins"]

#: The project's plugins. Signals, services and the `authorize` hook may be registered at any time.
plugins = LegacyPlugins()
