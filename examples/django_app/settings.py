"""The project's settings. The service's own, SYNC_INSTANCE and SYNC_ROOTS, come from the environment.

Nothing starts here: plugins start in the worker process that serves the first request.
"""
from __future__ import annotations

import os
from pathlib import Path

from examples.sync_service.settings import from_environment

BASE_DIR = Path(__file__).resolve().parent
_service = from_environment()

SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY", "signs nothing in this demo, which has neither sessions nor logins")
DEBUG = False
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

INSTALLED_APPS = ["legacy_plugins.integrations.django", "examples.django_app.apps.SyncConfig"]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]

ROOT_URLCONF = "examples.django_app.urls"
WSGI_APPLICATION = "examples.django_app.wsgi.application"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [BASE_DIR / "templates"]}]
TIME_ZONE = "UTC"
USE_TZ = True

SYNC_INSTANCE = _service["SYNC_INSTANCE"]
SYNC_ROOTS = _service["SYNC_ROOTS"]
LEGACY_PLUGINS = {
    "CONFIG": _service["LEGACY_PLUGINS_CONFIG"],
    "START": "eager",
    "CSRF": "browsers",  # programs have no token, and there is no login that a forged request could borrow
}

# The lines of the plugins arrive in `legacy_plugins.plugin.<name>` like any other log.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
}
