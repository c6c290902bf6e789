"""Celery's signals: a child of the pool is warm when it takes tasks. What a task raises reaches who waits for it."""
from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import Any, Iterator, Optional

import pytest

from legacy_plugins import errors
from legacy_plugins.integrations.celery import connect_signals
from tests.integrations.recorded_host import RecordedHost


@pytest.fixture
def signals() -> Iterator[Any]:
    """Celery's signals; what a test connects is forgotten afterwards."""
    module = pytest.importorskip("celery.signals", reason="celery is missing")
    used = (module.worker_process_init, module.worker_process_shutdown)
    before = [list(signal.receivers or []) for signal in used]
    yield module
    for signal, receivers in zip(used, before):
        signal.receivers = receivers
        signal.sender_receivers_cache.clear()


@pytest.mark.parametrize(("wait", "expected"), [(None, 3.0), (1.0, 1.0), (60.0, 3.0)])
def test_a_child_starts_its_plugins(signals: Any, wait: Optional[float], expected: float) -> None:
    """It waits for them as long as asked, and no longer than Celery waits for the child."""
    host = RecordedHost()
    connect_signals(host, wait=wait)
    assert host.told == []
    signals.worker_process_init.send(sender=None)
    assert host.told == [("start", True, expected)]


def test_a_child_stops_its_plugins(signals: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """At its end it stops what it started, within `exitTimeoutMs`; another process stops nothing."""
    host = RecordedHost(exit_timeout_ms=1500)
    connect_signals(lambda: host)
    signals.worker_process_init.send(sender=None)
    signals.worker_process_shutdown.send(sender=None, pid=os.getpid(), exitcode=0)
    assert host.told[1:] == [("stop", 1.5)]
    monkeypatch.setattr("legacy_plugins.integrations.celery.os", SimpleNamespace(getpid=lambda: 1))
    signals.worker_process_shutdown.send(sender=None, pid=1, exitcode=0)
    assert len(host.told) == 2


def test_without_celery(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what is needed, and what for."""
    monkeypatch.setitem(sys.modules, "celery.signals", None)
    with pytest.raises(ImportError, match="connect_signals needs Celery: pip install celery"):
        connect_signals(RecordedHost())


_ERRORS = [
    errors.PluginError("it broke", plugin="report"),
    errors.ConfigError(["/plugins/0: no command", "/version: 2, expected 1"]),
    errors.UnknownPlugin("no plugin 'backpu'; known: backup", plugin="backpu"),
    errors.FrameTooLarge("20000000 bytes, at most 16777216", plugin="report"),
    errors.RpcError(409, "already\nrunning: 3", {"free": 0}, plugin="report"),
    errors.rpc_error(-32601, "no such method", plugin="report"),
    errors.PluginUnavailable("report", "backoff", 1.5),
    errors.PluginUnavailable("report", "backoff", 1.5, message="plugin 'report' is down: no database"),
    errors.PluginNotRunning("report", "stopped"),
    errors.PluginStartFailed("report", "failed", message="no such file"),
    errors.HandshakeFailed("report", "failed", message="no answer in time"),
    errors.PluginCrashed(None, "report"),
    errors.PluginBusy("report", "ready", message="1000 calls are pending"),
    errors.PluginTimeout("no answer within 30000 ms", plugin="report"),
]


@pytest.mark.parametrize("error", _ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("serializer", ["json", "pickle"])
def test_errors_of_tasks(error: errors.PluginError, serializer: str) -> None:
    """Whoever waits for a task's result gets the error in its kind, with its text, through either serializer."""
    celery = pytest.importorskip("celery", reason="celery is missing")
    app = celery.Celery(set_as_current=False, backend="cache+memory://")
    app.conf.update(result_serializer=serializer, accept_content=[serializer])
    backend = app.backend
    stored = backend.decode(backend.encode(backend.prepare_exception(error, serializer)))
    back = backend.exception_to_python(stored)
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert back.http_status == error.http_status
    assert getattr(back, "code", None) == getattr(error, "code", None)
    if serializer == "pickle":
        assert back.plugin == error.plugin
