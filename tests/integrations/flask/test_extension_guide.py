"""What "Flask Extension Development" (https://flask.palletsprojects.com/extensiondev/) asks, point by point."""
from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest
from flask import Blueprint, Flask, current_app, g

from legacy_plugins import errors, signals
from legacy_plugins.integrations.flask import LegacyPlugins, create_blueprint, register_error_handlers
from tests.integrations.flask.conftest import ROOT

EMPTY: Dict[str, Any] = {"plugins": []}
ITEM = "/shop/items/4"


def test_the_extension_stores_no_application() -> None:
    """Whatever was registered, and after requests, the extension holds no application that all others have let go."""
    plugins = LegacyPlugins(config=EMPTY)
    plugins.authorize(lambda request, plugin, route: True)
    plugins.service("name")(lambda params, caller: None)
    app = Flask("app")
    app.config["LEGACY_PLUGINS_START"] = "eager"
    plugins.init_app(app)
    assert app.test_client().get("/api/plugins/none/").status_code == 404
    app.extensions["legacy_plugins"].host.stop()
    reference = weakref.ref(app)
    del app
    gc.collect()
    assert reference() is None


def test_everything_is_added_by_init_app_and_under_the_extensions_name() -> None:
    """Before it the application is as Flask made it; after it, one entry, one blueprint, one rule, one command."""
    plugins = LegacyPlugins(config=EMPTY)
    app = Flask("app")
    rules = len(list(app.url_map.iter_rules()))
    assert (app.extensions, app.blueprints, app.before_request_funcs) == ({}, {}, {})
    plugins.init_app(app)
    assert list(app.extensions) == list(app.blueprints) == ["legacy_plugins"]
    assert len(list(app.url_map.iter_rules())) == rules + 1
    assert list(app.cli.commands) == ["plugins"]
    assert app.before_request_funcs == {}
    assert app.teardown_appcontext_funcs == []


@pytest.mark.parametrize("first", [True, False])
def test_an_application_may_have_a_blueprint_of_its_own_called_plugins(first: bool) -> None:
    """The extension's blueprint bears the extension's name, so it does not stand in the way of one for people."""
    own = Blueprint("plugins", "own")
    own.add_url_rule("/plugins", "page", lambda: "a page about plugins")
    app = Flask("app")
    if first:
        app.register_blueprint(own)
    LegacyPlugins(app, config=EMPTY)
    if not first:
        app.register_blueprint(own)
    assert app.test_client().get("/plugins").data == b"a page about plugins"
    assert app.test_client().get("/api/plugins/none/").mimetype == "application/problem+json"


def test_applications_with_different_configurations_live_side_by_side(config: Dict[str, Any],
                                                                      apps: List[Flask]) -> None:
    """Another prefix, another plugin, another rule: by factory, in one process, at the same time, on three threads."""
    plugins = LegacyPlugins()

    @plugins.authorize
    def authorize(request: Any, plugin: str, route: Any) -> Any:
        return {"of": current_app.name} if current_app.config["OPEN"] else None

    def create_app(name: str, **settings: Any) -> Flask:
        entry = {**config["plugins"][0], "name": f"shop-{name}", "http": {}}
        app = Flask(name)
        app.config.update(LEGACY_PLUGINS_CONFIG={**config, "plugins": [entry]}, **settings)
        plugins.init_app(app)
        apps.append(app)
        return app

    one = create_app("one", OPEN=True)
    two = create_app("two", OPEN=False)
    three = create_app("three", OPEN=True, LEGACY_PLUGINS_URL_PREFIX="/ext")
    seen: Dict[str, Tuple[int, Any]] = {}

    def visit(app: Flask, path: str) -> None:
        answer = app.test_client().get(path)
        seen[app.name] = answer.status_code, answer.get_json(force=True).get("user")

    visits = [threading.Thread(target=visit, args=(app, f"{prefix}/shop-{app.name}/items/4"))
              for app, prefix in ((one, "/api/plugins"), (two, "/api/plugins"), (three, "/ext"))]
    for thread in visits:
        thread.start()
    for thread in visits:
        thread.join(60)
    assert seen == {"one": (200, {"of": "one"}), "two": (403, None), "three": (200, {"of": "three"})}
    for app in apps:
        with app.app_context():
            assert list(plugins) == [f"shop-{app.name}"]


