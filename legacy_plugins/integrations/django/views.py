"""The one view behind the plugins' URLs.

Owns the order of the check for forged requests and everything else. Runs on the web server's thread, and in no
transaction: a slow plugin would keep it open.
"""
from __future__ import annotations

from typing import Any, Mapping

from django.core.exceptions import ImproperlyConfigured, RequestDataTooBig
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponseBadRequest, UnreadablePostError
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from legacy_plugins.integrations.django import plugins
from legacy_plugins.integrations.django.body import keep_form
from legacy_plugins.integrations.django.csrf import is_checked
from legacy_plugins.integrations.django.exchange import bridge_request, request_environ
from legacy_plugins.integrations.django.responses import django_response, too_large


@csrf_exempt  # the middleware passes it by, and the check happens in it
def plugin_request(request: HttpRequest, path: str, **captured: Any) -> HttpResponseBase:
    """Answer a request for whatever lies below the prefix under which the plugins' URLs are included."""
    if captured:
        raise ImproperlyConfigured(f"plugins cannot be served below a prefix with variables ({', '.join(captured)}): "
                                   "their own prefixes are fixed")
    project = plugins.project
    environ = request_environ(request)
    try:
        if not is_checked(request, project.settings.csrf):
            return serve(request, path, environ)
        keep_form(request, environ, project.largest_body)
        checked: HttpResponseBase = project.behind_csrf(serve)(request, path, environ)
        return checked
    except UnreadablePostError:
        return HttpResponseBadRequest()  # to nobody: the client is gone
    except RequestDataTooBig:
        return too_large(request)


def serve(request: HttpRequest, path: str, environ: Mapping[str, Any]) -> HttpResponseBase:
    """The same, after the check for forged requests."""
    mount = request.path_info[:len(request.path_info) - len(path)]
    bridge = plugins.project.bridge(mount.rstrip("/"))
    return django_response(request, bridge.handle(bridge_request(request, environ)))


for _alias in connections:
    transaction.non_atomic_requests(using=_alias)(plugin_request)
