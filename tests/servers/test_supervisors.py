"""gunicorn as systemd and container runtimes start and end it, as far as that can be done without them.

systemd's `KillMode` says who gets SIGTERM and, after `TimeoutStopSec`, SIGKILL. A container's first process is pid 1 of
a pid namespace, which `unshare` makes too.
"""
from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Iterable, Iterator, List, Mapping, Sequence, Tuple

import pytest

from tests.servers.cells import Figures
from tests.servers.client import Answer
from tests.servers.gunicorn import FAMILY, Gunicorn
from tests.servers.processes import Process
from tests.servers.scenarios import use_all, waiting

pytestmark = pytest.mark.skipif(bool(FAMILY.missing()), reason="gunicorn or gevent is missing: no server is started")
UNSHARE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


def send(number: int, processes: Iterable[Process]) -> None:
    """A signal to each, as a supervisor sends it to a control group."""
    for process in processes:
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Gunicorn]:
    """Two threaded workers with their plugins."""
    with Gunicorn(tmp_path, "gthread", workers=2) as server:
        use_all(server, Figures())
        yield server


def all_gone(server: Gunicorn) -> None:
    """Wait until nothing of the server is left."""
    server.wait(lambda: not server.all(), "nothing is left")


@pytest.mark.req("R3", "R15")
def test_sigterm_to_the_main_process_lets_requests_end(server: Gunicorn) -> None:
    """As with `KillMode=mixed`: a request that waits for its plugin is answered, then everything is gone."""
    request = waiting(server, 1)
    server.signal(signal.SIGTERM)
    assert request.answer().outcome == "ok"
    assert server.wait_end()
    assert server.exit_code == 0
    all_gone(server)


def test_sigterm_to_everybody_ends_plugins_under_their_requests(server: Gunicorn) -> None:
    """As with `KillMode=control-group`: nothing is left, but the request fails, since its plugin obeys the signal."""
    request = waiting(server, 5)
    send(signal.SIGTERM, server.all())
    assert request.answer().outcome == "crashed"
    assert server.wait_end()
    all_gone(server)


def test_sigkill_to_the_rest_leaves_nothing(server: Gunicorn) -> None:
    """As at the end of `TimeoutStopSec`: a request that takes longer is cut off, and nothing is left."""
    request = waiting(server, 60)
    server.signal(signal.SIGTERM)
    assert not server.wait_end(1)
    send(signal.SIGKILL, server.all())
    assert request.answer().outcome == "cut"
    all_gone(server)


class Contained(Gunicorn):
    """gunicorn as pid 1 of a pid namespace."""

    def command(self) -> Sequence[str]:
        """`unshare` becomes the parent of the namespace's first process."""
        return [*UNSHARE, *super().command()]

    def worker_pids(self, table: Mapping[int, Process]) -> List[int]:
        """The children of pid 1."""
        (first,) = [pid for pid, _ in children(self.pid)]
        return [pid for pid, _ in children(first) if pid in table and table[pid].token is None]


def children(pid: int) -> List[Tuple[int, str]]:
    """The pids and states of all children of a process, zombies (Z) among them."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            fields = Path("/proc", entry, "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            continue
        if fields[1] == str(pid):
            found.append((int(entry), fields[0]))
    return found


def may_unshare() -> bool:
    """Whether this user may make a pid namespace."""
    return shutil.which("unshare") is not None and subprocess.run([*UNSHARE, "true"], check=False).returncode == 0


@pytest.mark.req("R15")
def test_gunicorn_as_the_first_process_of_a_container(tmp_path: Path) -> None:
    """A killed worker's plugins are ended and leave no zombie; SIGTERM to pid 1 answers the last request first."""
    if not may_unshare():
        pytest.skip("unshare --pid is missing or not permitted here: no container's pid 1 is tested")
    with Contained(tmp_path, "gthread", workers=1) as server:
        ((first, _),) = children(server.pid)
        assert server.get("/call").outcome == "ok"
        (worker,) = server.workers()
        ended = server.plugins(worker)
        assert len(ended) == 2
        server.signal(signal.SIGKILL, worker)
        server.wait(lambda: server.workers() not in ([], [worker]), "another worker is there")
        server.wait(lambda: not server.orphans() and [state for _, state in children(first)].count("Z") == 0,
                    "neither orphan nor zombie")
        answer: Answer = server.get("/call")
        assert answer.outcome == "ok"
        request = waiting(server, 1)
        server.signal(signal.SIGTERM, first)
        assert request.answer().outcome == "ok"
        assert server.wait_end()
        server.wait(lambda: not server.all(), "nothing is left")
