"""Storages that several processes count in: what is made of their answers, and of their silence."""
from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any, Iterator, List, Optional

import pytest

from legacy_plugins.config.policies import RateLimit
from legacy_plugins.http import rate_storage as module
from legacy_plugins.http.rate_storage import PAUSE_SECONDS, QUIET_SECONDS, RateStorage
from tests.plugins.programs import eventually

pytest.importorskip("limits", reason="needs the package `limits`")

SECRET = "s3cret"


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class _Storage(RateStorage):
    """A storage whose answers the test chooses."""

    def __init__(self, url: str = f"redis://user:{SECRET}@storage.example:6379/3?password={SECRET}") -> None:
        self.time = _Clock()
        super().__init__(url, "host", self.time)
        self.answer: Any = 0.0
        self.asked = 0

    def _counted(self, plugin: str, limit: RateLimit) -> float:
        self.asked += 1
        if isinstance(self.answer, BaseException):
            raise self.answer
        answer: float = self.answer
        return answer


def test_a_storage_that_fails_is_left_alone_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    """One request finds out; the next seconds nobody asks; then one tries, and the others go on without it."""
    storage, limit = _Storage(), RateLimit(1)
    assert storage.take("shop", limit) == 0
    storage.answer = ConnectionError(f"cannot reach {storage.url}, password {SECRET}\nat all")
    assert [storage.take("shop", limit) for _ in range(5)] == [None] * 5
    assert storage.asked == 2
    storage.time.now += PAUSE_SECONDS
    assert [storage.take("shop", limit) for _ in range(5)] == [None] * 5
    assert storage.asked == 3
    storage.answer = 2.5
    storage.time.now += PAUSE_SECONDS - 0.1
    assert storage.take("shop", limit) is None
    storage.time.now += 0.1
    assert [storage.take("shop", limit) for _ in range(2)] == [2.5, 2.5]
    first, last = caplog.messages
    assert "redis://storage.example:6379/3, cannot be asked (ConnectionError: cannot reach" in first
    assert "can be asked again; this process had counted 11 request(s)" in last
    assert SECRET not in caplog.text
    assert "\n" not in first


def test_a_storage_that_stays_away_is_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """With how many requests had to do without it."""
    storage = _Storage()
    storage.answer = OSError("gone")
    with caplog.at_level(logging.WARNING, "legacy_plugins.http"):
        for _ in range(int(2 * QUIET_SECONDS)):
            storage.take("shop", RateLimit(1))
            storage.time.now += 1
    assert [message.rpartition("did for ")[2] for message in caplog.messages] == ["1 request(s)", "61 request(s)"]


def test_many_threads_try_a_dead_storage_one_at_a_time() -> None:
    """While one request waits for a storage that was silent before, no other waits too."""
    storage, limit = _Storage(), RateLimit(1)
    storage.answer = OSError("gone")
    assert storage.take("shop", limit) is None
    storage.time.now += PAUSE_SECONDS
    asking, answer = threading.Event(), threading.Event()

    def silent(plugin: str, limit: RateLimit) -> float:
        asking.set()
        assert answer.wait(30)
        return 0.0

    storage._counted = silent  # type: ignore[method-assign]
    results: List[Optional[float]] = []
    probe = threading.Thread(target=lambda: results.append(storage.take("shop", limit)))
    probe.start()
    assert asking.wait(30)
    assert [storage.take("shop", limit) for _ in range(63)] == [None] * 63
    answer.set()
    probe.join(30)
    assert results == [0.0]


@pytest.mark.parametrize("package", ["limits", "redis"])
def test_a_package_that_is_missing_after_all(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
                                             package: str) -> None:
    """A configuration made by hand is not checked: the process counts for itself, and the log names the package."""
    monkeypatch.setitem(sys.modules, package, None)
    assert RateStorage("redis://127.0.0.1:1/0", "host").take("shop", RateLimit(1)) is None
    assert package in caplog.text


def test_a_storage_of_no_known_kind(caplog: pytest.LogCaptureFixture) -> None:
    """Never raises, whatever the address is; the log has no part of it that may be secret."""
    for url in (f"nothing://x:{SECRET}@y/", f"redis://x:{SECRET}@y:port/", "", "redis+sentinel://"):
        assert RateStorage(url, "host").take("shop", RateLimit(1)) is None
    assert SECRET not in caplog.text


