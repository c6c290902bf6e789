"""The object `plugins` of a project, with a plugin that really runs, and what follows a change of the settings."""
from __future__ import annotations

import threading
import unittest
from typing import Any, Dict, List

import pytest
from blinker import Namespace
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.http import HttpRequest
from django.test import Client, TestCase, override_settings
from django.urls import include, path

from legacy_plugins.errors import ConfigError, UnknownPlugin
from legacy_plugins.host import PluginState
from legacy_plugins.host.lookup import find_host
from legacy_plugins.integrations.django.extension import LegacyPlugins
from legacy_plugins.testing import fake_plugin
from tests.integrations.django.conftest import URLS

ITEM = "/api/plugins/shop/items/4"


def by_header(request: HttpRequest, plugin: str, route: Any) -> Any:
    """A project's hook, for AUTHORIZE."""
    user = request.META.get("HTTP_X_USER")
    return {"id": user} if user else None


@pytest.mark.req("D8", "D7", "R2", "R17")
def test_the_whole_way(project: Any, config: Dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Signal, service and hook; then a route, a call and an event work. Nothing runs before."""
    monkeypatch.setattr(project, "_services", [])
    signal = Namespace().signal("SyncCompleted")
    project.connect(signal)

    @project.service("app/name")
    def name(params: Any, caller: Any) -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 7")
            (seven,) = cursor.fetchone()
        return [seven, caller.plugin, params, threading.current_thread() is threading.main_thread()]

    config["plugins"][0]["http"]["publicRoutes"] = []
    own = {"CONFIG": config, "AUTHORIZE": f"{__name__}.by_header"}
    with override_settings(LEGACY_PLUGINS=own):
        assert [status.state for status in project.host.status()] == [PluginState.STOPPED]
        client = Client()
        assert client.get(ITEM).status_code == 403
        answer = client.get(ITEM, HTTP_X_USER="7")
        assert (answer.status_code, answer.json()["user"]) == (200, {"id": "7"})
        assert project["shop"].request("shop/add", [1, 2]) == 3
        assert project.client("shop").request("shop/ask", {"a": 1}) == [7, "shop", {"a": 1}, False]
        signal.send(object(), count=2)
        assert project["shop"].request("shop/seen") == ["SyncCompleted", {"count": 2}]
        assert "shop" in project
        assert "other" not in project
        assert list(project) == ["shop"]
        with pytest.raises(UnknownPlugin):
            project["other"]
        host = project.host
    assert [status.state for status in host.status()] == [PluginState.STOPPED]


@pytest.mark.req("D8")
def test_changed_settings_make_a_new_host(project: Any, config: Dict[str, Any]) -> None:
    """The old one is stopped; routes, calls, signals and services go to the new one. Other settings change nothing."""
    first = project.host
    assert Client().get(ITEM).status_code == 200
    with override_settings(USE_TZ=False):
        assert project.host is first
    with override_settings(LEGACY_PLUGINS={"CONFIG": {**config, "exitTimeoutMs": 4000}}):
        assert project.host is not first
        assert [status.state for status in first.status()] == [PluginState.STOPPED]
        assert Client().get(ITEM).status_code == 200
        second = project.host
    assert project.host not in (first, second)
    assert [status.state for status in second.status()] == [PluginState.STOPPED]


@pytest.mark.req("D8")
def test_registrations_after_the_first_use_count_too(project: Any, config: Dict[str, Any],
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of decorators and first use does not matter; the setting's hook wins over the registered one."""
    monkeypatch.setattr(project, "_services", [])
    monkeypatch.setattr(project, "_authorize", None)
    config["plugins"][0]["http"]["publicRoutes"] = []
    for own, status in (({}, 200), ({"AUTHORIZE": f"{__name__}.by_header"}, 403)):
        with override_settings(LEGACY_PLUGINS={"CONFIG": config, **own}):
            assert Client().get(ITEM).status_code == 403
            project.authorize(lambda request, plugin, route: True)
            project.service("app/name")(lambda params, caller: "app")
            assert Client().get(ITEM).status_code == status
            assert project["shop"].request("shop/ask") == "app"
        project._authorize = None


def test_registrations_while_the_host_is_made(config: Dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that registers is imported by one thread while another serves the first request: both are kept."""
    from legacy_plugins.integrations.django import extension

    project = LegacyPlugins()

    class Late(extension.ProjectPlugins):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            project.authorize(allow)
            project.service("app/late")(allow)

    monkeypatch.setattr(extension, "ProjectPlugins", Late)
    with override_settings(LEGACY_PLUGINS={"CONFIG": config}, ROOT_URLCONF=(path("api/plugins/", include(URLS)),)):
        assert project.project.hook() is allow
        assert project.project.bridge("/api/plugins").authorize is allow
        assert "app/late" in project.host._services


def allow(*_args: Any) -> bool:
    """A hook, and a service."""
    return True


@pytest.mark.parametrize(("start", "expected"), [("lazy", PluginState.STOPPED), ("eager", PluginState.READY)])
def test_an_eager_start_happens_at_the_first_request(project: Any, config: Dict[str, Any], start: str,
                                                     expected: PluginState) -> None:
    """Any request starts the plugins, once; without the setting a request for something else starts nothing."""
    with override_settings(LEGACY_PLUGINS={"CONFIG": config, "START": start}):
        host = project.host
        assert [status.state for status in host.status()] == [PluginState.STOPPED]
        assert Client().get("/nothing").status_code == 404
        if start == "eager":
            host["shop"].wait_ready(30)
        assert [status.state for status in host.status()] == [expected]
        host.stop()
        Client().get("/nothing")
        assert [status.state for status in host.status()] == [PluginState.STOPPED]


def test_an_eager_start_that_fails_fails_no_request(caplog: pytest.LogCaptureFixture) -> None:
    """Faulty settings are logged once; requests that have nothing to do with plugins are answered."""
    with override_settings(LEGACY_PLUGINS={"CONFIG": 7, "START": "eager"}, ROOT_URLCONF=(path("x", include([])),)):
        assert [Client().get("/nothing").status_code for _ in range(2)] == [404, 404]
    assert [record.message for record in caplog.records if record.name == "legacy_plugins.host"] == [
        "the plugins could not be started at this process's first request"]


def test_access_without_a_project() -> None:
    """Faulty settings and an application that is not installed say what is missing."""
    with override_settings(LEGACY_PLUGINS={"CONFIG": 7}), pytest.raises(ConfigError, match="CONFIG"):
        LegacyPlugins().host  # noqa: B018
    with override_settings(INSTALLED_APPS=[]), pytest.raises(ImproperlyConfigured, match="INSTALLED_APPS"):
        LegacyPlugins()["shop"]


def test_threads_that_come_first_together_get_one_host(config: Dict[str, Any]) -> None:
    """Each sees the same host, and the services are those that were registered."""
    own = LegacyPlugins()
    own.service("app/name")(lambda params, caller: None)
    barrier = threading.Barrier(8)
    seen: List[Any] = []

    def first_use() -> None:
        barrier.wait(20)
        seen.append(own.host)

    with override_settings(LEGACY_PLUGINS={"CONFIG": config}):
        threads = [threading.Thread(target=first_use) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert len(seen) == 8
    assert len(set(map(id, seen))) == 1
    assert list(seen[0]._services) == ["app/name"]


def test_hooks_of_servers_find_the_host() -> None:
    """`package.module:attribute` may name the object `plugins`."""
    with override_settings(LEGACY_PLUGINS={"CONFIG": {"plugins": []}}):
        from legacy_plugins.integrations.django import plugins
        assert find_host("legacy_plugins.integrations.django:plugins") is plugins.host


class FakesInATestCase(TestCase):
    """What a project's own tests look like; run by the test below."""

    __test__ = False
    databases = frozenset({"default", "other"})

    def runTest(self) -> None:  # noqa: N802 - the name of unittest
        """A fake answers in the plugin's place, and events wait for the commit that the test captures."""
        from legacy_plugins.integrations.django import plugins
        signal = Namespace().signal("OrderPaid")
        plugins.connect(signal, on_commit=True)
        page = {"path": "/items/{id}", "method": "GET", "handler": lambda params: {"body": params["pathParams"]}}
        with fake_plugin(plugins.host, "shop", {"shop/add": sum}, routes=[page]) as fake:
            assert plugins["shop"].request("shop/add", [1, 2]) == 3
            assert self.client.get(ITEM).json() == {"id": "4"}
            with self.captureOnCommitCallbacks(execute=True):
                signal.send(self, order=7)
                assert fake.events == []
            (event,) = fake.wait_for_events(1, 20)
            assert (event["eventType"], event["payload"]) == ("OrderPaid", {"order": 7})


def test_fakes_in_a_test_case(project: Any) -> None:
    """`TestCase` and `fake_plugin` work together."""
    result = unittest.TestResult()
    unittest.TestSuite([FakesInATestCase()]).run(result)
    assert [text for _, text in (*result.errors, *result.failures)] == []
    assert result.testsRun == 1
