"""The extension: one object at import time, a host for each application."""
from __future__ import annotations

import gc
import json
import threading
import weakref
from pathlib import Path
from typing import Any, Dict, List

import pytest
from blinker import Namespace, Signal
from flask import Flask, current_app

from legacy_plugins.config.loader import load_config
from legacy_plugins.errors import ConfigError, UnknownPlugin
from legacy_plugins.host import PluginState
from legacy_plugins.integrations.flask import LegacyPlugins

EMPTY: Dict[str, Any] = {"plugins": []}


def _app(apps: List[Flask], name: str = "app", **settings: Any) -> Flask:
    app = Flask(name)
    app.config.update(settings)
    apps.append(app)
    return app


@pytest.mark.req("D8", "D7", "R2", "R17")
def test_the_whole_way(config: Dict[str, Any], apps: List[Flask]) -> None:
    """Registered before there is an application: signal, service, hook; then a route, a call and an event work."""
    plugins = LegacyPlugins()
    signal = Namespace().signal("SyncCompleted")
    plugins.connect(signal, payload=lambda sender, **facts: {"app": current_app.name, **facts})

    @plugins.service("app/name")
    def name(params: Any, caller: Any) -> Any:
        return [current_app.name, caller.plugin, params, threading.current_thread() is threading.main_thread()]

    @plugins.authorize
    def authorize(request: Any, plugin: str, route: Any) -> Any:
        return {"id": request.headers["X-User"]} if "X-User" in request.headers else None

    config["plugins"][0]["http"]["publicRoutes"] = []
    app = _app(apps, "shopping", LEGACY_PLUGINS_CONFIG=config)
    plugins.init_app(app)
    assert [status.state for status in app.extensions["legacy_plugins"].host.status()] == [PluginState.STOPPED]
    client = app.test_client()
    assert client.get("/api/plugins/shop/items/4").status_code == 403
    answer = client.get("/api/plugins/shop/items/4", headers={"X-User": "7"})
    assert (answer.status_code, answer.get_json()["user"]) == (200, {"id": "7"})
    with app.app_context():
        assert plugins["shop"].request("shop/add", [1, 2]) == 3
        assert plugins.client("shop").request("shop/ask", {"a": 1}) == ["shopping", "shop", {"a": 1}, False]
        signal.send(object(), count=2)
        assert plugins["shop"].request("shop/seen") == ["SyncCompleted", {"app": "shopping", "count": 2}]
        assert "shop" in plugins
        assert "other" not in plugins
        assert list(plugins) == ["shop"]
        assert plugins.host is app.extensions["legacy_plugins"].host
        with pytest.raises(UnknownPlugin):
            plugins["other"]


@pytest.mark.req("D8")
def test_registrations_after_init_app_count_too(config: Dict[str, Any], apps: List[Flask]) -> None:
    """The order of decorators and init_app does not matter."""
    app = _app(apps)
    plugins = LegacyPlugins(app, config=config)
    config["plugins"][0]["http"]["publicRoutes"] = []
    plugins.service("app/name")(lambda params, caller: current_app.name)
    assert app.test_client().get("/api/plugins/shop/items/4").status_code == 200
    plugins.authorize(lambda request, plugin, route: {"id": 1})
    with app.app_context():
        assert plugins["shop"].request("shop/ask") == "app"


@pytest.mark.req("D8")
def test_the_hook_may_come_after_init_app(config: Dict[str, Any], apps: List[Flask]) -> None:
    """A hook that is set late guards the routes all the same."""
    config["plugins"][0]["http"]["publicRoutes"] = []
    app = _app(apps)
    plugins = LegacyPlugins(app, config=config)
    client = app.test_client()
    assert client.get("/api/plugins/shop/items/4").status_code == 403
    plugins.authorize(lambda request, plugin, route: True)
    assert client.get("/api/plugins/shop/items/4").status_code == 200


