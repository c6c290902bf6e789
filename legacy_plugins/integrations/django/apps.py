"""The application that a project installs. `ready` registers; it starts nothing, reads no setting, opens nothing."""
from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core import checks, signals


class LegacyPluginsConfig(AppConfig):
    """Plugins in a Django project. No models, no migrations."""

    name = "legacy_plugins.integrations.django"
    label = "legacy_plugins"
    verbose_name = "Plugins"

    def ready(self) -> None:
        """Register the system checks and what follows the settings and the first request."""
        from legacy_plugins.integrations.django.checks import check_plugins
        from legacy_plugins.integrations.django.connections import refresh_dispatch_thread

        checks.register(check_plugins, "plugins")
        signals.setting_changed.connect(_settings_changed, dispatch_uid=self.label)
        signals.request_started.connect(_request_started, dispatch_uid=self.label)
        refresh_dispatch_thread()


def _settings_changed(setting: str, **_facts: Any) -> None:
    from legacy_plugins.integrations.django import plugins
    from legacy_plugins.integrations.django.settings import NAME

    if setting in (NAME, "BASE_DIR", "MIDDLEWARE"):
        plugins.forget()
    elif setting.startswith("CSRF_"):
        plugins.forget_checks()


def _request_started(**_facts: Any) -> None:
    from legacy_plugins.integrations.django import plugins

    plugins.start_eagerly()
