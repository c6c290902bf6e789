"""Clients that go away: what sockets and servers show of it, and what becomes of the call."""
from __future__ import annotations

import importlib.util
import socket
import struct
import subprocess
import sys
import types
from concurrent.futures import Future
from typing import Any, Callable, Iterator, List, Tuple

import pytest

from legacy_plugins.config.model import PluginConfig
from legacy_plugins.config.policies import HttpPolicy
from legacy_plugins.errors import PluginCrashed, PluginTimeout
from legacy_plugins.http import HttpBridge, disconnection
from legacy_plugins.http.disconnection import awaited, client_watch
from legacy_plugins.http.problems import HttpProblem
from tests.http.fakes import FakeHost, problem, request, route

needs_rdhup = pytest.mark.skipif(not disconnection._PEER_CLOSED, reason="needs POLLRDHUP, which Linux has")


@pytest.fixture(params=["tcp", "unix"])
def connection(request: Any) -> Iterator[Tuple[socket.socket, socket.socket]]:
    """The server's end of a connection, and the client's."""
    if request.param == "unix":
        server, client = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname())
            server, _ = listener.accept()
    with server, client:
        yield server, client


def _reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@needs_rdhup
@pytest.mark.fault("R17")
@pytest.mark.parametrize("key", ["gunicorn.socket", "werkzeug.socket"])
@pytest.mark.parametrize("leave", [socket.socket.close, lambda client: client.shutdown(socket.SHUT_WR), _reset])
def test_a_socket_shows_who_left(connection: Tuple[socket.socket, socket.socket], key: str,
                                 leave: Callable[[socket.socket], None]) -> None:
    """Not before, whatever was sent and not read; then at once, and again."""
    server, client = connection
    gone = client_watch({key: server})
    assert gone is not None
    assert not gone()
    client.sendall(b"GET /next HTTP/1.1\r\n\r\n")
    assert not gone()
    leave(client)
    assert (gone(), gone()) == (True, True)


@needs_rdhup
def test_a_socket_that_the_server_closed_shows_nothing() -> None:
    """There is nobody to ask about, and no error."""
    server, client = socket.socketpair()
    client.close()
    server.close()
    gone = client_watch({"gunicorn.socket": server})
    assert gone is not None
    assert not gone()


@needs_rdhup
def test_uwsgi_is_asked_for_the_descriptor(monkeypatch: pytest.MonkeyPatch,
                                           connection: Tuple[socket.socket, socket.socket]) -> None:
    """On the thread that serves the request, each time."""
    server, client = connection
    monkeypatch.setitem(sys.modules, "uwsgi", types.SimpleNamespace(connection_fd=server.fileno))
    gone = client_watch({"uwsgi.version": b"2.0"})
    assert gone is not None
    assert not gone()
    client.close()
    assert gone()


def test_waitress_says_it_itself() -> None:
    """Its own function is used as it is."""
    verdicts = [False, True]
    gone = client_watch({"waitress.client_disconnected": lambda: verdicts.pop(0), "gunicorn.socket": object()})
    assert gone is not None
    assert (gone(), gone()) == (False, True)


def test_other_servers_show_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """mod_wsgi for one; and any that would need what the system does not have."""
    assert client_watch({"mod_wsgi.version": (5, 0)}) is None
    monkeypatch.setattr(disconnection, "_PEER_CLOSED", 0)
    assert client_watch({"gunicorn.socket": object()}) is None


@needs_rdhup
@pytest.mark.skipif(importlib.util.find_spec("gevent") is None, reason="needs the package gevent")
def test_under_gevent() -> None:
    """The system's poll is asked, since gevent's does not know who left; other greenlets are not switched to."""
    code = ("from gevent import monkey; monkey.patch_all()\n"
            "import socket\nfrom legacy_plugins.http.disconnection import client_watch\n"
            "server, client = socket.socketpair()\ngone = client_watch({'gunicorn.socket': server})\n"
            "before = gone(); client.close(); print(before, gone())")
    done = subprocess.run([sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=60, check=True)
    assert done.stdout.split() == ["False", "True"]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks that follow one another at once."""
    monkeypatch.setattr(disconnection, "LOOK_SECONDS", 0.001)


def _never() -> bool:
    raise AssertionError("the client was looked at")


def test_an_answer_is_not_held_up() -> None:
    """A call that has ended, or ends before the first look, costs no look; errors are raised as they are."""
    done: Future[Any] = Future()
    done.set_result({"body": 1})
    assert awaited(done, _never) == {"body": 1}
    failed: Future[Any] = Future()
    failed.set_exception(PluginTimeout("no answer", plugin="shop"))
    with pytest.raises(PluginTimeout):
        awaited(failed, _never)


@pytest.mark.usefixtures("quick")
def test_an_answer_between_two_looks() -> None:
    """A client that stays gets it."""
    call: Future[Any] = Future()
    looks: List[int] = []

    def gone() -> bool:
        looks.append(1)
        if len(looks) == 3:
            call.set_result("late")
        return False

    assert awaited(call, gone) == "late"
    assert len(looks) == 3


@pytest.mark.fault("R17")
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("end", [True, KeyboardInterrupt(), SystemExit()])
def test_whatever_ends_the_wait_cancels_the_call(end: Any) -> None:
    """A client that left, or an exception that a signal threw into the waiting thread."""
    call: Future[Any] = Future()

    def gone() -> bool:
        if end is True:
            return True
        raise end

    with pytest.raises(HttpProblem if end is True else type(end)) as raised:
        awaited(call, gone)
    assert call.cancelled()
    assert end is not True or raised.value.status == 499  # type: ignore[union-attr]


@pytest.mark.fault("R16", "R17")
@pytest.mark.usefixtures("quick")
def test_a_client_that_left_gives_its_place_back() -> None:
    """The plugin is told, others are served, and there is no report of a failure."""
    host = FakeHost(PluginConfig("shop", "/p", http=HttpPolicy(public_routes=("*",), max_concurrency=1)))
    client = host.declare("shop", route())
    bridge = HttpBridge(host)  # type: ignore[arg-type]
    call: Future[Any] = Future()
    client.answer = lambda params: call
    assert problem(bridge.handle(request(client_gone=lambda: True)))["detail"] == "the client went away"
    assert call.cancelled()
    client.answer = {"body": 1}
    assert bridge.handle(request(client_gone=_never)).status == 200
    assert [made.timeout is not None and 0 < made.timeout <= 5 for made in host.calls] == [True, True]


@pytest.mark.fault("R19")
def test_a_crash_counts_for_its_route_all_the_same() -> None:
    """With a client to look after as without one."""
    host = FakeHost(PluginConfig("shop", "/p", http=HttpPolicy(public_routes=("*",))))
    client = host.declare("shop", route())
    bridge = HttpBridge(host)  # type: ignore[arg-type]
    crashes = iter(range(9))
    client.answer = lambda params: PluginCrashed(f"crash {next(crashes)}", "shop", message="crashed")
    assert [bridge.handle(request(client_gone=_never)).status for _ in range(3)] == [502, 502, 503]
