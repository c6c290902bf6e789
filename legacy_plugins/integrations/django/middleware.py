"""What a project answers when a plugin's error leaves one of its own views: the middleware to opt into.

Runs on the web server's thread.
"""
from __future__ import annotations

from typing import Callable, Optional

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from legacy_plugins.errors import PluginError
from legacy_plugins.http.view_errors import error_response
from legacy_plugins.integrations.django.responses import django_response


class PluginErrorMiddleware:
    """Answers any `PluginError` that leaves a view as problem+json, with the error's `http_status`.

    Clients get a general text; the error's own is logged as a warning by `legacy_plugins.http` for statuses from 500.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Nothing of its own."""
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> Optional[HttpResponseBase]:
        """A view raised."""
        if not isinstance(exception, PluginError):
            return None
        answer = error_response(exception, method=request.method, path=request.path_info,
                                given_id=request.META.get("HTTP_X_REQUEST_ID"))
        return django_response(request, answer)
