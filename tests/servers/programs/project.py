"""A Django project in one file, for `python project.py runserver`: the same views as in `served.py`."""
import ctypes
import logging
import os
import sys

import django
from django.conf import settings
from django.http import JsonResponse
from django.urls import include, path

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s")

if not settings.configured:
    settings.configure(
        DEBUG=True, SECRET_KEY="tested", ALLOWED_HOSTS=["127.0.0.1"], ROOT_URLCONF=__name__, USE_TZ=True,
        MIDDLEWARE=["legacy_plugins.integrations.django.middleware.PluginErrorMiddleware"],
        INSTALLED_APPS=["django.contrib.staticfiles", "legacy_plugins.integrations.django"], STATIC_URL="/static/",
        LEGACY_PLUGINS={"CONFIG": os.environ["SERVED_PLUGINS"]}, DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        LOGGING_CONFIG=None)
    django.setup()

from legacy_plugins.integrations.django import plugins  # noqa: E402


def index(request):
    """A view that knows nothing of plugins."""
    return JsonResponse({"worker": os.getpid()})


def call(request):
    """Asks both plugins."""
    told = plugins["plain"].request("who", {"tag": request.GET.get("tag")})
    deaf = plugins["deaf"].request("who", {})
    return JsonResponse({"worker": os.getpid(), "plain": told["pid"], "deaf": deaf["pid"], "parent": told["parent"],
                         "tag": told["echo"]["tag"]})


def wait(request):
    """Waits for a plugin, and leaves a file `waiting-TAG` to say so."""
    open(f"waiting-{request.GET['tag']}", "w").close()
    told = plugins["plain"].request("wait", {"seconds": float(request.GET["seconds"])}, timeout=60)
    return JsonResponse({"worker": os.getpid(), "plain": told["pid"]})


def stuck(request):
    """Stops this whole process: it sleeps in C and keeps the interpreter's lock."""
    while True:
        ctypes.PyDLL(None).pause()


urlpatterns = [path("", index), path("call", call), path("wait", wait), path("stuck", stuck),
               path("api/plugins/", include("legacy_plugins.integrations.django.urls"))]

if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