def test_two_extensions_serve_two_applications(config: Dict[str, Any], apps: List[Flask]) -> None:
    """Configuration per extension: each object brings its own, and neither touches the other's application."""
    one, two = LegacyPlugins(config=EMPTY), LegacyPlugins(config=config)
    heard: List[str] = []
    one.authorize(lambda request, plugin, route: heard.append(plugin))
    for plugins in (one, two):
        app = Flask("app")
        plugins.init_app(app)
        apps.append(app)
    assert [app.test_client().get("/api/plugins" + ITEM).status_code for app in apps] == [404, 200]
    assert heard == []


def test_the_factory_alone_leaves_no_trace_of_the_extension(config: Dict[str, Any], apps: List[Flask]) -> None:
    """A blueprint of `create_blueprint` beside the extension's: two hosts, each under its own prefix and name."""
    inner, outer = Flask("inner"), Flask("outer")
    LegacyPlugins(inner, config=config)
    LegacyPlugins(outer, config=config)
    apps += [inner, outer]
    outer.register_blueprint(create_blueprint(inner.extensions["legacy_plugins"].host), url_prefix="/inner")
    client = outer.test_client()
    pids = {client.get(prefix + ITEM).get_json()["pid"] for prefix in ("/inner", "/api/plugins")}
    assert len(pids) == 2
    assert set(outer.blueprints) == {"legacy_plugins", "plugins"}


def test_work_of_plugins_runs_in_a_context_that_is_torn_down(config: Dict[str, Any], apps: List[Flask]) -> None:
    """Each service call has a context and a `g` of its own, and what the application closes with it is closed."""
    plugins = LegacyPlugins(config=config)
    closed: List[Any] = []
    app = Flask("app")
    app.teardown_appcontext(lambda error: closed.append((g.get("connection"), type(error).__name__)))

    @plugins.service("app/name")
    def service(params: Any, caller: Any) -> Any:
        assert "connection" not in g
        g.connection = f"connection {params}"
        if params == ["fail"]:
            raise errors.InvalidParams(-32602, "this is not to be had")
        return g.connection

    plugins.init_app(app)
    apps.append(app)
    with app.app_context():
        g.connection = "the caller's"
        assert plugins["shop"].request("shop/ask", ["one"]) == "connection ['one']"
        with pytest.raises(errors.RpcError):
            plugins["shop"].request("shop/ask", ["fail"])
        assert closed == [("connection ['one']", "NoneType"), ("connection ['fail']", "InvalidParams")]
        assert g.connection == "the caller's"


def test_receivers_of_the_librarys_signals_run_in_the_context_of_their_application(config: Dict[str, Any],
                                                                                   apps: List[Flask]) -> None:
    """Each receiver knows whose plugin it hears of, among several applications; a raising one ends its context too."""
    plugins = LegacyPlugins(config=config)
    heard: List[Tuple[str, str]] = []
    closed: List[str] = []
    done = threading.Semaphore(0)

    def on_ready(sender: Any, plugin: str, **extra: Any) -> None:
        assert "seen" not in g
        g.seen = True
        heard.append((current_app.name, plugin))
        raise RuntimeError("a receiver's own fault")

    signals.plugin_ready.connect(on_ready)
    for name in ("one", "two"):
        app = Flask(name)

        @app.teardown_appcontext
        def close(error: Any, name: str = name) -> None:
            if "seen" in g:
                closed.append(f"{name}: {error}")
                done.release()

        plugins.init_app(app)
        apps.append(app)
        app.extensions["legacy_plugins"].host.start()
    assert [done.acquire(timeout=30), done.acquire(timeout=30)] == [True, True]
    assert sorted(heard) == [("one", "shop"), ("two", "shop")]
    assert sorted(closed) == ["one: a receiver's own fault", "two: a receiver's own fault"]


