"""Forged requests: Django's check guards plugins' routes, and programs may be let past it."""
from __future__ import annotations

from typing import Any

import django
import pytest
from django.http import HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.test import override_settings

from tests.integrations.django.conftest import MakeSite

ITEMS = "/api/plugins/shop/items"
TOKEN = "a" * 32


class Stricter(CsrfViewMiddleware):
    """A project's own check, which knows a header of its own."""

    def process_view(self, request: Any, *args: Any) -> Any:
        """Let who knows the word pass."""
        return None if request.META.get("HTTP_X_WORD") == "please" else HttpResponse("ours", status=418)


@pytest.mark.fault("R18")
@pytest.mark.parametrize("middleware", [["django.middleware.csrf.CsrfViewMiddleware"], []])
def test_an_unsafe_method_needs_a_token(make_site: MakeSite, middleware: Any) -> None:
    """With a cookie and no token Django's own 403; with both the plugin. Also in a project without the middleware."""
    site = make_site(csrf=True, MIDDLEWARE=middleware)
    site.client.cookies["csrftoken"] = TOKEN
    for method in ("POST", "DELETE"):
        refused = site.send(ITEMS, method)
        assert (refused.status_code, refused["Content-Type"].split(";")[0]) == (403, "text/html")
    assert site.host.calls == []
    assert site.send(ITEMS, "POST", HTTP_X_CSRFTOKEN=TOKEN).status_code == 200
    assert site.send(ITEMS, "POST", b"csrfmiddlewaretoken=" + TOKEN.encode(),
                     "application/x-www-form-urlencoded").status_code == 200
    assert site.send(ITEMS, "POST", HTTP_X_CSRFTOKEN="b" * 32).status_code == 403
    for method in ("GET", "HEAD", "OPTIONS"):
        assert site.send(ITEMS, method).status_code in (200, 204)


@pytest.mark.fault("R18")
@pytest.mark.parametrize(("mode", "extra", "status"), [
    ("always", {}, 403), ("browsers", {}, 200), ("browsers", {"HTTP_AUTHORIZATION": "Bearer t"}, 200),
    ("browsers", {"HTTP_COOKIE": "sessionid=1"}, 403), ("browsers", {"HTTP_ORIGIN": "https://evil.example"}, 403),
    ("browsers", {"HTTP_ORIGIN": "null"}, 403), ("browsers", {"HTTP_REFERER": "https://evil.example/x"}, 403),
    ("browsers", {"HTTP_SEC_FETCH_SITE": "cross-site"}, 403),
])
def test_programs_may_be_let_pass(make_site: MakeSite, mode: str, extra: Any, status: int) -> None:
    """With CSRF "browsers" a request that no browser can have sent needs no token; all others do."""
    site = make_site(csrf=True, own={"CSRF": mode})
    assert site.send(ITEMS, "POST", **extra).status_code == status
    assert len(site.host.calls) == (status == 200)


def test_the_projects_own_check_counts(make_site: MakeSite) -> None:
    """A subclass of Django's middleware is asked in its place."""
    site = make_site(csrf=True, MIDDLEWARE=[f"{__name__}.Stricter"])
    assert site.send(ITEMS, "POST").status_code == 418
    assert site.send(ITEMS, "POST", HTTP_X_WORD="please").status_code == 200


def test_changed_settings_of_the_check_count(make_site: MakeSite) -> None:
    """Django's middleware keeps some of them; a test that overrides one gets another, on the same host."""
    from legacy_plugins.integrations.django import plugins

    site = make_site(csrf=True)
    site.client.cookies["csrftoken"] = TOKEN
    extra = {"HTTP_X_CSRFTOKEN": TOKEN, "HTTP_ORIGIN": "https://other.example", "HTTP_REFERER": "https://other.example/"}
    assert site.send(ITEMS, "POST", secure=True, **extra).status_code == 403
    host = plugins.host
    trusted = ["https://other.example"] if django.VERSION >= (4, 0) else ["other.example"]
    with override_settings(CSRF_TRUSTED_ORIGINS=trusted):
        assert site.send(ITEMS, "POST", secure=True, **extra).status_code == 200
    assert plugins.host is host