@pytest.mark.parametrize("scheme", ["redis", "memcached"])
def test_a_storage_that_accepts_and_never_answers(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """Waiting for it is bounded by the time-out, once: drivers that try again would hold the request for seconds."""
    pytest.importorskip({"redis": "redis", "memcached": "pymemcache"}[scheme])
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.05)
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        storage = RateStorage(f"{scheme}://127.0.0.1:{server.getsockname()[1]}", "host")
        outcome: List[Any] = ["waiting"]
        visit = threading.Thread(target=lambda: outcome.append(storage.take("shop", RateLimit(1))), daemon=True)
        visit.start()
        visit.join(30)
        assert outcome == ["waiting", None]
        server.setblocking(False)
        server.accept()[0].close()
        with pytest.raises(BlockingIOError):
            server.accept()


# What each process of the application does: count until it is refused, and say what it was told.
_COUNTING = """
import importlib, sys
if sys.argv[4]:
    importlib.import_module(sys.argv[4])
from legacy_plugins.config.policies import RateLimit
from legacy_plugins.http.rate_storage import RateStorage
storage = RateStorage(sys.argv[1], "a host", lambda: 0.0)
limit = RateLimit(int(sys.argv[2]), int(sys.argv[3]))
print("ready", flush=True)
sys.stdin.readline()
passed = 0
while True:
    delay = storage.take("shop", limit)
    if delay != 0:
        break
    passed += 1
print(passed, delay)
"""


def _count_in_processes(url: str, requests: int, seconds: int, *, number: int = 2, module: str = "") -> List[List[str]]:
    """Let some processes at the limit, all at once; (passed, seconds to wait) of each."""
    arguments = [sys.executable, "-c", _COUNTING, url, str(requests), str(seconds), module]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
                 for _ in range(number)]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        outputs = []
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            outputs.append(process.communicate(timeout=60)[0].split())
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return outputs


_FILE_STORAGE = '''
"""A storage of `limits` in a file, for processes of one machine."""
import fcntl, json, time
from limits.storage import Storage


class FileStorage(Storage):
    STORAGE_SCHEME = ["test-file"]
    base_exceptions = (OSError,)

    def __init__(self, uri, **options):
        super().__init__()
        self.path = uri.partition("://")[2]

    def _locked(self, change):
        with open(self.path, "a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            values = json.loads(file.read() or "{}")
            result = change(values)
            file.seek(0)
            file.truncate()
            file.write(json.dumps(values))
        return result

    def incr(self, key, expiry, elastic_expiry=False, amount=1):
        def change(values):
            count, until = values.get(key, (0, 0))
            if until < time.time():
                count, until = 0, time.time() + expiry
            values[key] = (count + amount, until)
            return count + amount
        return self._locked(change)

    def get(self, key):
        return self._locked(lambda values: values.get(key, (0, 0))[0])

    def get_expiry(self, key):
        return self._locked(lambda values: values.get(key, (0, 0))[1])

    def check(self):
        return True

    def reset(self):
        raise NotImplementedError

    def clear(self, key):
        raise NotImplementedError
'''


@pytest.mark.req("R23", "R42")
def test_two_processes_share_one_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With any storage of `limits`: together they get as much as the limit says, and both are told when to return."""
    (tmp_path / "file_storage.py").write_text(_FILE_STORAGE)
    monkeypatch.syspath_prepend(str(tmp_path))
    outputs = _count_in_processes(f"test-file://{tmp_path}/counts", 40, 3600, module="file_storage")
    assert sum(int(passed) for passed, _ in outputs) == 40
    assert all(3000 < float(delay) <= 3600 for _, delay in outputs)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """A Redis of our own, on a socket in a folder of the test's."""
    pytest.importorskip("redis", reason="needs the package `redis`")
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs the program redis-server")
    with subprocess.Popen([program, "--port", "0", "--unixsocket", "redis.sock", "--save", ""], cwd=tmp_path,
                          stdout=subprocess.DEVNULL) as server:
        try:
            eventually(lambda: _listens(tmp_path / "redis.sock"), "the server listens")
            yield f"redis+unix://{tmp_path}/redis.sock"
        finally:
            server.kill()


