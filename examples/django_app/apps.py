"""The project's application: joins the service to the plugins once Django is set up."""
from __future__ import annotations

from django.apps import AppConfig


class SyncConfig(AppConfig):
    """The service that synchronises folders."""

    name = "examples.django_app"
    label = "sync"

    def ready(self) -> None:
        """Register events and services; nothing starts."""
        from examples.sync_service.hosting import join
        from legacy_plugins.integrations.django import plugins

        from .hosting import current_service
        join(plugins, current_service)
