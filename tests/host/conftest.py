"""Hosts with real plugin processes, and ways to wait for signals, log records, processes and fifos."""
from __future__ import annotations

import json
import logging
import os
import select
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import pytest

from legacy_plugins import PluginHost, signals
from legacy_plugins.rpc.dispatcher import shared_dispatcher
from legacy_plugins.transport.process import open_pidfd

PROGRAMS = Path(__file__).parent / "programs"
ROOT = Path(__file__).resolve().parents[2]
WAIT = 20.0  # seconds; longer than anything takes on a busy machine


def plugin(name: str, how: Optional[Dict[str, Any]] = None, **config: Any) -> Dict[str, Any]:
    """The configuration of a test plugin that behaves as `how` says (see programs/plugin.py)."""
    fast = {"enabled": True, "maxRetries": 3, "backoffMs": 50, "jitter": 0}
    restart = {**fast, **config.pop("restart", {})}
    return {"name": name, "command": "python", "args": ["-I", "-S", str(PROGRAMS / "plugin.py"), json.dumps(how or {})],
            "restart": restart, "shutdownTimeoutMs": 2000, "rpcTimeoutMs": 20000, "handshakeTimeoutMs": 20000, **config}


def configuration(*plugins: Dict[str, Any], **rest: Any) -> Dict[str, Any]:
    """A configuration that trusts the test programs."""
    trust = {"directories": [str(PROGRAMS)], "commands": ["python"], "permissions": "off"}
    return {"trust": trust, "plugins": list(plugins), **rest}


def is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rsplit(")", 1)[1].split()[0] not in ("Z", "X")


def wait_dead(pid: int, timeout: float = WAIT) -> bool:
    """Wait until the process has ended; whether it has."""
    fd = open_pidfd(pid)
    if fd is None:
        return not is_running(pid)
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    try:
        return bool(poll.poll(timeout * 1000))
    finally:
        os.close(fd)


def flush_notices() -> None:
    """Wait until every signal and log record so far has been handed out."""
    assert shared_dispatcher().flush(WAIT)


def run_script(source: str, *args: str, timeout: float = 60, check: bool = True) -> str:
    """Run Python source in an interpreter of its own, warnings being errors; what it printed, stderr included."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", source, *args], cwd=str(ROOT), timeout=timeout,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    output = done.stdout.decode()
    assert not check or done.returncode == 0, f"exit code {done.returncode}:\n{output}"
    return output


@pytest.fixture
def make_host() -> Iterator[Callable[..., PluginHost]]:
    """A function that makes hosts, which are stopped afterwards."""
    hosts: List[PluginHost] = []

    def make(*plugins: Dict[str, Any], services: Any = None, **rest: Any) -> PluginHost:
        host = PluginHost(configuration(*plugins, **rest), services=services)
        hosts.append(host)
        return host
    yield make
    for host in hosts:
        host.stop(timeout=5)


class Recorder:
    """What the signals of the library told, in order; `wait` for what is still to come."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.heard: List[Tuple[str, Optional[str], Dict[str, Any]]] = []

    def hear(self, name: str, plugin: Optional[str], facts: Dict[str, Any]) -> None:
        """A signal was sent."""
        with self._changed:
            self.heard.append((name, plugin, facts))
            self._changed.notify_all()

    def of(self, name: str, plugin: Optional[str] = None) -> List[Dict[str, Any]]:
        """The facts of each signal of that name, about one plugin or all."""
        return [facts for heard, about, facts in list(self.heard) if heard == name and plugin in (None, about)]

    def wait(self, name: str, plugin: Optional[str] = None, count: int = 1, timeout: float = WAIT) -> Dict[str, Any]:
        """The facts of the `count`-th signal of that name, once it was sent."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.of(name, plugin)) >= count, timeout), (name, self.heard)
        return self.of(name, plugin)[count - 1]

    def states(self, plugin: str) -> List[str]:
        """The states that a plugin entered, in order."""
        return [facts["new"].value for facts in self.of("plugin_state_changed", plugin)]

    def wait_state(self, plugin: str, state: str, count: int = 1) -> Dict[str, Any]:
        """Wait until a plugin has entered a state for the `count`-th time; what was told then."""
        def entries() -> List[Dict[str, Any]]:
            return [facts for facts in self.of("plugin_state_changed", plugin) if facts["new"].value == state]
        with self._changed:
            assert self._changed.wait_for(lambda: len(entries()) >= count, WAIT), (state, self.states(plugin))
        return entries()[count - 1]


@pytest.fixture
def heard() -> Iterator[Recorder]:
    """A recorder of all signals of this library, whoever sends them."""
    flush_notices()  # what an earlier test has caused
    recorder = Recorder()
    receivers = []
    for name in signals.__all__:
        def receive(_sender: Any, plugin: Optional[str], _name: str = name, **facts: Any) -> None:
            recorder.hear(_name, plugin, facts)
        getattr(signals, name).connect(receive, weak=False)
        receivers.append((getattr(signals, name), receive))
    yield recorder
    for signal, receive in receivers:
        signal.disconnect(receive)


class LogBook(logging.Handler):
    """The records that reached a logger, in order; `wait` for what is still to come."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()
        self.records: List[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """A record came."""
        with self._changed:
            self.records.append(record)
            self._changed.notify_all()

    def containing(self, text: str) -> List[logging.LogRecord]:
        """The records whose message has this text."""
        return [record for record in list(self.records) if text in record.getMessage()]

    def wait(self, text: str, count: int = 1) -> logging.LogRecord:
        """The `count`-th record whose message has this text, once it came."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.containing(text)) >= count, WAIT), (
                text, [record.getMessage() for record in self.records])
        return self.containing(text)[count - 1]


@pytest.fixture
def log() -> Iterator[LogBook]:
    """The records of all loggers of this library, from DEBUG on."""
    flush_notices()  # what an earlier test has caused
    book, logger = LogBook(), logging.getLogger("legacy_plugins")
    level = logger.level
    logger.addHandler(book)
    logger.setLevel(logging.DEBUG)
    yield book
    logger.removeHandler(book)
    logger.setLevel(level)


class Gate:
    """A fifo that a test plugin waits at; `open` lets it pass, now or when it comes."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        os.mkfifo(self.path)
        os.mkfifo(self.path + ".visitors")
        self.fd = os.open(self.path, os.O_RDWR)
        self.visitors = os.open(self.path + ".visitors", os.O_RDWR)

    def open(self, times: int = 1) -> None:
        """Let so many pass."""
        os.write(self.fd, b"x" * times)

    def wait_for_visitor(self) -> None:
        """Wait until somebody has come to the gate."""
        poll = select.poll()
        poll.register(self.visitors, select.POLLIN)
        assert poll.poll(WAIT * 1000)
        os.read(self.visitors, 1)


@pytest.fixture
def make_gate(tmp_path: Path) -> Iterator[Callable[[str], Gate]]:
    """A function that makes gates."""
    gates: List[Gate] = []

    def make(name: str = "gate") -> Gate:
        gates.append(Gate(tmp_path / name))
        return gates[-1]
    yield make
    for gate in gates:
        os.close(gate.fd)
        os.close(gate.visitors)
