"""A plugin that answers a request as the table that it was given says, whatever that is, and notes what it gets.

Arguments: a JSON file with what is written for each case, `%ID%` standing for the request's id, on `/say` as a frame
and on `/die` as it is; and the file to which every request and every cancellation is added, one JSON document a line.
Run with `python -S -E`.
"""
from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any, Dict

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "plugins"))

import wire

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
PATHS = ["/", "/say/{case}", "/files/{path...}", "/echo", "/binary", "/wait", "/slow"]


def main() -> None:
    """Serve until stdin ends."""
    with open(sys.argv[1], encoding="utf-8") as file:
        cases = json.load(file)
    notes = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    waiting: Dict[Any, str] = {}
    while True:
        message = wire.read()
        if message is None:
            return
        method, params = message.get("method"), message.get("params")
        if method == "plugin/handshake":
            deadly = [f"/die/{case}" for case in cases]  # a route each: one that ends the plugin twice is closed
            wire.answer(message["id"], {"name": "liar", "version": "1.0", "capabilities": [], "routes": [
                {"path": path, "method": METHODS} for path in (*PATHS, *deadly)]})
        elif method == "plugin/handleRequest":
            if params["route"] in ("/wait", "/slow"):
                waiting[message["id"]] = params["requestId"]
            _note(notes, params)
            _serve(message["id"], params, cases)
        elif method == "$/cancelRequest":
            _note(notes, {"cancelled": waiting.pop(params["id"], None)})
        elif "id" in message:
            wire.answer(message["id"], None)


def _note(notes: int, what: Any) -> None:
    os.write(notes, json.dumps(what).encode("ascii") + b"\n")


def _serve(request_id: Any, params: Any, cases: Dict[str, str]) -> None:
    route = params["route"]
    if route == "/say/{case}":
        text = cases[params["pathParams"]["case"]].replace("%ID%", str(request_id))
        wire.raw(wire.frame(text.encode("utf-8")))
    elif route.startswith("/die/"):
        wire.raw(cases[route[5:]].encode("utf-8"))
    elif route == "/slow":
        seconds = float(params["query"].get("seconds", ["1"])[0])
        timer = threading.Timer(seconds, wire.answer, (request_id, {"body": "slow"}))
        timer.daemon = True
        timer.start()
    elif route == "/binary":
        wire.answer(request_id, {"body": params["body"], "bodyEncoding": params["bodyEncoding"]})
    elif route != "/wait":
        wire.answer(request_id, {"body": params})


main()
