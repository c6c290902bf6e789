"""The view under Django's test client: places, paths, methods, hooks; the host is a fake without processes."""
from __future__ import annotations

from typing import Any, List

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, connections, transaction
from django.http import HttpResponse, HttpResponseRedirect
from django.test import override_settings
from django.urls import include, path, re_path, reverse

from legacy_plugins.config.model import PluginConfig
from legacy_plugins.config.policies import HttpPolicy
from legacy_plugins.errors import ConfigError
from tests.integrations.django.conftest import URLS, MakeSite


@pytest.mark.req("D7", "R21", "R22")
def test_a_route_is_served(make_site: MakeSite) -> None:
    """Path, query, headers, client and body reach the plugin; status, headers and body reach the client."""
    site = make_site()
    site.plugin.answer = {"status": 201, "headers": {"ETag": '"1"', "Set-Cookie": "a=b", "vary": ["a", "b"]},
                          "body": {"é": 1}}
    response = site.send("/api/plugins/shop/items?tag=a&tag=b&c=", "POST", b'{"name": "x"}', "application/json",
                         HTTP_X_REQUEST_ID="r-1", HTTP_COOKIE="s=1", HTTP_ACCEPT="a/b", HTTP_HOST="example.org",
                         REMOTE_ADDR="203.0.113.9", secure=True)
    assert (response.status_code, response.json(), response["ETag"]) == (201, {"é": 1}, '"1"')
    assert response["vary"] == "a, b"
    assert response["Content-Type"] == "application/json"
    assert response["Content-Length"] == str(len(response.content))
    assert response["X-Request-ID"] == "r-1"
    assert not response.cookies
    (call,) = site.host.calls
    assert call.params["mount"] == "/api/plugins/shop"
    assert call.params["query"] == {"tag": ["a", "b"], "c": [""]}
    assert set(call.params["headers"]) == {"accept", "content-type"}
    assert call.params["client"] == {"address": "203.0.113.9", "scheme": "https", "host": "example.org"}
    assert (call.params["body"], call.params["bodyEncoding"]) == ({"name": "x"}, "json")


@pytest.mark.req("R21", "R33")
@pytest.mark.parametrize("prefix", ["api/plugins/", "ext/", "a/b/c/", "", "ext"])
def test_the_mount_is_where_the_urls_are_included(make_site: MakeSite, prefix: str) -> None:
    """Any prefix, none included; also one that does not end with a slash."""
    site = make_site(prefix=prefix)
    mount = f"/{prefix}".rstrip("/")
    assert site.send(f"{mount}/shop/items").status_code == 200
    assert site.host.calls[0].params["mount"] == f"{mount}/shop"
    assert site.send(f"{mount}/shop").status_code == 200
    assert site.send(f"{mount}/none/items").status_code == 404
    assert site.send(f"{mount}x/shop/items").status_code == 404
    assert reverse("legacy_plugins:request", kwargs={"path": "shop/items"}).endswith("shop/items")


@pytest.mark.req("R21")
@pytest.mark.parametrize(("forced", "sent", "expected"), [
    (None, "/app", "/app"), ("/forced", "", "/forced"), ("/forced/", "/app", "/forced"), (None, "", ""),
])
def test_under_a_script_name(make_site: MakeSite, forced: Any, sent: str, expected: str) -> None:
    """The plugin is told the whole mount, as clients see it: the server's SCRIPT_NAME, or FORCE_SCRIPT_NAME."""
    site = make_site(FORCE_SCRIPT_NAME=forced)
    assert site.send("/api/plugins/shop/items", SCRIPT_NAME=sent).status_code == 200
    assert site.host.calls[0].params["mount"] == f"{expected}/api/plugins/shop"
    assert site.host.calls[0].params["path"] == "/items"


@pytest.mark.req("R21")
def test_nested_and_included_twice(make_site: MakeSite) -> None:
    """The mount is the whole prefix, under each of several."""
    inner = ([path("plugins/", include(URLS))], "outer")
    site = make_site(ROOT_URLCONF=(path("v1/", include(inner)), re_path("^v2/", include(inner, namespace="second"))))
    for version in ("v1", "v2"):
        assert site.send(f"/{version}/plugins/shop/items").status_code == 200
    assert [call.params["mount"] for call in site.host.calls] == ["/v1/plugins/shop", "/v2/plugins/shop"]


