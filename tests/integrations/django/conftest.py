"""A Django project for the tests of this folder: configured once in this process, changed by `override_settings`.

Nothing else in the test suite configures Django in this process; whole projects run in processes of their own.
"""
from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, NamedTuple, Optional

import django
import pytest
from django.conf import settings
from django.db import connections
from django.test import Client, override_settings
from django.urls import include, path

from legacy_plugins.config.model import PluginConfig
from legacy_plugins.config.policies import HttpPolicy
from tests.http.fakes import FakeClient, FakeHost, route

ROOT = Path(__file__).resolve().parents[3]
URLS = "legacy_plugins.integrations.django.urls"
OPEN = HttpPolicy(public_routes=("*",))
ROUTES = (route("/items", "GET", "POST"), route("/files/{path...}"), route("/"))

SHOP = '''
"""Answers a route and two methods, and asks the host."""
import os, queue
from legacy_plugins.sdk import Plugin

plugin = Plugin("shop", version="1.0")
seen = queue.Queue()

@plugin.route("/items/{id}", methods=["GET", "POST"], description="One item")
def item(request):
    return {"id": request.path_params["id"], "user": request.user, "pid": os.getpid()}

@plugin.method("shop/add")
def add(params):
    return sum(params)

@plugin.method("shop/ask")
def ask(params):
    return plugin.host.request("app/name", params)

@plugin.method("shop/seen")
def event(params):
    return seen.get(timeout=4)

@plugin.on("*")
def remember(event):
    seen.put([event.type, event.payload])

plugin.run()
'''

_folder = tempfile.TemporaryDirectory()  # a database in memory would stay open when it is closed

settings.configure(
    SECRET_KEY="for the tests alone",
    ALLOWED_HOSTS=["testserver", "localhost", "example.org"],
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "legacy_plugins.integrations.django"],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware"],
    DATABASES={name: {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{_folder.name}/{name}"}
               for name in ("default", "other")},
    ROOT_URLCONF=(),
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    LOGGING_CONFIG=None,
    LEGACY_PLUGINS={"CONFIG": {"plugins": []}},
    USE_TZ=True,
)
django.setup()


class Site(NamedTuple):
    """A project with one plugin that is a fake, and somebody who sends it requests."""

    host: FakeHost
    plugin: FakeClient
    client: Client

    def send(self, path: str, method: str = "GET", data: bytes = b"", content_type: str = "application/octet-stream",
             **extra: Any) -> Any:
        """The answer to a request."""
        return self.client.generic(method, path, data, content_type, **extra)


MakeSite = Callable[..., Site]


@pytest.fixture
def make_site(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeSite]:
    """Projects: `prefix` is where the plugins' URLs are included; the rest are settings."""
    from legacy_plugins.integrations.django import plugins, project

    with ExitStack() as stack:
        def make(http: HttpPolicy = OPEN, prefix: str = "api/plugins/", authorize: Any = None,
                 plugin: Optional[PluginConfig] = None, csrf: bool = False, **changed: Any) -> Site:
            host = FakeHost(plugin or PluginConfig("shop", "/p", http=http))
            monkeypatch.setattr(project, "make_host", lambda given: host)
            monkeypatch.setattr(plugins, "_authorize", authorize)
            own = changed.pop("own", {})
            changed.setdefault("ROOT_URLCONF", (path(prefix, include(URLS)),))
            stack.enter_context(override_settings(LEGACY_PLUGINS={"CONFIG": {"plugins": []}, **own}, **changed))
            return Site(host, host.declare("shop", *ROUTES), Client(enforce_csrf_checks=csrf))

        yield make


@pytest.fixture
def config(tmp_path: Path) -> Dict[str, Any]:
    """A configuration with the plugin `shop`, which really runs, open to everybody."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "shop.py").write_text(SHOP)
    return {"trust": {"directories": [str(folder)], "commands": ["python"]}, "plugins": [{
        "name": "shop", "command": "python", "args": [str(folder / "shop.py")], "env": {"PYTHONPATH": str(ROOT)},
        "allowReverseRpc": True, "http": {"publicRoutes": ["*"]}}]}


@pytest.fixture
def project(config: Dict[str, Any]) -> Iterator[Any]:
    """The object `plugins` of a project with the plugin `shop`; its plugins are stopped when the test ends."""
    from legacy_plugins.integrations.django import plugins

    with override_settings(LEGACY_PLUGINS={"CONFIG": config}, ROOT_URLCONF=(path("api/plugins/", include(URLS)),)):
        yield plugins


@pytest.fixture(autouse=True)
def closed_connections() -> Iterator[None]:
    """Every test leaves its databases closed."""
    yield
    connections.close_all()


@pytest.fixture(scope="session", autouse=True)
def no_databases_left() -> Iterator[None]:
    """The databases' folder goes with the last test."""
    yield
    _folder.cleanup()
