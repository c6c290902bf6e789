"""Database connections on the library's threads: closed around services, receivers and callbacks."""
from __future__ import annotations

import threading
from typing import Any, List

import pytest
from django.db import connection

from legacy_plugins import signals
from legacy_plugins.integrations.django.connections import with_fresh_connections
from legacy_plugins.rpc.dispatcher import shared_dispatcher
from legacy_plugins.testing import fake_plugin


def _query() -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return connection.connection


@pytest.mark.req("R2")
def test_a_service_leaves_no_old_connection() -> None:
    """With CONN_MAX_AGE 0 the connection that a service opened is closed when it ends, whatever it raises."""
    seen: List[Any] = []

    def use(params: Any, caller: Any) -> None:
        seen.append(connection.connection)
        _query()
        raise ZeroDivisionError

    wrapped = with_fresh_connections(use)
    done = threading.Event()

    def run() -> None:
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                wrapped(None, None)
        seen.append(connection.connection)
        done.set()

    threading.Thread(target=run).start()
    assert done.wait(20)
    assert seen == [None, None, None]
    assert with_fresh_connections(use).__name__ == "use"


@pytest.mark.req("R2")
def test_services_are_wrapped_so(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those registered before the first use, and those after it."""
    monkeypatch.setattr(project, "_services", [])

    def look(params: Any, caller: Any) -> Any:
        before = connection.connection
        _query()
        return before is None

    project.service("app/early")(look)
    host = project.host
    project.service("app/late")(look)
    with fake_plugin(host, "shop", reverseRpc=True) as fake:
        for name in ("app/early", "app/late") * 3:
            assert fake.call_host(name, timeout=20) is True
    assert [host._services[name].__wrapped__ for name in ("app/early", "app/late")] == [look, look]


@pytest.mark.req("R2")
def test_a_connection_that_failed_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that its server dropped is closed before the next job, even where connections are kept for ever."""
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", None)
    first = _query()
    connection.errors_occurred = True
    monkeypatch.setattr(connection, "is_usable", lambda: False)
    assert with_fresh_connections(lambda: connection.connection)() is None
    assert connection.connection is not first


@pytest.mark.req("R2")
def test_receivers_and_callbacks_run_between_closings(project: Any) -> None:
    """On the dispatch thread nothing keeps a connection: signals' receivers, and done-callbacks of futures."""
    seen: List[Any] = []

    def receive(host: Any, **_: Any) -> None:
        seen.append(connection.connection)
        _query()

    with fake_plugin(project.host, "shop", {"shop/add": sum}), signals.request_finished.connected_to(receive):
        for _ in range(2):
            future = project["shop"].submit("shop/add", [1])
            future.add_done_callback(lambda _: receive(None))
            assert future.result(20) == 1
        last = threading.Event()
        shared_dispatcher().post(lambda: seen.append(connection.connection) or last.set())
        assert last.wait(20)
    assert len(seen) >= 3
    assert set(seen) == {None}
