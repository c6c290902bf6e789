"""A plugin on the sdk as a real process, and the host's side of the conversation with it.

The framing is that of `tests.examples.wire`, which shares no code with the library.
"""
from __future__ import annotations

import sys
import textwrap
import threading
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence

import pytest

from tests.examples.wire import ROOT, SECONDS, Wire

HEADER = """
import os, sys, threading
from legacy_plugins.sdk import Event, Plugin, Request, Response
"""


class PluginProcess(Wire):
    """The process, with what a host says and waits for. `reading` False: its stdout is left alone until `reading` is
    set."""

    def __init__(self, argv: Sequence[str], *, env: Optional[Mapping[str, str]] = None, reading: bool = True) -> None:
        self.reading = threading.Event()
        if reading:
            self.reading.set()
        super().__init__(argv, env=env)

    def __exit__(self, *exc_info: object) -> None:
        self.reading.set()
        super().__exit__(*exc_info)

    def _read_messages(self) -> None:
        self.reading.wait()
        super()._read_messages()

    def begin(self, method: str, params: Any = None, **keys: Any) -> int:
        """Send a request and do not wait; its id."""
        self._next_id += 1
        self.send({"id": self._next_id, "method": method, "params": params, **keys})
        return self._next_id

    def message(self, method: str, which: Callable[[Dict[str, Any]], bool] = lambda message: True) -> Dict[str, Any]:
        """Wait for a message that the plugin sends on its own accord."""
        def find() -> Optional[Dict[str, Any]]:
            return next((m for m in list(self.messages) if m.get("method") == method and which(m)), None)

        return self._wait(find, f"the message {method!r}", SECONDS)

    def error(self, request_id: Any) -> Dict[str, Any]:
        """Wait for an error answer; its error object."""
        answer = self.response(request_id)
        assert "error" in answer, answer
        error: Dict[str, Any] = answer["error"]
        return error

    def held(self, name: str) -> Dict[str, Any]:
        """Wait until the plugin's `hold(name)` has been reached; answer the returned message to let it go on."""
        return self.message("test/hold", lambda message: bool(message["params"] == {"name": name}))

    def answer(self, request: Mapping[str, Any], result: Any = None) -> None:
        """Answer a request of the plugin."""
        self.send({"id": request["id"], "result": result})

    def answers(self) -> List[Any]:
        """The ids of the answers, in the order in which they came."""
        return [message["id"] for message in self.messages if "method" not in message]


HOLD = """
def hold(name):
    plugin.host.request("test/hold", {"name": name}, timeout=60)
"""

Start = Callable[..., PluginProcess]


class Programs:
    """Writes plugins' sources into a folder, runs them, and ends them all in the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: List[PluginProcess] = []
        self._shared: Dict[str, PluginProcess] = {}

    def start(self, source: str, *, header: str = HEADER, env: Optional[Mapping[str, str]] = None,
              reading: bool = True) -> PluginProcess:
        """Run a plugin's source as a program."""
        program = self._folder / f"plugin_{len(self._running)}.py"
        program.write_text(header + textwrap.dedent(source), "utf-8")
        environment = {"PYTHONPATH": str(ROOT), **(env or {})}
        process = PluginProcess([sys.executable, str(program)], env=environment, reading=reading)
        self._running.append(process)
        return process

    def share(self, source: str) -> PluginProcess:
        """The same, but the process that runs already where there is one."""
        if source not in self._shared:
            self._shared[source] = self.start(source)
        return self._shared[source]

    def end(self) -> None:
        """End them, and see that nothing but the protocol was on their stdout."""
        for process in self._running:
            process.__exit__(None, None, None)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start(source)`: run a plugin's source as a program; it is ended after the test."""
    programs = Programs(tmp_path)
    yield programs.start
    programs.end()


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """`share(source)`: the same for all tests of a module that use this source."""
    programs = Programs(tmp_path_factory.mktemp("plugins"))
    yield programs.share
    programs.end()
