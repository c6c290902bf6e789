"""The same application on Django, for a real server to run.

The environment's EDGE_FOLDER has the plugins' configuration; see `tests/edge/site.py`.
"""
from __future__ import annotations

import json
import os

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

with open(os.path.join(os.environ["EDGE_FOLDER"], "plugins.json"), encoding="utf-8") as file:
    settings.configure(
        ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="of the tests", USE_TZ=True,
        INSTALLED_APPS=["legacy_plugins.integrations.django"],
        MIDDLEWARE=["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware",
                    "django.middleware.csrf.CsrfViewMiddleware",
                    "django.middleware.clickjacking.XFrameOptionsMiddleware"],
        LEGACY_PLUGINS={"CONFIG": json.load(file), "CSRF": "browsers"})
django.setup()


def plain(request: HttpRequest) -> HttpResponse:
    """An ordinary view."""
    return HttpResponse("plain", content_type="text/plain")


urlpatterns = [path("plain", plain), path("api/plugins/", include("legacy_plugins.integrations.django.urls"))]
app = get_wsgi_application()