def test_several_applications(config: Dict[str, Any], apps: List[Flask]) -> None:
    """Each has its own host and processes; the extension reaches the one whose context is active."""
    plugins = LegacyPlugins(config=config)
    pids = []
    for name in ("one", "two"):
        app = _app(apps, name)
        plugins.init_app(app)
        pids.append(app.test_client().get("/api/plugins/shop/items/4").get_json()["pid"])
        with app.app_context():
            assert plugins["shop"].pid == pids[-1]
    assert pids[0] != pids[1]


@pytest.mark.req("R16", "R17")
def test_a_send_reaches_the_plugins_of_its_own_application() -> None:
    """By the active context, or by the sender; a send that belongs to no application reaches all."""
    plugins = LegacyPlugins(config=EMPTY)
    signal = Namespace().signal("Changed")
    plugins.connect(signal)
    one, two = Flask("one"), Flask("two")
    heard: List[Any] = []
    for app in (one, two):
        plugins.init_app(app)
        host = app.extensions["legacy_plugins"].host
        host.broadcast = lambda event_type, payload=None, name=app.name: heard.append((name, event_type, payload))
    with one.app_context():
        signal.send("sender", a=1)
    signal.send(two, a=2)
    signal.send("thread", a=3)
    assert heard[:2] == [("one", "Changed", {"a": 1}), ("two", "Changed", {"a": 2})]
    assert sorted(heard[2:]) == [("one", "Changed", {"a": 3}), ("two", "Changed", {"a": 3})]


def test_an_application_that_is_gone_hears_nothing() -> None:
    """The extension keeps no application, and neither do the signals that it listened to."""
    plugins = LegacyPlugins(config=EMPTY)
    signal = Namespace().signal("Changed")
    plugins.connect(signal, payload=lambda sender: None)
    plugins.service("name")(lambda params, caller: None)
    app = Flask("app")
    plugins.init_app(app)
    reference = weakref.ref(app)
    assert signal.receivers
    del app
    gc.collect()
    assert reference() is None
    signal.send("anybody")
    assert not signal.receivers
    plugins.connect(Namespace().signal("Later"))


def test_what_outlives_its_application_does_nothing() -> None:
    """Whoever still holds the entry of an application that is gone gets no events through it, and may register more."""
    plugins = LegacyPlugins(config=EMPTY)
    signal, later = Namespace().signal("Changed"), Signal()
    plugins.connect(signal)
    app = Flask("app")
    plugins.init_app(app)
    kept = app.extensions["legacy_plugins"]
    kept.host.broadcast = lambda *event: pytest.fail(f"broadcast {event}")
    del app
    gc.collect()
    signal.send("anybody")
    plugins.connect(later, "Later")
    plugins.service("late")(lambda params, caller: None)
    assert not later.receivers
    assert "late" not in kept.host._services


def test_a_signal_without_a_name_needs_an_event_type() -> None:
    """An anonymous signal is broadcast under the type that is given with it."""
    plugins = LegacyPlugins(config=EMPTY)
    anonymous = Signal()
    plugins.connect(anonymous, "Renamed", fields=["a"])
    app = Flask("app")
    plugins.init_app(app)
    heard: List[Any] = []
    app.extensions["legacy_plugins"].host.broadcast = lambda *event: heard.append(event)
    anonymous.send("sender", a=1, b=2)
    assert heard == [("Renamed", {"a": 1})]
    with pytest.raises(ValueError, match="event_type"):
        plugins.connect(Signal())


