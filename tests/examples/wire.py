"""A small client of the wire, written from docs/protocol alone: it shares no code with the library that it checks.

It starts one plugin over pipes. Its reader threads only collect; tests wait on what was collected, with time-outs.
"""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, TypeVar

import pytest

from examples.cargo_build import CargoMissing, build

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SECONDS = 20.0
T = TypeVar("T")


def program(name: str, tested: str) -> str:
    """The path of a program, or a skip that says what is not tested for want of it."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not on PATH: {tested} not tested")
    return path


def rust_program(crate: Path, tested: str) -> Path:
    """The program of a Rust example, built; a skip where cargo or the crates are missing, not where it fails."""
    program("cargo", tested)
    try:
        return build(crate)
    except CargoMissing as error:
        pytest.skip(f"{error}: {tested} not tested")


class WireError(Exception):
    """The plugin answered with an error object."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.code = error["code"]


class Wire:
    """A plugin's process and the conversation with it."""

    def __init__(self, argv: Sequence[str], *, env: Optional[Mapping[str, str]] = None) -> None:
        environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **(env or {})}
        self.process = subprocess.Popen(list(argv), cwd=str(ROOT), env=environment, bufsize=0,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.messages: List[Dict[str, Any]] = []
        self.logs: List[str] = []
        self.faults: List[str] = []
        self._ended = 0
        self._changed = threading.Condition()
        self._next_id = 0
        self._threads = [threading.Thread(target=self._collect, args=(work,), daemon=True)
                         for work in (self._read_messages, self._read_logs)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(SECONDS)
        for thread in self._threads:
            thread.join(SECONDS)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        if exc_info[0] is None:
            assert not self.faults, f"the plugin's stdout is not the protocol: {self.faults}"

    def _collect(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (ValueError, AssertionError) as error:
            self.faults.append(repr(error))
        with self._changed:
            self._ended += 1
            self._changed.notify_all()

    def _add(self, collection: List[T], item: T) -> None:
        with self._changed:
            collection.append(item)
            self._changed.notify_all()

    def _read_messages(self) -> None:
        stdout = os.fdopen(os.dup(self.process.stdout.fileno()), "rb")  # type: ignore[union-attr]
        with stdout:
            for header in iter(stdout.readline, b""):
                assert header.startswith(b"Content-Length: "), header
                assert header.endswith(b"\r\n"), header
                assert stdout.readline() == b"\r\n"
                length = int(header[16:-2].decode("ascii"))
                message = json.loads(stdout.read(length).decode("utf-8"))
                assert message["jsonrpc"] == "2.0", message
                self._add(self.messages, message)

    def _read_logs(self) -> None:
        with os.fdopen(os.dup(self.process.stderr.fileno()), "rb") as stderr:  # type: ignore[union-attr]
            for line in stderr:
                self._add(self.logs, line.decode("utf-8", "replace").rstrip("\n"))

    def send_bytes(self, data: bytes) -> None:
        """Write bytes as they are."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    def send(self, *messages: Mapping[str, Any]) -> None:
        """Write messages, all in one piece."""
        frames = []
        for message in messages:
            body = json.dumps({"jsonrpc": "2.0", **message}, ensure_ascii=False).encode("utf-8")
            frames.append(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.send_bytes(b"".join(frames))

    def _wait(self, find: Callable[[], Optional[T]], wanted: str, seconds: float) -> T:
        found: Optional[T] = None

        def ready() -> bool:
            nonlocal found
            found = find()
            return found is not None or self._ended == len(self._threads)

        with self._changed:
            self._changed.wait_for(ready, seconds)
        if found is None:
            raise AssertionError(f"{wanted} did not come; messages {self.messages}, log {self.logs}, "
                                 f"faults {self.faults}")
        return found

    def response(self, request_id: Any, seconds: float = SECONDS) -> Dict[str, Any]:
        """Wait for the response with an id."""
        def find() -> Optional[Dict[str, Any]]:
            return next((m for m in self.messages if m.get("id") == request_id and "method" not in m), None)

        return self._wait(find, f"the response to {request_id!r}", seconds)

    def log(self, text: str, seconds: float = SECONDS) -> str:
        """Wait for a line on stderr that holds the text."""
        return self._wait(lambda: next((line for line in self.logs if text in line), None), f"log {text!r}", seconds)

    def request(self, method: str, params: Any = None, seconds: float = SECONDS) -> Any:
        """Call a method and wait for its result; an error object raises `WireError`."""
        self._next_id += 1
        request_id = self._next_id
        self.send({"id": request_id, "method": method, "params": {} if params is None else params})
        answer = self.response(request_id, seconds)
        if "error" in answer:
            raise WireError(answer["error"])
        return answer["result"]

    def notify(self, method: str, params: Any) -> None:
        """Send a notification."""
        self.send({"method": method, "params": params})

    def handshake(self, name: str = "plugin") -> Any:
        """Shake hands as a host does; the plugin's answer."""
        return self.request("plugin/handshake", {
            "name": name, "version": "1.0.0", "supportsReverseRpc": False, "protocolVersions": ["1.0"],
            "host": {"name": "wire", "version": "1.0.0"}, "limits": {"maxFrameBytes": 16 * 1024 * 1024},
        })

    def event(self, event_type: str, payload: Any, sequence: int) -> None:
        """Send an event as a host does."""
        self.notify("plugin/onEvent", {
            "eventType": event_type, "payload": payload, "timestamp": "2024-02-29T12:30:05.042Z",
            "metadata": {"eventId": f"e-{sequence}", "sequence": sequence},
        })

    def http(self, method: str, route: str, *, body: Any = None, query: Optional[Mapping[str, List[str]]] = None,
             **path_params: str) -> Any:
        """Call a route as the web edge does; the plugin's answer."""
        path = route
        for name, value in path_params.items():
            path = path.replace("{" + name + "...}", value).replace("{" + name + "}", value)
        return self.request("plugin/handleRequest", {
            "route": route, "path": path, "method": method, "mount": "/api/plugins/plugin", "pathParams": path_params,
            "query": dict(query or {}), "headers": {}, "body": body, "bodyEncoding": None if body is None else "json",
            "client": {"address": "127.0.0.1", "scheme": "http", "host": "localhost"}, "user": None,
            "requestId": "r-1", "deadlineMs": 5000,
        })

    def end(self) -> int:
        """Close the plugin's stdin, as the host's end does, and wait for its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(SECONDS)
