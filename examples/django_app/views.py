"""The pages and the JSON interface: `POST /sync`, `GET /syncs`, `GET /`, `GET /healthz`.

What they answer is decided in `examples/sync_service/answers.py`; this is how Django reads and writes it.
"""
from __future__ import annotations

import functools
import json
from http.client import responses
from typing import Any, Callable

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt

from examples.sync_service import answers
from legacy_plugins.integrations.django import plugins

from .hosting import current_service

View = Callable[..., HttpResponse]


def allow(*methods: str) -> Callable[[View], View]:
    """Decorator: requests with another method get 405."""
    def decorate(view: View) -> View:
        @functools.wraps(view)
        def checked(request: HttpRequest) -> HttpResponse:
            if request.method in methods:
                return view(request)
            return _error(request, HttpResponseNotAllowed(methods))

        return checked

    return decorate


@allow("GET", "HEAD")
def home(request: HttpRequest) -> HttpResponse:
    """The home page: a form, the newest synchronisations, the plugins' state, the report."""
    return _home(request)


def _home(request: HttpRequest, fault: str = "", status: int = 200) -> HttpResponse:
    mount = reverse("legacy_plugins:request", args=[""]).rstrip("/")
    return render(request, "home.html", answers.home(current_service(), plugins.host, mount, fault), status=status)


@allow("GET", "HEAD")
def syncs(request: HttpRequest) -> HttpResponse:
    """The newest synchronisations, newest first (`?limit=`, 1 to 1000)."""
    return JsonResponse(answers.newest(current_service(), request.GET.get("limit")))


@allow("GET", "HEAD")
def health(request: HttpRequest) -> HttpResponse:
    """Whether this worker can do its work."""
    body, status = answers.health(plugins.host)
    return JsonResponse(body, status=status)


@csrf_exempt  # programs have no token; `is_foreign` keeps the pages of other sites out
@allow("POST")
def sync(request: HttpRequest) -> HttpResponse:
    """Synchronise: `{source, target, delete?}` as JSON for a program, as a form for the home page."""
    if answers.is_foreign(request.get_host(), request.META.get("HTTP_ORIGIN"),
                          request.META.get("HTTP_SEC_FETCH_SITE")):
        body, status = {"error": answers.FOREIGN}, 403
    else:
        wants = _json_body(request) if _is_json(request) else {
            **request.POST.dict(), "delete": "delete" in request.POST}
        body, status = answers.synchronise(current_service(), plugins, wants)
    if _is_json(request):
        return JsonResponse(body, status=status)
    if status == 200:
        return HttpResponseRedirect(reverse("home"), status=303)
    return _home(request, body["error"], status)


def _is_json(request: HttpRequest) -> bool:
    kind = request.content_type or ""
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _json_body(request: HttpRequest) -> Any:
    try:
        return json.loads(request.body)
    except (ValueError, RecursionError):  # the latter for one that is nested too deeply
        return None


def _error(request: HttpRequest, page: HttpResponse) -> HttpResponse:
    """Programs that sent JSON get JSON back; the framework's own page serves all others."""
    if not _is_json(request):
        return page
    answer = JsonResponse({"error": responses[page.status_code]}, status=page.status_code)
    if page.has_header("Allow"):
        answer["Allow"] = page["Allow"]
    return answer


def bad_request(request: HttpRequest, exception: Any) -> HttpResponse:
    """400, for all that Django refuses itself."""
    return _error(request, defaults.bad_request(request, exception))


def not_found(request: HttpRequest, exception: Any) -> HttpResponse:
    """404, for URLs that are nobody's."""
    return _error(request, defaults.page_not_found(request, exception))


def server_error(request: HttpRequest) -> HttpResponse:
    """500, for what a view raised."""
    return _error(request, defaults.server_error(request))