@pytest.mark.parametrize(("settings", "served"), [
    ({}, "/api/plugins/shop/items/4"), ({"LEGACY_PLUGINS_URL_PREFIX": "/ext"}, "/ext/shop/items/4"),
    ({"LEGACY_PLUGINS_URL_PREFIX": None}, None),
])
def test_the_url_prefix_is_a_setting(config: Dict[str, Any], apps: List[Flask], settings: Dict[str, Any],
                                     served: Any) -> None:
    """/api/plugins by default; None registers nothing, and calls still work."""
    app = _app(apps, **settings)
    plugins = LegacyPlugins(app, config=config)
    for path in ("/api/plugins/shop/items/4", "/ext/shop/items/4"):
        assert app.test_client().get(path).status_code == (200 if path == served else 404)
    plugins.authorize(lambda *_: None)
    with app.app_context():
        assert plugins["shop"].request("shop/add", [1]) == 1


def test_a_configuration_file_is_relative_to_the_application(config: Dict[str, Any], apps: List[Flask],
                                                             tmp_path: Path) -> None:
    """So are the directories of LEGACY_PLUGINS_TRUST; a finished HostConfig is taken too."""
    del config["trust"]["directories"]
    (tmp_path / "plugins.json").write_text(json.dumps(config))
    for source in ("plugins.json", config, load_config(config, base_dir=str(tmp_path))):
        for trust in ("plugins", ["plugins"]):
            app = Flask("app", root_path=str(tmp_path))
            apps.append(app)
            app.config.update(LEGACY_PLUGINS_CONFIG=source, LEGACY_PLUGINS_TRUST=trust)
            LegacyPlugins(app)
            assert str(tmp_path / "plugins") in app.extensions["legacy_plugins"].host.config.trust.directories
    assert app.test_client().get("/api/plugins/shop/items/4").status_code == 200


def test_an_eager_start_happens_at_the_first_request(config: Dict[str, Any], apps: List[Flask]) -> None:
    """Any request starts the plugins, once; without the setting a request for something else starts nothing."""
    for start, expected in (("lazy", [PluginState.STOPPED]), ("eager", [PluginState.READY])):
        app = _app(apps, LEGACY_PLUGINS_START=start)
        LegacyPlugins(app, config=config)
        host = app.extensions["legacy_plugins"].host
        assert [status.state for status in host.status()] == [PluginState.STOPPED]
        assert app.test_client().get("/nothing").status_code == 404
        if start == "eager":
            host["shop"].wait_ready(30)
        assert [status.state for status in host.status()] == expected
        host.stop()
        app.test_client().get("/nothing")
        assert [status.state for status in host.status()] == [PluginState.STOPPED]


def test_settings_that_make_no_sense() -> None:
    """A wrong start, a missing configuration, a second init_app: each says what to do."""
    app = Flask("app")
    with pytest.raises(ConfigError, match="LEGACY_PLUGINS_CONFIG"):
        LegacyPlugins(app)
    app.config.update(LEGACY_PLUGINS_CONFIG=EMPTY, LEGACY_PLUGINS_START="now")
    with pytest.raises(ConfigError, match="'now'"):
        LegacyPlugins(app)
    app.config["LEGACY_PLUGINS_START"] = "lazy"
    plugins = LegacyPlugins(app)
    with pytest.raises(RuntimeError, match="once"):
        plugins.init_app(app)


def test_access_without_an_application() -> None:
    """Outside a context, and before init_app, the error says which of the two it is."""
    plugins = LegacyPlugins()
    with pytest.raises(RuntimeError, match="app_context"):
        plugins["shop"]
    with Flask("app").app_context(), pytest.raises(RuntimeError, match="init_app"):
        plugins.client("shop")


def test_services_of_an_application_that_is_gone() -> None:
    """A service that a plugin calls too late fails with a reason, and does not run without its application."""
    plugins = LegacyPlugins(config=EMPTY)
    ran: List[Any] = []
    plugins.service("name")(lambda params, caller: ran.append(params))
    app = Flask("app")
    plugins.init_app(app)
    service = app.extensions["legacy_plugins"].host._services["name"]
    service(1, None)
    with app.app_context():
        service(2, None)
    del app
    gc.collect()
    with pytest.raises(RuntimeError, match="gone"):
        service(3, None)
    assert ran == [1, 2]
