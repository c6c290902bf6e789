"""The thread that drains a program's log stream, always, until it ends.

A program that fills its stderr pipe stops, so nothing may hold this thread up: what it reads goes to `sink`, which must
neither block nor raise, and where it raises all the same the thread goes on. Knows nothing of lines or logging.
"""
from __future__ import annotations

import threading
from typing import Callable

from legacy_plugins.transport.base import ByteSource
from legacy_plugins.transport.greenlets import service_thread


class LogPump:
    """Reads `source` on a daemon thread and gives the bytes to `sink`; `ended` is set after the last ones.

    On the same thread, when the source has ended: `finish()` deals with what is incomplete, then `ended` is set, then
    `on_end()` tells.
    """

    def __init__(self, source: ByteSource, sink: Callable[[bytes], None], finish: Callable[[], None],
                 on_end: Callable[[], None], *, name: str) -> None:
        self._source = source
        self._sink = sink
        self._finish = finish
        self._on_end = on_end
        self.ended = threading.Event()
        self._thread = service_thread(self._run, f"{name}-stderr")

    def start(self) -> None:
        """Start the thread. Raises `RuntimeError`, with the source closed, when no thread is left."""
        try:
            self._thread.start()
        except RuntimeError:
            self.close()
            raise

    def close(self) -> None:
        """Close the source of a pump whose thread does not run; one that runs closes it itself."""
        if not self._thread.is_alive():
            self._source.interrupt()
            while self._source.read():
                pass
            self.ended.set()

    def _run(self) -> None:
        try:
            while True:
                data = self._source.read()
                if not data:
                    break
                try:
                    self._sink(data)
                except Exception:  # noqa: BLE001 - a lost line is better than a plugin that blocks on its stderr
                    continue
        finally:
            try:
                self._finish()
            finally:
                self.ended.set()
                self._on_end()
