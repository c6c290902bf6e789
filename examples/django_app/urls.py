"""The project's URLs: its own pages, and the plugins' below `/api/plugins/`."""
from __future__ import annotations

from django.urls import include, path

from . import views

urlpatterns = [
    path("", views.home, name="home"),
    path("sync", views.sync, name="sync"),
    path("syncs", views.syncs, name="syncs"),
    path("healthz", views.health, name="health"),
    path("api/plugins/", include("legacy_plugins.integrations.django.urls")),
]

handler400 = views.bad_request
handler404 = views.not_found
handler500 = views.server_error