def test_configuration_keys_start_with_the_extensions_name(config: Dict[str, Any], apps: List[Flask]) -> None:
    """Nothing is read from settings of others, and none is written: the settings are the application's."""
    asked: List[str] = []

    class Settings(dict):  # type: ignore[type-arg]
        def get(self, key: str, default: Any = None) -> Any:
            asked.append(key)
            return super().get(key, default)

        def __getitem__(self, key: str) -> Any:
            asked.append(key)
            return super().__getitem__(key)

    app = Flask("app")
    settings = Settings(app.config, LEGACY_PLUGINS_CONFIG=config)
    before = dict(settings)
    app.config = settings  # type: ignore[assignment]
    LegacyPlugins(app)
    apps.append(app)
    assert {"LEGACY_PLUGINS_CONFIG", "LEGACY_PLUGINS_TRUST", "LEGACY_PLUGINS_URL_PREFIX",
            "LEGACY_PLUGINS_START"} == {key for key in asked if key.startswith("LEGACY")}
    assert {key for key in asked if not key.startswith("LEGACY")} <= {"SERVER_NAME", "DEBUG", "TESTING"}  # Flask's own
    assert dict(settings) == before


def test_the_test_client_and_the_cli_runner_work_as_ever(config: Dict[str, Any], apps: List[Flask]) -> None:
    """Cookies of a session reach the hook, `with client:` keeps the request, the runner's commands see the plugins."""
    plugins = LegacyPlugins(config={**config, "plugins": [{**config["plugins"][0], "http": {}}]})
    app = Flask("app")
    app.secret_key = "a key for tests"

    @app.route("/login/<name>")
    def login(name: str) -> str:
        from flask import session
        session["user"] = name
        return name

    @plugins.authorize
    def authorize(request: Any, plugin: str, route: Any) -> Any:
        from flask import session
        return {"id": session["user"]} if "user" in session else ("log in first", 401)

    @app.cli.command("add")
    def add() -> None:
        import click
        click.echo(plugins["shop"].request("shop/add", [1, 2]))

    plugins.init_app(app)
    apps.append(app)
    with app.test_client() as client:
        from flask import request
        assert client.get("/api/plugins" + ITEM).status_code == 401
        client.get("/login/ada")
        assert client.get("/api/plugins" + ITEM).get_json()["user"] == {"id": "ada"}
        assert (request.blueprint, request.endpoint) == ("legacy_plugins", "legacy_plugins.request")
    assert app.test_cli_runner().invoke(args=["add"]).output == "3\n"


def test_the_flask_program_finds_the_commands_of_a_factory(config: Dict[str, Any], tmp_path: Path) -> None:
    """`flask plugins list` in a process of its own, with an application that a factory makes."""
    (tmp_path / "settings.json").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / "shop_app.py").write_text(
        "from flask import Flask\nfrom legacy_plugins.integrations.flask import LegacyPlugins\n"
        "plugins = LegacyPlugins()\ndef create_app():\n    app = Flask(__name__)\n"
        f"    plugins.init_app(app, {str(tmp_path / 'settings.json')!r})\n    return app\n", encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "flask", "plugins", "list", "--json"], cwd=tmp_path, text=True,
                          env={**os.environ, "FLASK_APP": "shop_app:create_app", "PYTHONPATH": str(ROOT)}, timeout=100,
                          stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [(row["name"], row["state"]) for row in json.loads(done.stdout)] == [("shop", "ready")]


def test_the_error_handlers_leave_the_applications_own_in_place() -> None:
    """A handler for a narrower error wins; what is handled is not propagated while testing; other errors are."""
    app = Flask("app")
    app.config["TESTING"] = True
    register_error_handlers(app)
    app.register_error_handler(errors.PluginTimeout, lambda error: ("too slow", 504))
    raised: Dict[str, Exception] = {"timeout": errors.PluginTimeout("slow", plugin="shop"),
                                    "busy": errors.PluginBusy("shop"), "own": ZeroDivisionError()}

    @app.route("/<name>")
    def view(name: str) -> str:
        raise raised[name]

    client = app.test_client()
    assert client.get("/timeout").data == b"too slow"
    assert (client.get("/busy").status_code, client.get("/busy").mimetype) == (503, "application/problem+json")
    with pytest.raises(ZeroDivisionError):
        client.get("/own")
