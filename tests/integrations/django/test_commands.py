"""`manage.py plugins ...`, with a plugin that really runs."""
from __future__ import annotations

import io
import json
from typing import Any, Dict, Iterator, NamedTuple

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings
from django.urls import include, path

from legacy_plugins.errors import PluginUnavailable
from legacy_plugins.host import PluginState
from legacy_plugins.integrations.django import plugins
from tests.integrations.django.conftest import URLS


class Done(NamedTuple):
    """What a command wrote, and how it ended."""

    output: str
    exit_code: int


def _run(*arguments: str) -> Done:
    out = io.StringIO()
    code = 0
    try:
        call_command("plugins", *arguments, stdout=out)
    except SystemExit as error:
        code = int(error.code or 0)
    except CommandError as error:
        out.write(str(error))
        code = error.returncode
    states = {status.state for status in plugins.host.status()}
    assert states <= {PluginState.STOPPED, PluginState.FAILED, PluginState.DISABLED}
    return Done(out.getvalue(), code)


@pytest.fixture
def crowd(config: Dict[str, Any]) -> Iterator[None]:
    """A project with `shop`, and with `broken`, which cannot start, and `idle`, which is disabled."""
    config["plugins"] += [{"name": "broken", "command": "/nowhere/plugin"},
                          {"name": "idle", "command": "/nowhere/plugin", "enabled": False}]
    with override_settings(LEGACY_PLUGINS={"CONFIG": config}, ROOT_URLCONF=(path("api/plugins/", include(URLS)),)):
        yield


@pytest.mark.usefixtures("crowd")
def test_list_and_check() -> None:
    """Each plugin with its state, as a table and as JSON; `check` ends with 1 where one is not ready."""
    listed = _run("list", "--json")
    assert listed.exit_code == 0
    assert [(row["name"], row["state"], row["version"]) for row in json.loads(listed.output)] == [
        ("shop", "ready", "1.0"), ("broken", "failed", ""), ("idle", "disabled", "")]
    checked = _run("check")
    assert checked.exit_code == 1
    assert "/nowhere/plugin" in checked.output
    assert checked.output.splitlines()[0].split() == ["name", "state", "version", "required", "restarts", "reason"]


@pytest.mark.usefixtures("project")
def test_a_good_project_passes_the_check() -> None:
    """Exit code 0 where all enabled plugins are ready."""
    assert _run("check").exit_code == 0


def test_the_process_has_its_plugins_as_before(project: Any) -> None:
    """A command inside a process that serves leaves what runs running, and what was never used to its first use."""
    assert _run("list").exit_code == 0
    assert project["shop"].request("shop/add", [1, 2]) == 3
    pid = project.host.status()[0].pid
    call_command("plugins", "check", stdout=io.StringIO())
    assert project["shop"].request("shop/add", [1, 2]) == 3
    assert project.host.status()[0].pid == pid
    project.host.stop()
    _run("list")
    with pytest.raises(PluginUnavailable):
        project["shop"].request("shop/add", [1, 2])


@pytest.mark.parametrize(("patterns", "expected"), [
    ((path("api/plugins/", include(URLS)),), "/api/plugins/shop/items/{id}"),
    ((path("ext/", include([path("deep/", include(URLS))])),), "/ext/deep/shop/items/{id}"),
    ((path("x/", include([])),), "(not served) /items/{id}"),
])
def test_routes(config: Dict[str, Any], patterns: Any, expected: str) -> None:
    """As they are served, with who may call them."""
    with override_settings(LEGACY_PLUGINS={"CONFIG": config}, ROOT_URLCONF=patterns):
        (row,) = json.loads(_run("routes", "--json").output)
    assert row == {"methods": "GET,POST", "path": expected, "plugin": "shop", "auth": False, "public": True,
                   "description": "One item"}


@pytest.mark.usefixtures("crowd")
def test_call() -> None:
    """The result as JSON; a plugin's error is exit code 1, params that are not JSON are 2."""
    done = _run("call", "shop", "shop/add", "[1, 2]", "--timeout", "20")
    assert (done.exit_code, json.loads(done.output)) == (0, 3)
    failed = _run("call", "shop", "shop/none")
    assert failed.exit_code == 1
    assert "-32601" in failed.output
    assert _run("call", "unknown", "x").exit_code == 1
    assert _run("call", "shop", "x", "{").exit_code == 2


@pytest.mark.usefixtures("crowd")
@pytest.mark.parametrize("allowed", [["localhost"], ["*"], [".example.org"], []])
def test_request(allowed: Any) -> None:
    """Through the project, for a host that it has, past the check for forged requests; 1 for an error status."""
    with override_settings(ALLOWED_HOSTS=allowed, DEBUG=not allowed):
        done = _run("request", "post", "/api/plugins/shop/items/4", "--data", "{}", "--header", "X-Request-ID: r-1")
        head, _, body = done.output.partition("\n\n")
        assert head.splitlines()[0] == "200 OK"
        assert done.exit_code == 0
        assert "X-Request-ID: r-1" in head.splitlines()
        assert json.loads(body)["id"] == "4"
        missing = _run("request", "GET", "/api/plugins/shop/none", "--header", "Accept: text/plain")
        assert (missing.exit_code, missing.output.splitlines()[0].lower()) == (1, "404 not found")
        assert _run("request", "GET", "/", "--header", "nonsense").exit_code == 2


def cookie_of(request: Any, plugin: str, route: Any) -> Dict[str, Any]:
    """A hook that knows its callers by a cookie."""
    return {"id": request.COOKIES.get("sessionid")}


def test_a_requests_cookie_arrives(config: Dict[str, Any]) -> None:
    """It is what the project gets."""
    config["plugins"][0]["http"]["publicRoutes"] = []
    with override_settings(LEGACY_PLUGINS={"CONFIG": config, "AUTHORIZE": f"{__name__}.cookie_of"},
                           ROOT_URLCONF=(path("api/plugins/", include(URLS)),)):
        done = _run("request", "GET", "/api/plugins/shop/items/4", "--header", "Cookie: sessionid=abc")
    assert json.loads(done.output.partition("\n\n")[2])["user"] == {"id": "abc"}


def test_faulty_settings() -> None:
    """All faults as the error's text."""
    with override_settings(LEGACY_PLUGINS={"CONFG": 1, "START": "now"}), pytest.raises(CommandError) as caught:
        call_command("plugins", "check", stdout=io.StringIO())
    assert all(word in str(caught.value) for word in ("'CONFG'", "'now'", "CONFIG"))
    assert caught.value.returncode == 1


def test_a_request_over_https_where_the_project_insists(config: Dict[str, Any]) -> None:
    """With SECURE_SSL_REDIRECT any other request would only be told to come back."""
    with override_settings(LEGACY_PLUGINS={"CONFIG": config}, ROOT_URLCONF=(path("api/plugins/", include(URLS)),),
                           SECURE_SSL_REDIRECT=True, MIDDLEWARE=["django.middleware.security.SecurityMiddleware"]):
        assert _run("request", "GET", "/api/plugins/shop/items/4").output.startswith("200 OK")
