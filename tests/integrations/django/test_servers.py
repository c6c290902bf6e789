"""Servers' hooks find a Django project's host, which its WSGI application does not have."""
from __future__ import annotations

import sys
import types
from typing import Any, List, Optional, Tuple

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.test import override_settings

from legacy_plugins import PluginHost
from legacy_plugins.host.lookup import find_host
from legacy_plugins.integrations.django import plugins, project
from legacy_plugins.integrations.gunicorn import ServerHooks

NAMED = "legacy_plugins.integrations.django:plugins"


class _Host(PluginHost):
    """Notes its starts."""

    def __init__(self) -> None:
        super().__init__({"plugins": []})
        self.starts: List[Tuple[bool, Optional[float]]] = []

    def start(self, wait: bool = True, timeout: Optional[float] = None) -> None:
        """Note it."""
        self.starts.append((wait, timeout))


def _worker(application: Any) -> Any:
    return types.SimpleNamespace(wsgi=application, timeout=15.0, notify=lambda: None)


def _wrapped(environ: Any, start_response: Any) -> Any:
    """An application around the project's, as for static files."""
    return WSGIHandler()(environ, start_response)


@pytest.mark.parametrize("application", [WSGIHandler(), _wrapped], ids=["django", "wrapped"])
def test_gunicorns_hooks_need_no_name(monkeypatch: pytest.MonkeyPatch, application: Any) -> None:
    """`ServerHooks()` starts the plugins of the project that gunicorn serves."""
    host = _Host()
    monkeypatch.setattr(project, "make_host", lambda given: host)
    with override_settings(LEGACY_PLUGINS={"CONFIG": {"plugins": []}}):
        ServerHooks().post_worker_init(_worker(application))
    assert host.starts == [(True, 15.0)]


def test_a_project_without_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays an error that says how to name a host, also where Django is not there at all, or not set up."""
    without = override_settings(INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"])
    with without, pytest.raises(LookupError, match=r"package\.module:attribute"):
        ServerHooks().post_worker_init(_worker(WSGIHandler()))
    for django in (None, types.SimpleNamespace(apps=types.SimpleNamespace(ready=False))):
        monkeypatch.setitem(sys.modules, "django.apps", django)
        with pytest.raises(LookupError, match=r"package\.module:attribute"):
            ServerHooks().post_worker_init(_worker(WSGIHandler()))


def test_the_name_for_all_other_hooks() -> None:
    """What the documentation gives for uWSGI and Celery is the project's host."""
    with override_settings(LEGACY_PLUGINS={"CONFIG": {"plugins": []}}):
        assert find_host(NAMED) is plugins.host