def test_prefixes_that_cannot_be_served(make_site: MakeSite) -> None:
    """Variables in the prefix, one that matches anywhere, and a routePrefix outside it, are the project's errors."""
    site = make_site(prefix="<tenant>/plugins/")
    with pytest.raises(ImproperlyConfigured, match="tenant"):
        site.send("/one/plugins/shop/items")
    site = make_site(ROOT_URLCONF=(re_path("^(?:[a-z]+)/", include(URLS)),))
    for _ in range(2):
        with pytest.raises(ImproperlyConfigured, match="variable prefix"):
            site.send("/c/shop/items")
    site = make_site(ROOT_URLCONF=(re_path("api/plugins/", include(URLS)),))
    with pytest.raises(ImproperlyConfigured, match="variable prefix"):
        site.send("/junk/api/plugins/shop/items")
    site = make_site(plugin=PluginConfig("shop", "/p", route_prefix="/elsewhere"))
    with pytest.raises(ConfigError, match="/elsewhere"):
        site.send("/api/plugins/shop/items")


@pytest.mark.fault("R3")
@pytest.mark.parametrize(("path", "status"), [
    ("/api/plugins/shop/items/", 200), ("/api/plugins/shop/", 200), ("/api/plugins/shop", 200),
    ("/api/plugins//shop/items", 400), ("/api/plugins/shop//items", 400), ("/api/plugins/shop/items//", 400),
    ("/api/plugins/shop/../shop/items", 400), ("/api/plugins/shop/%2e%2e/items", 400),
    ("/api/plugins/shop/./items", 400),
    ("/api/plugins/shop/files/a%2fb", 400), ("/api/plugins/shop/files/a%5cb", 400),
    ("/api/plugins/shop/files/a%00b", 400),
    ("/api/plugins/shop/files/a%0ab", 400), ("/api/plugins/shop/files/a%0a", 400),
    ("/api/plugins/shop/files/a%ffb", 400),
    ("/api/plugins/shop/files/%252e", 400), ("/api/plugins/shop/files/a%25ffb", 200),
    ("/api/plugins/shop/files/a%25ffb%ff", 400), ("/api/plugins/shop/files/a%25FFb", 200),
    ("/api/plugins/shop/files/a%25FFb%ff", 400), ("/api/plugins/shop/files/a%ffb?%25FF", 400),
    ("/api/plugins/shop/files/a%20b;c/%C3%A9", 200), ("/api/plugins/%2e%2e/x", 400), ("/api/plugins/", 404),
    ("/api/plugins/shop/nothing", 404), ("/api/plugins/Shop/items", 404),
])
def test_no_path_is_answered_with_a_redirect(make_site: MakeSite, path: str, status: int) -> None:
    """Doubled and trailing slashes, dots, encoded separators: served, 400 or 404, and never redirected."""
    site = make_site()
    response = site.send(path, RAW_URI=path)
    assert response.status_code == status
    assert "Location" not in response
    assert len(site.host.calls) == (status == 200)


@pytest.mark.fault("R3")
def test_broken_bytes_where_the_server_keeps_no_target(make_site: MakeSite) -> None:
    """Django turns bytes that are not UTF-8 into escapes; without the target nobody knows who meant them, so 400."""
    site = make_site()
    assert site.send("/api/plugins/shop/files/a%ffb").status_code == 400
    assert site.send("/api/plugins/shop/files/a%25ffb").status_code == 200
    assert site.send("/api/plugins/shop/files/a%25FFb").status_code == 400
    assert [call.params["path"] for call in site.host.calls] == ["/files/a%ffb"]
    origin = "http://host%25FF"
    assert site.send("/api/plugins/shop/files/a%ff", RAW_URI=f"{origin}/api/plugins/shop/files/a%ff").status_code == 400


