"""The document of all routes under both frameworks: the same bytes, and refusals in each one's own way."""
from __future__ import annotations

from typing import Any, Dict

import pytest
from django.core.exceptions import PermissionDenied
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from flask import Flask, abort, redirect
from werkzeug.test import create_environ, run_wsgi_app

from legacy_plugins.config.model import PluginConfig
from legacy_plugins.config.policies import HttpPolicy
from legacy_plugins.integrations.flask import create_blueprint
from tests.http.fakes import FakeHost
from tests.integrations.django.conftest import OPEN, ROUTES, MakeSite

PATH = "/api/plugins/openapi.json"


def _flask(http: HttpPolicy = OPEN, authorize: Any = None) -> Flask:
    host = FakeHost(PluginConfig("shop", "/p", http=http))
    host.declare("shop", *ROUTES)
    app = Flask("app")
    app.register_blueprint(create_blueprint(host, authorize=authorize), url_prefix="/api/plugins")  # type: ignore[arg-type]
    return app


def _sent(application: Any, method: str, extra: Dict[str, str]) -> Any:
    environ = create_environ(PATH, method=method, base_url="http://localhost/app", headers=[("X-Request-ID", "r-1")])
    body, status, headers = run_wsgi_app(application, {**environ, **extra}, buffered=True)
    return status.partition(" ")[0], sorted((name.lower(), value) for name, value in headers), b"".join(body)


@pytest.mark.req("R22")
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
@pytest.mark.parametrize("known", ["", "*"])
def test_flask_and_django_send_the_same_document(make_site: MakeSite, method: str, known: str) -> None:
    """Byte by byte and field by field, below the application's root, with and without a condition."""
    make_site(MIDDLEWARE=["django.middleware.common.CommonMiddleware"], own={"CSRF": "browsers"})
    extra = {"HTTP_IF_NONE_MATCH": known} if known else {}
    by_flask, by_django = (_sent(application, method, extra) for application in (_flask(), WSGIHandler()))
    assert by_flask == by_django
    status, _, body = by_flask
    assert status == {"OPTIONS": "204", "POST": "405"}.get(method, "304" if known else "200")
    if status == "200" and method == "GET":
        assert b'"servers":[{"url":"/app"}]' in body


def test_flask_refuses_in_its_own_way() -> None:
    """A redirect to the login and an `abort` arrive as they do on routes; one route refused hides that route alone."""
    http = HttpPolicy()
    assert _flask(http, lambda *_: redirect("/login")).test_client().get(PATH).headers["Location"].endswith("/login")
    assert _flask(http, lambda *_: abort(401)).test_client().get(PATH).status_code == 401
    assert _flask(http).test_client().get(PATH).status_code == 403
    some = _flask(http, lambda request, plugin, route: route.path == "/" or abort(401)).test_client().get(PATH)
    assert list(some.get_json()["paths"]) == ["/api/plugins/shop"]


def test_django_refuses_in_its_own_way(make_site: MakeSite) -> None:
    """The same with Django's responses and exceptions."""
    def denied(*_: Any) -> Any:
        raise PermissionDenied

    http = HttpPolicy()
    assert make_site(http, authorize=lambda *_: HttpResponse("no", status=401)).send(PATH).content == b"no"
    assert make_site(http, authorize=denied).send(PATH).status_code == 403
    assert make_site(http).send(PATH)["Content-Type"] == "application/problem+json"
    some = make_site(http, authorize=lambda request, plugin, route: route.path == "/" or denied()).send(PATH)
    assert list(some.json()["paths"]) == ["/api/plugins/shop"]
