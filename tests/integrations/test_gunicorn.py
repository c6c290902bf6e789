"""gunicorn's server hooks: a worker is warm when it begins, and its plugins end before it does."""
from __future__ import annotations

import inspect
import signal
import subprocess
import sys
import threading
import types
from pathlib import Path
from typing import Any, Optional

import pytest

from legacy_plugins.integrations.gunicorn import ServerHooks
from tests.integrations.recorded_host import RecordedHost
from tests.plugins.programs import SECONDS, eventually
from tests.servers.gunicorn import Gunicorn
from tests.servers.server import PLUGINS, ROOT


class _Worker:
    """What gunicorn gives to hooks; its `timeout` is half of the setting."""

    def __init__(self, wsgi: Any = None, timeout: float = 15.0, graceful_timeout: float = 30.0) -> None:
        self.wsgi = wsgi
        self.timeout = timeout
        self.cfg = types.SimpleNamespace(graceful_timeout=graceful_timeout)
        self.notified = 0

    def notify(self) -> None:
        """The worker lives."""
        self.notified += 1


def _application(host: RecordedHost) -> Any:
    return types.SimpleNamespace(extensions={"legacy_plugins": types.SimpleNamespace(host=host)})


@pytest.mark.parametrize(("wait", "timeout", "expected"), [
    (None, 15.0, 15.0), (2.0, 15.0, 2.0), (60.0, 15.0, 15.0), (None, 0, None), (2.0, 0, 2.0)])
def test_a_new_worker_waits_for_its_plugins(wait: Optional[float], timeout: float, expected: Optional[float]) -> None:
    """It starts those of the application that gunicorn serves, and waits as long as asked and gunicorn allow."""
    host = RecordedHost()
    worker = _Worker(_application(host), timeout)
    ServerHooks(wait=wait).post_worker_init(worker)
    assert host.told == [("start", True, expected)]
    assert worker.notified == 1


def test_a_host_that_is_named() -> None:
    """The host that was given counts, not the application's."""
    host, other = RecordedHost(), RecordedHost()
    ServerHooks(lambda: host).post_worker_init(_Worker(_application(other)))
    assert host.told
    assert not other.told


def test_an_application_without_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how to name the host; Django projects have tests of their own."""
    monkeypatch.setitem(sys.modules, "django.apps", None)
    with pytest.raises(LookupError, match=r"package\.module:attribute"):
        ServerHooks().post_worker_init(_Worker(lambda environ, start_response: []))


@pytest.mark.parametrize(("hook", "graceful", "seconds"), [
    ("worker_int", 30.0, 4.5), ("worker_int", 1.0, 0.8), ("worker_abort", 30.0, 0.7), ("worker_exit", 30.0, 4.5),
    ("worker_exit", 2.0, 1.6)])
def test_a_stop_takes_no_longer_than_gunicorn_waits(hook: str, graceful: float, seconds: float) -> None:
    """Plugins get the host's `exitTimeoutMs`, and less where gunicorn would kill the worker before."""
    host = RecordedHost()
    hooks, worker = ServerHooks(host), _Worker(graceful_timeout=graceful)
    hooks.post_worker_init(worker)
    getattr(hooks, hook)(*([None] if hook == "worker_exit" else []), worker)
    eventually(lambda: host.told[1:] == [("stop", seconds)], "the stop")


@pytest.mark.parametrize("hook", ["worker_int", "worker_abort"])
def test_a_signal_handler_waits_for_nothing(hook: str) -> None:
    """The thread that it interrupts may hold what the stop needs: the hook returns first."""
    returned, stopped = threading.Event(), threading.Event()

    class Host(RecordedHost):
        def stop(self, timeout: Optional[float] = None) -> None:
            if returned.wait(SECONDS):
                stopped.set()
    hooks, worker = ServerHooks(Host()), _Worker()
    hooks.post_worker_init(worker)
    getattr(hooks, hook)(worker)
    returned.set()
    assert stopped.wait(SECONDS)


@pytest.mark.parametrize("hook", ["worker_int", "worker_abort"])
def test_a_signal_handler_without_a_thread(hook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none is left nothing is raised into the handler; the worker's exit stops the plugins."""
    def no_thread(*_: Any) -> None:
        raise RuntimeError("can't start new thread")
    host = RecordedHost()
    hooks, worker = ServerHooks(host), _Worker()
    hooks.post_worker_init(worker)
    with monkeypatch.context() as patch:
        patch.setattr("_thread.start_new_thread", no_thread)
        getattr(hooks, hook)(worker)
    assert len(host.told) == 1


def test_other_processes_stop_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """gunicorn calls `worker_exit` in its master too, and for workers that could not start: nothing is stopped."""
    host = RecordedHost()
    hooks = ServerHooks(host)
    hooks.worker_exit(None, _Worker())
    hooks.post_worker_init(_Worker())
    monkeypatch.setattr("legacy_plugins.integrations.gunicorn.os", types.SimpleNamespace(getpid=lambda: 1))
    hooks.worker_exit(None, _Worker())
    assert host.told == [("start", True, 15.0)]


def test_gunicorn_takes_the_hooks() -> None:
    """The hooks have the parameters that gunicorn's settings of these names have."""
    config = pytest.importorskip("gunicorn.config", reason="gunicorn is missing")
    settings = config.Config()
    hooks = ServerHooks()
    for name in ("post_worker_init", "worker_int", "worker_abort", "worker_exit"):
        settings.set(name, getattr(hooks, name))
        assert len(inspect.signature(settings.settings[name].get()).parameters) == 1 + (name == "worker_exit")


def test_the_module_needs_no_gunicorn() -> None:
    """A configuration file can be read by a check that has no gunicorn."""
    source = "import sys; sys.modules['gunicorn'] = None; import legacy_plugins.integrations.gunicorn"
    subprocess.run([sys.executable, "-c", source], cwd=str(ROOT), check=True, timeout=60)


class _Warm(Gunicorn):
    def prepare(self) -> None:
        """The configuration as elsewhere, and the hooks as the documentation has them."""
        super().prepare()
        with open(str(self.folder / "gunicorn_conf.py"), "a", encoding="utf-8") as file:
            file.write("from legacy_plugins.integrations.gunicorn import ServerHooks\n"
                       "hooks = ServerHooks()\n"
                       "post_worker_init = hooks.post_worker_init\n"
                       "worker_int, worker_abort, worker_exit = "
                       "hooks.worker_int, hooks.worker_abort, hooks.worker_exit\n")


@pytest.mark.fault("H6")
@pytest.mark.parametrize(("mode", "number"), [("sync", signal.SIGTERM), ("gthread+preload", signal.SIGINT)])
def test_a_warm_worker(tmp_path: Path, mode: str, number: int) -> None:
    """Plugins run before the first request, none of them in the parent, and all have ended when gunicorn has."""
    pytest.importorskip("gunicorn", reason="gunicorn is missing")
    with _Warm(tmp_path, mode, workers=2) as server:
        server.wait(lambda: [len(server.plugins(worker)) for worker in server.workers()] == [len(PLUGINS)] * 2,
                    "the plugins run")
        assert not server.plugins(server.pid)
        before = {process.pid for worker in server.workers() for process in server.plugins(worker)}
        assert server.get("/call").json()["plain"] in before
        server.signal(number)
        assert server.wait_end(), server.log()
        server.wait(lambda: not server.orphans(), "the plugins have ended", 30)
        assert "Traceback" not in server.log(1000)
        assert len(list((tmp_path / "plugins").glob("shutdown-*"))) == 2
