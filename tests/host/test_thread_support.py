"""A process whose background threads stand still: it says so, once."""
from __future__ import annotations

import logging
import sys
import types
import warnings
from typing import Any

import pytest

from legacy_plugins.host import thread_support
from tests.host.conftest import run_script


@pytest.fixture(autouse=True)
def _first_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_support, "_warned", False)


def _inside(monkeypatch: pytest.MonkeyPatch, **members: Any) -> None:
    uwsgi = types.ModuleType("uwsgi")
    vars(uwsgi).update(members)
    monkeypatch.setitem(sys.modules, "uwsgi", uwsgi)


def test_uwsgi_without_threads_is_told_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """One line in the log and one warning name the option to set; the next start says nothing."""
    _inside(monkeypatch, has_threads=0)
    with caplog.at_level(logging.WARNING, "legacy_plugins.host"):
        with pytest.warns(RuntimeWarning, match="enable-threads"):
            thread_support.warn_without_threads()
        thread_support.warn_without_threads()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "enable-threads = true" in caplog.text


@pytest.mark.parametrize("members", [{"has_threads": 1}, {}])
def test_uwsgi_with_threads(monkeypatch: pytest.MonkeyPatch, members: Any) -> None:
    """Nothing is said where threads run, or where a uWSGI does not tell."""
    _inside(monkeypatch, **members)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        thread_support.warn_without_threads()


def test_elsewhere() -> None:
    """Outside of uWSGI threads run."""
    assert thread_support.threads_run()


def test_a_host_warns_at_its_start() -> None:
    """The first use of a host inside such a uWSGI warns, without any hook."""
    assert "RuntimeWarning: uWSGI runs without threads" in run_script("""
import sys, types
sys.modules["uwsgi"] = types.SimpleNamespace(has_threads=0)
from legacy_plugins import PluginHost
PluginHost({"plugins": []}).start()
""", check=False)
