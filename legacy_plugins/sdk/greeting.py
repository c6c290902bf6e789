"""The start of the conversation: answering `plugin/handshake`, and telling when the plugin is ready.

A plugin that is ready at once answers the handshake when its `on_start` hooks have run, so that a failing hook fails
the handshake. One that needs time (`ready=False`) answers immediately and sends `plugin/ready` when its author says so.

Handshakes arrive on the reader thread, hooks run on the main thread, `ready` is called from any. Nothing is sent while
the lock is held.
"""
from __future__ import annotations

import threading
from typing import Any, List, Optional

from legacy_plugins.protocol.handshake import PROTOCOL_VERSIONS, READY
from legacy_plugins.protocol.messages import INTERNAL_ERROR, INVALID_PARAMS, Request, RequestId
from legacy_plugins.rpc.connection import Connection
from legacy_plugins.sdk.declarations import Declarations

_ANSWER_SECONDS = 5.0


class Greeting:
    """See the file's first paragraph."""

    def __init__(self, connection: Connection, declared: Declarations) -> None:
        self._connection = connection
        self._declared = declared
        self._lock = threading.Lock()  # guards everything below
        self._waiting: List[RequestId] = []  # handshakes that wait for the hooks
        self._failure: Optional[str] = None
        self._hooks_done = False
        self._ready = declared.ready
        self._told_unready = False
        #: Set once a handshake was answered: from then on the host takes requests.
        self.done = threading.Event()

    def receive(self, request: Request) -> None:
        """`plugin/handshake` came. Reader thread."""
        params = request.params if isinstance(request.params, dict) else {}
        offered = params.get("protocolVersions", list(PROTOCOL_VERSIONS))
        if not isinstance(offered, list) or not set(map(str, offered)) & set(PROTOCOL_VERSIONS):
            self._connection.refuse(request.id, INVALID_PARAMS, f"the host offers the protocol versions {offered!r}, "
                                    f"this plugin speaks {', '.join(PROTOCOL_VERSIONS)}")
            return
        limits = params.get("limits")
        largest = limits.get("maxFrameBytes") if isinstance(limits, dict) else None
        if type(largest) is int and largest > 0:
            self._connection.limit_outgoing(largest)
        with self._lock:
            if self._declared.ready and not self._hooks_done:
                self._waiting.append(request.id)
                return
        self._answer(request.id)

    def hooks_finished(self) -> None:
        """The `on_start` hooks have run."""
        with self._lock:
            self._hooks_done = True
            waiting, self._waiting = self._waiting, []
        for request_id in waiting:
            self._answer(request_id)

    def hooks_failed(self, why: str) -> None:
        """An `on_start` hook raised: the plugin cannot start."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for request_id in waiting:
            self._connection.refuse(request_id, INTERNAL_ERROR, why)

    def ready(self) -> None:
        """The plugin is ready now; tells the host where it was told otherwise. Any thread; idempotent."""
        with self._lock:
            if self._ready:
                return
            self._ready = self._declared.told = True
            late = self._told_unready
        if late:
            self.done.wait(_ANSWER_SECONDS)  # the answer that says "not ready" is just being written
            self._connection.notify(READY, self._declared.announcement())

    def _answer(self, request_id: RequestId) -> None:
        with self._lock:
            ready = self._ready
            if ready:
                self._declared.told = True
            else:
                self._told_unready = True
        declared = self._declared
        answer: Any = {
            "name": declared.name, "version": declared.version, "capabilities": list(declared.capabilities),
            "reverseRpc": declared.reverse_rpc, "protocolVersion": PROTOCOL_VERSIONS[0], "ready": ready,
            **declared.announcement(),
        }
        self._connection.answer(request_id, answer)
        self.done.set()
