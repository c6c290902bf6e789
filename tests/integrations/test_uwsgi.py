"""uWSGI's hooks: a worker is warm when it begins, and its plugins end with it."""
from __future__ import annotations

import signal
import sys
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Iterator, List

import pytest

from legacy_plugins.host import thread_support
from legacy_plugins.integrations.uwsgi import install_hooks
from tests.integrations.recorded_host import RecordedHost
from tests.servers.client import Load
from tests.servers.server import PLUGINS
from tests.servers.uwsgi import Uwsgi


@pytest.fixture
def uwsgi(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module that uWSGI gives to its applications, in the master."""
    module: Any = types.ModuleType("uwsgi")
    module.number = 0
    module.has_threads = 1
    module.worker_id = lambda: module.number
    monkeypatch.setitem(sys.modules, "uwsgi", module)
    monkeypatch.setattr(thread_support, "_warned", False)
    return module


def test_outside_of_uwsgi() -> None:
    """Nothing happens, so that a module that installs hooks can be imported anywhere."""
    host = RecordedHost()
    assert not install_hooks(host)
    assert host.told == []


def test_a_worker_that_is_forked(uwsgi: Any) -> None:
    """Nothing starts in the master; the worker's fork starts the plugins and waits, its end stops them."""
    host = RecordedHost(exit_timeout_ms=2000)
    assert install_hooks(host, wait=3.0)
    uwsgi.atexit()
    assert host.told == []
    uwsgi.number = 1
    uwsgi.post_fork_hook()
    uwsgi.atexit()
    assert host.told == [("start", True, 3.0), ("stop", 2.0)]


def test_an_application_that_is_imported_in_the_worker(uwsgi: Any) -> None:
    """With lazy-apps the fork is over: plugins start now, and the import does not wait for them."""
    uwsgi.number = 2
    host = RecordedHost()
    install_hooks(host)
    assert host.told == [("start", False, None)]


def test_mules_and_spoolers(uwsgi: Any) -> None:
    """They are forked too, but start plugins only when they use them."""
    host = RecordedHost()
    install_hooks(host)
    uwsgi.post_fork_hook()
    assert host.told == []


def test_another_process_stops_nothing(uwsgi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that inherited the hook, and never started plugins, does not stop them."""
    host = RecordedHost()
    uwsgi.number = 1
    install_hooks(host)
    monkeypatch.setattr("legacy_plugins.integrations.uwsgi.os", SimpleNamespace(getpid=lambda: 1))
    uwsgi.atexit()
    assert host.told == [("start", False, None)]


def test_hooks_that_were_there(uwsgi: Any) -> None:
    """Functions that were set before are called first, and one that raises does not take ours away."""
    host, called = RecordedHost(), []
    uwsgi.post_fork_hook = lambda: called.append(list(host.told))
    uwsgi.atexit = lambda: 1 / 0
    install_hooks(host)
    uwsgi.number = 1
    uwsgi.post_fork_hook()
    assert called == [[]]
    with pytest.raises(ZeroDivisionError):
        uwsgi.atexit()
    assert [what for what, *_ in host.told] == ["start", "stop"]


def test_threads_that_do_not_run(uwsgi: Any) -> None:
    """uWSGI without threads is told of when the hooks are installed."""
    uwsgi.has_threads = 0
    with pytest.warns(RuntimeWarning, match="enable-threads"):
        install_hooks(RecordedHost())


class _Warm(Uwsgi):
    def prepare(self) -> None:
        """The application with the hooks, as the documentation has them."""
        super().prepare()
        (self.folder / "warm.py").write_text(
            "from served import app\nfrom legacy_plugins.integrations.uwsgi import install_hooks\n"
            "install_hooks(app)\n", "utf-8")

    def command(self) -> List[str]:
        """uWSGI with that application."""
        return ["warm:app" if part == "served:app" else part for part in super().command()]


@pytest.mark.fault("H1", "H6")
@pytest.mark.parametrize(("mode", "settings"), [("fork", {"skip_atexit_teardown": True}), ("lazy-apps", {})])
def test_a_warm_worker(tmp_path: Path, mode: str, settings: Any) -> None:
    """Plugins run before the first request, none of them in the master, and end in order with their worker."""
    pytest.importorskip("pyuwsgi", reason="pyuwsgi is missing")
    with _Warm(tmp_path, mode, workers=2, **settings) as server:
        server.wait(lambda: [len(server.plugins(worker)) for worker in server.workers()] == [len(PLUGINS)] * 2,
                    "the plugins run")
        assert not server.plugins(server.pid)
        before = {process.pid for worker in server.workers() for process in server.plugins(worker)}
        with Load(server.port) as load:  # uWSGI loses a stop that comes while a worker is in its hook
            server.wait(lambda: len(load.workers()) == 2, "both workers serve")
        assert {answer["plain"] for answer in load.seen} <= before
        server.signal(signal.SIGTERM)
        assert server.wait_end(), server.log()
        server.wait(lambda: not server.orphans(), "the plugins have ended", 30)
        assert "ready -> stopping" in server.log(1000)
        assert "Traceback" not in server.log(1000)


@pytest.mark.fault("H1")
def test_a_uwsgi_without_threads(tmp_path: Path) -> None:
    """The worker warns at the first use of a plugin, and calls are answered all the same."""
    pyuwsgi = pytest.importorskip("pyuwsgi", reason="pyuwsgi is missing")
    version = [int(part) for part in _version(pyuwsgi).split(".")[:3]]
    if version >= [2, 0, 27]:
        pytest.skip(f"pyuwsgi {_version(pyuwsgi)} always has threads; one before 2.0.27 is missing")
    with Uwsgi(tmp_path, "fork", enable_threads=False) as server:
        assert [server.get("/call").outcome for _ in range(3)] == ["ok"] * 3
        assert server.log(1000).count("RuntimeWarning: uWSGI runs without threads") == 1


def _version(package: types.ModuleType) -> str:
    from importlib.metadata import version

    return version(package.__name__)
