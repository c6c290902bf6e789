"""A plugin on the sdk and a host of thirty lines, both on the standard library alone.

Runs in any interpreter that has the package, without pytest: ``python sdk_conversation.py [--hide MODULE ...]``.
With ``--hide`` the modules named cannot be imported by the plugin, as if they were not installed; without it they must
really be absent. Starts itself again as the plugin, talks to it over pipes, and fails with the first wrong answer.
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import IO, Any, Dict, List

NEEDED_BY_THE_HOST_ALONE = ("jsonschema", "yaml", "blinker")


class Hidden:
    """A finder that says of some modules that they are not installed."""

    def __init__(self, names: List[str]) -> None:
        self.names = set(names)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """The import system asks every finder in turn; None sends it to the next."""
        if name.split(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r} (hidden by this test)", name=name)


def serve(hidden: List[str]) -> None:
    """The plugin's process."""
    sys.path.insert(0, os.getcwd())
    sys.meta_path.insert(0, Hidden(hidden))  # type: ignore[arg-type]
    for name in NEEDED_BY_THE_HOST_ALONE:
        try:
            __import__(name)
        except ModuleNotFoundError:
            continue
        sys.exit(f"{name} can be imported: this environment shows nothing")
    from legacy_plugins.sdk import Plugin

    plugin = Plugin("bare", version="1.0")

    @plugin.method("bare/add")
    def add(params: Dict[str, Any]) -> Any:
        return params["a"] + params["b"]

    @plugin.route("/double/{n}", methods=["GET"])
    def double(request: Any) -> Any:
        return {"double": 2 * int(request.path_params["n"])}

    plugin.run()


def send(pipe: IO[bytes], message: Dict[str, Any]) -> None:
    """Write one frame."""
    body = json.dumps(dict(message, jsonrpc="2.0")).encode()
    pipe.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
    pipe.flush()


def receive(pipe: IO[bytes]) -> Dict[str, Any]:
    """Read one frame."""
    header = pipe.readline()
    assert header.startswith(b"Content-Length: "), header
    assert pipe.readline() == b"\r\n"
    message: Dict[str, Any] = json.loads(pipe.read(int(header.split(b":")[1])).decode("utf-8"))
    return message


def converse(hidden: List[str]) -> None:
    """The host's side: handshake, a method, a route, an orderly stop."""
    process = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--serve", *hidden], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        steps = [
            ("plugin/handshake", {"name": "bare", "version": "0.1.0", "supportsReverseRpc": False,
                                  "protocolVersions": ["1.0"], "host": {"name": "check", "version": "1"},
                                  "limits": {"maxFrameBytes": 16777216}},
             lambda result: (result["name"], result["routes"][0]["path"]) == ("bare", "/double/{n}")),
            ("bare/add", {"a": 19, "b": 23}, lambda result: result == 42),
            ("plugin/handleRequest",
             {"route": "/double/{n}", "path": "/double/21", "method": "GET", "mount": "/api/plugins/bare",
              "pathParams": {"n": "21"}, "query": {}, "headers": {}, "body": None, "bodyEncoding": None, "user": None,
              "client": {"address": "127.0.0.1", "scheme": "http", "host": "localhost"}, "requestId": "r1",
              "deadlineMs": 5000},
             lambda result: result["body"] == {"double": 42}),
            ("plugin/shutdown", {"reason": "done"}, lambda result: True),
        ]
        for number, (method, params, right) in enumerate(steps, 1):
            send(process.stdin, {"id": number, "method": method, "params": params})
            answer = receive(process.stdout)
            if answer.get("id") != number or "result" not in answer or not right(answer["result"]):
                sys.exit(f"{method}: unexpected answer {answer}")
        process.stdin.close()
        if process.wait(10) != 0:
            sys.exit(f"the plugin ended with {process.returncode}")
    print("conversation complete")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2:])
    else:
        converse(sys.argv[2:])
