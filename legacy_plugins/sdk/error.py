"""The one exception that a handler raises to answer with an error of its own making.

A value; any thread. Must not import anything of the library.
"""
from __future__ import annotations

from typing import Any


class Error(Exception):
    """Answers a call with a JSON-RPC error object (JSON-RPC 2.0, section 5.1); also to be had as `plugin.Error`.

    `code`: an integer, positive for errors of the plugin's own business; from a route, 400 to 499 become the HTTP
    status. `message`: one sentence for people. `data`: anything that is JSON, None leaves it out.
    """

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        if type(code) is not int:
            raise TypeError(f"an error's code is an integer, not {code!r}")
        super().__init__(code, str(message), data)
        self.code = code
        self.message = str(message)
        self.data = data

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"
