"""That the harness sees what it looks for: a table without orphans says nothing where an orphan would not be found."""
from __future__ import annotations

import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Iterator, List, Sequence

import pytest

from legacy_plugins.transport.guard import TOKEN_VARIABLE
from tests.servers.cells import Cell, Figures, settle
from tests.servers.client import Answer, ask
from tests.servers.server import Server

MAIN = f"""
import os, subprocess, threading
for token in ("a" * 32, "a" * 32, "b" * 32):
    subprocess.Popen(["sleep", "300"], env=dict(os.environ, {TOKEN_VARIABLE}=token), start_new_session=True)
threading.Event().wait()
"""


class Careless(Server):
    """A server that starts "plugins" without anybody to end them."""

    name = "careless"
    modes = ("only",)

    def command(self) -> Sequence[str]:
        """A program that serves nothing."""
        return [sys.executable, "-c", MAIN]

    def is_ready(self) -> bool:
        """Whether all children run."""
        return len(self.plugins(self.pid)) == 3


@pytest.fixture
def careless(tmp_path: Path) -> Iterator[Careless]:
    """Such a server, running."""
    with Careless(tmp_path, "only") as server:
        yield server


def test_orphans_are_found(careless: Careless) -> None:
    """Nobody is an orphan while the host lives; afterwards everybody with its tokens is, and the figures are bad."""
    assert careless.orphans() == []
    careless.signal(signal.SIGKILL)
    assert careless.wait_end()
    assert len(careless.orphans()) == 3
    figures = Figures()
    settle(Cell(Careless, "only", lambda cell, figures: None, 0.1), careless, figures, time.monotonic())
    assert (figures.orphans, figures.good, figures.gone_ms) == (3, False, None)


def test_whatever_is_left_is_destroyed(careless: Careless) -> None:
    """After a test nothing of its server runs, orphans neither."""
    careless.signal(signal.SIGKILL)
    careless.destroy()
    assert careless.all() == []


class Script:
    """A TCP server that answers each connection with given bytes, and closes it; with None it stays silent."""

    def __init__(self, *answers: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._answers = list(answers)
        self._open: List[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        for answer in self._answers:
            connection, _ = self._listener.accept()
            self._open.append(connection)
            connection.recv(65536)
            if answer != b"silence":
                connection.sendall(answer)
                connection.close()

    def close(self) -> None:
        """Close everything."""
        for connection in (*self._open, self._listener):
            connection.close()


@pytest.mark.parametrize(("answer", "outcome"), [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", Answer("ok", 200, "{}")),
    (b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", Answer("refused", 503)),
    (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", Answer("error", 503)),
    (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", Answer("error", 500)),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", Answer("cut")), (b"", Answer("cut")),
    (b"silence", Answer("hung")),
])
def test_each_outcome_is_told_from_the_others(answer: bytes, outcome: Answer) -> None:
    """What a server does to a request ends in its one class."""
    script = Script(answer)
    try:
        found = ask(script.port, "/", 0.5 if answer == b"silence" else 20)
    finally:
        script.close()
    assert (found.outcome, found.status) == (outcome.outcome, outcome.status)


@pytest.mark.parametrize(("outcome", "allowed", "good", "provoked"), [
    ("ok", (), True, 0), ("cut", ("cut",), True, 1), ("cut", (), False, 0), ("error", ("cut",), False, 0),
    ("hung", ("cut", "error"), False, 0)])
def test_only_what_a_scenario_explains_is_good(outcome: str, allowed: Sequence[str], good: bool, provoked: int) -> None:
    """A request without an answer is never explained; others are where the scenario says so."""
    figures = Figures()
    figures.answered(Answer(outcome), *allowed)
    assert (figures.good, figures.provoked) == (good, provoked)
