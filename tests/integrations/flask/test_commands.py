"""`flask plugins ...`, with a plugin that really runs."""
from __future__ import annotations

import json
from typing import Any, Dict, List

import pytest
from click.testing import CliRunner
from flask import Flask, request
from flask.cli import FlaskGroup

from legacy_plugins.errors import ConfigError
from legacy_plugins.host import PluginState
from legacy_plugins.integrations.flask import LegacyPlugins


@pytest.fixture
def app(config: Dict[str, Any], apps: List[Flask]) -> Flask:
    """An application with `shop`, and with `broken`, which cannot start, and `idle`, which is disabled."""
    config["plugins"] += [{"name": "broken", "command": "/nowhere/plugin"},
                          {"name": "idle", "command": "/nowhere/plugin", "enabled": False}]
    app = Flask("app")
    LegacyPlugins(app, config=config)
    apps.append(app)
    return app


def _run(app: Flask, *arguments: str) -> Any:
    result = app.test_cli_runner().invoke(args=["plugins", *arguments])
    states = {status.state for status in app.extensions["legacy_plugins"].host.status()}
    assert states <= {PluginState.STOPPED, PluginState.FAILED, PluginState.DISABLED}
    return result


def test_list(app: Flask) -> None:
    """Each plugin with its state, as a table and as JSON."""
    result = _run(app, "list", "--json")
    assert result.exit_code == 0
    assert [(row["name"], row["state"], row["version"]) for row in json.loads(result.output)] == [
        ("shop", "ready", "1.0"), ("broken", "failed", ""), ("idle", "disabled", "")]


def test_the_process_has_its_plugins_as_before(config: Dict[str, Any], apps: List[Flask]) -> None:
    """A command inside a process that serves leaves what runs running, and what was never used to its first use."""
    app = Flask("app")
    plugins = LegacyPlugins(app, config=config)
    apps.append(app)
    assert _run(app, "list").exit_code == 0
    with app.app_context():
        assert plugins["shop"].request("shop/add", [1, 2]) == 3
        app.test_cli_runner().invoke(args=["plugins", "check"])
        assert plugins["shop"].request("shop/add", [1, 2]) == 3


def test_tables_have_a_head_and_no_rows_say_so(config: Dict[str, Any], apps: List[Flask]) -> None:
    """Columns are aligned under their names; an empty table is the word "none"."""
    app = Flask("app")
    LegacyPlugins(app, config=config)
    apps.append(app)
    lines = _run(app, "list").output.splitlines()
    assert lines[0].split() == ["name", "state", "version", "required", "restarts", "reason"]
    assert lines[1].index("ready") == lines[0].index("state")
    empty = Flask("empty")
    LegacyPlugins(empty, config={"plugins": []})
    assert _run(empty, "list").output == "none\n"


def test_check_fails_for_a_plugin_that_is_not_ready(app: Flask, config: Dict[str, Any], apps: List[Flask]) -> None:
    """Exit code 1 with the reason; 0 where all enabled plugins are ready."""
    result = _run(app, "check")
    assert result.exit_code == 1
    assert "/nowhere/plugin" in result.output
    good = Flask("good")
    LegacyPlugins(good, config={**config, "plugins": [config["plugins"][0], config["plugins"][2]]})
    apps.append(good)
    assert _run(good, "check").exit_code == 0


@pytest.mark.parametrize(("settings", "path"), [
    ({}, "/api/plugins/shop/items/{id}"), ({"LEGACY_PLUGINS_URL_PREFIX": "/ext"}, "/ext/shop/items/{id}"),
    ({"LEGACY_PLUGINS_URL_PREFIX": None}, "(not served) /items/{id}"),
])
def test_routes(config: Dict[str, Any], apps: List[Flask], settings: Dict[str, Any], path: str) -> None:
    """As they are served, with who may call them."""
    app = Flask("app")
    app.config.update(settings)
    LegacyPlugins(app, config=config)
    apps.append(app)
    (row,) = json.loads(_run(app, "routes", "--json").output)
    assert row == {"methods": "GET,POST", "path": path, "plugin": "shop", "auth": False, "public": True,
                   "description": "One item"}


def test_call(app: Flask) -> None:
    """The result as JSON; a plugin's error is exit code 1, params that are not JSON are 2."""
    result = _run(app, "call", "shop", "shop/add", "[1, 2]", "--timeout", "20")
    assert (result.exit_code, json.loads(result.output)) == (0, 3)
    result = _run(app, "call", "shop", "shop/none")
    assert result.exit_code == 1
    assert "-32601" in result.output
    assert _run(app, "call", "unknown", "x").exit_code == 1
    assert _run(app, "call", "shop", "x", "{").exit_code == 2


@pytest.mark.filterwarnings("ignore:pkg_resources is deprecated", "ignore:Deprecated call to `pkg_res")  # Flask 2.0
@pytest.mark.parametrize("command", [("plugins", "check"), ("plugins", "list", "--json"), ("routes",)])
def test_faults_of_the_configuration(command: Any) -> None:
    """All of them as text and exit code 1, where an application's factory fails with them; never a traceback."""
    def create_app() -> Flask:
        app = Flask("app")
        LegacyPlugins(app, config={"plugins": [{"name": "A", "command": 7}]})
        return app

    with pytest.raises(ConfigError):
        create_app()
    result = CliRunner().invoke(FlaskGroup(create_app=create_app), command)
    assert result.exit_code in (1, 2)
    assert "Traceback" not in result.output
    assert "configuration has faults" in result.output
    assert "/plugins/0/name" in result.output
    assert "/plugins/0/command" in result.output


def test_where_a_request_goes(config: Dict[str, Any], apps: List[Flask]) -> None:
    """The application's own scheme, server name and root, where it has them."""
    app = Flask("app")
    app.config.update(SERVER_NAME="example.org:81", APPLICATION_ROOT="/app", PREFERRED_URL_SCHEME="https")
    LegacyPlugins(app, config=config)
    apps.append(app)
    app.add_url_rule("/where", view_func=lambda: request.url)
    result = _run(app, "request", "GET", "/where")
    assert result.output.splitlines()[-1] == "https://example.org:81/app/where"


def test_request(app: Flask) -> None:
    """Through the application, as a client would; exit code 1 for an error status."""
    result = _run(app, "request", "post", "/api/plugins/shop/items/4", "--data", "{}", "--header", "X-Request-ID: r-1")
    head, _, body = result.output.partition("\n\n")
    assert result.exit_code == 0
    assert head.splitlines()[0] == "200 OK"
    assert "X-Request-ID: r-1" in head.splitlines()
    assert json.loads(body)["id"] == "4"
    missing = _run(app, "request", "GET", "/api/plugins/shop/none", "--header", "Content-Type: text/plain", "--data",
                   "x")
    assert (missing.exit_code, missing.output.splitlines()[0]) == (1, "404 NOT FOUND")
    assert _run(app, "request", "GET", "/", "--header", "nonsense").exit_code == 2


def test_a_requests_cookie_arrives(app: Flask) -> None:
    """It is what the application gets."""
    app.add_url_rule("/cookies", view_func=lambda: dict(request.cookies))
    result = _run(app, "request", "GET", "/cookies", "--header", "Cookie: session=abc; b=2")
    assert json.loads(result.output.partition("\n\n")[2]) == {"session": "abc", "b": "2"}