@pytest.mark.fault("R20")
@pytest.mark.parametrize(("method", "status"), [
    ("GET", 200), ("HEAD", 200), ("POST", 200), ("OPTIONS", 204), ("PUT", 405), ("PATCH", 405), ("DELETE", 405),
    ("TRACE", 405), ("CONNECT", 405), ("PROPFIND", 405),
])
def test_methods(make_site: MakeSite, method: str, status: int) -> None:
    """Declared methods reach the plugin, the host answers OPTIONS, all others are 405 with Allow."""
    site = make_site()
    response = site.send("/api/plugins/shop/items", method)
    assert response.status_code == status
    if status != 200:
        assert site.host.calls == []
        assert {"GET", "HEAD", "POST", "OPTIONS"} <= set(response["Allow"].split(", "))


@pytest.mark.req("R23")
def test_what_authorize_may_answer(make_site: MakeSite) -> None:
    """A response of Django's is sent as it is; a mapping becomes the user; None is 403."""
    unauthorized = HttpResponse("no", status=401, headers={"WWW-Authenticate": "Basic"})
    verdicts: List[Any] = [HttpResponseRedirect("/login"), unauthorized, {"id": "7"}, True, None]
    seen: List[Any] = []

    def authorize(request: Any, plugin: str, declared: Any) -> Any:
        seen.append((request.path, request.resolver_match.app_name, plugin, declared.path))
        return verdicts.pop(0)

    site = make_site(http=HttpPolicy(), authorize=authorize)
    answers = [site.send("/api/plugins/shop/items") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [302, 401, 200, 200, 403]
    assert answers[0]["Location"] == "/login"
    assert answers[1]["WWW-Authenticate"] == "Basic"
    assert [call.params["user"] for call in site.host.calls] == [{"id": "7"}, None]
    assert seen == [("/api/plugins/shop/items", "legacy_plugins", "shop", "/items")] * 5


async def _coroutine(*_: Any) -> Any:
    return True


@pytest.mark.parametrize(("hook", "message"), [
    (_coroutine, "coroutine"), (lambda *_: object(), "HttpResponse"), (lambda *_: ("no", 401), "HttpResponse"),
    (lambda *_: "admin", "mapping"),
])
def test_verdicts_that_make_no_sense(make_site: MakeSite, hook: Any, message: str) -> None:
    """A mistake in the hook is an error that says what is expected, never an admission."""
    site = make_site(http=HttpPolicy(), authorize=hook)
    with pytest.raises(TypeError, match=message):
        site.send("/api/plugins/shop/items")
    assert site.host.calls == []


def test_an_exception_of_the_hook_is_the_projects(make_site: MakeSite) -> None:
    """It reaches Django's own error handling."""
    site = make_site(http=HttpPolicy(), authorize=lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        site.send("/api/plugins/shop/items")
    site.client.raise_request_exception = False
    assert site.send("/api/plugins/shop/items").status_code == 500
    assert site.host.calls == []


def test_a_host_that_the_project_does_not_have(make_site: MakeSite) -> None:
    """Django's own 400, and the plugin hears nothing."""
    site = make_site(MIDDLEWARE=[])
    response = site.send("/api/plugins/shop/items", HTTP_HOST="evil.example")
    assert response.status_code == 400
    assert response["Content-Type"].startswith("text/html")
    assert site.host.calls == []


def test_the_view_runs_in_no_transaction(make_site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """ATOMIC_REQUESTS of any database does not hold a transaction open while a plugin works, nor opens a connection."""
    seen: List[bool] = []
    for alias in connections:
        monkeypatch.setitem(connections.settings[alias], "ATOMIC_REQUESTS", True)
    site = make_site()
    site.plugin.answer = lambda params: seen.append(
        any(one.in_atomic_block or one.connection is not None for one in connections.all())) or {"body": 1}
    assert site.send("/api/plugins/shop/items").status_code == 200
    assert seen == [False]
    with transaction.atomic():
        assert connection.in_atomic_block


def test_settings_that_have_faults_are_the_projects_error(make_site: MakeSite) -> None:
    """A request finds them as an exception with all of them, not as an answer without a reason."""
    site = make_site()
    with override_settings(LEGACY_PLUGINS={"CONFG": 1, "START": "now"}), pytest.MonkeyPatch.context() as patch:
        from legacy_plugins.integrations.django import project, settings
        patch.setattr(project, "make_host", settings.make_host)
        with pytest.raises(ConfigError) as caught:
            site.send("/api/plugins/shop/items")
    assert len(caught.value.faults) == 3