@pytest.mark.req("R23", "R42")
def test_four_processes_share_one_budget_in_redis(redis_url: str) -> None:
    """Exactly as many requests pass as the limit says; each process is told when the first of them is forgotten."""
    outputs = _count_in_processes(redis_url, 50, 3600, number=4)
    assert sum(int(passed) for passed, _ in outputs) == 50
    assert all(3000 < float(delay) <= 3600 for _, delay in outputs)


def test_a_first_use_while_the_driver_is_being_imported(redis_url: str) -> None:
    """By another request, or by the application: it is waited for, where `limits` would take the half of it."""
    program = """if True:
        import sys, threading
        import limits.storage, limits.strategies
        from legacy_plugins.config.policies import RateLimit
        from legacy_plugins.http.rate_storage import RateStorage
        storage = RateStorage(sys.argv[1], "host")
        threading.Thread(target=__import__, args=["redis"]).start()
        while "redis" not in sys.modules:
            pass
        print(storage.take("shop", RateLimit(100, 3600)))"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program, redis_url], capture_output=True, text=True, timeout=60,
                          env=environment)
    assert done.stdout.strip() == "0.0", done.stderr


def test_a_window_in_redis_moves(redis_url: str) -> None:
    """After as long as Retry-After said there is room again; other limits, plugins and hosts count apart."""
    storage = RateStorage(redis_url, "a host")
    assert storage.take("shop", RateLimit(9, 1)) == 0
    assert type(storage._counters[""].limiter).__name__ == "MovingWindowRateLimiter"
    refused = filter(None, (storage.take("shop", RateLimit(2, 1)) for _ in range(1000)))
    assert 0 < next(refused) <= 1
    assert storage.take("other", RateLimit(2, 1)) == 0
    assert storage.take("shop", RateLimit(2, 2)) == 0
    assert RateStorage(redis_url, "another").take("shop", RateLimit(2, 1)) == 0
    eventually(lambda: storage.take("shop", RateLimit(2, 1)) == 0, "there is room again")


@pytest.mark.fault("H1")
def test_a_forked_child_has_a_connection_of_its_own(redis_url: str) -> None:
    """Parent and child count together, and neither reads the other's answers."""
    from legacy_plugins.http.limits import LimitTable
    from legacy_plugins.http.problems import HttpProblem

    table, limit = LimitTable("host"), RateLimit(60, 3600)
    table.check_rate("shop", limit, redis_url)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        passed = 0
        try:
            while passed < 29:
                table.check_rate("shop", limit, redis_url)
                passed += 1
        finally:
            os.write(writing, bytes([passed]))
            os._exit(0)
    os.close(writing)
    for _ in range(30):
        table.check_rate("shop", limit, redis_url)
    assert os.read(reading, 1) == bytes([29])
    os.close(reading)
    os.waitpid(child, 0)
    with pytest.raises(HttpProblem):
        table.check_rate("shop", limit, redis_url)


def test_a_redis_that_ends_and_comes_back(redis_url: str, tmp_path: Path) -> None:
    """Its end is a failure like any other; the same client goes on when it is there again."""
    storage, clock = RateStorage(redis_url, "host"), _Clock()
    storage._clock = clock
    assert storage.take("shop", RateLimit(9, 3600)) == 0
    away = tmp_path / "away.sock"
    (tmp_path / "redis.sock").rename(away)
    storage._counters[""].storage.storage.connection_pool.disconnect()
    assert storage.take("shop", RateLimit(9, 3600)) is None
    away.rename(tmp_path / "redis.sock")
    clock.now += PAUSE_SECONDS
    assert storage.take("shop", RateLimit(9, 3600)) == 0


@pytest.mark.req("R42")
def test_two_processes_share_one_budget_in_memcached(tmp_path: Path) -> None:
    """By fixed windows, which is all that memcached has the means for."""
    pytest.importorskip("pymemcache", reason="needs the package `pymemcache`")
    program = shutil.which("memcached")
    if program is None:
        pytest.skip("needs the program memcached")
    user = ["-u", "root"] if os.geteuid() == 0 else []
    with subprocess.Popen([program, "-s", "m.sock", *user], cwd=tmp_path) as server:
        try:
            eventually((tmp_path / "m.sock").exists, "the server listens")
            outputs = _count_in_processes(f"memcached://{tmp_path}/m.sock", 40, 3600)
        finally:
            server.kill()
    assert sum(int(passed) for passed, _ in outputs) == 40
    assert all(3000 < float(delay) <= 3600 for _, delay in outputs)
