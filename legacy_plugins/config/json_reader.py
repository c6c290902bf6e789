"""JSON text to values and the place of each of them.

The standard parser decides what is JSON. A scan over its tokens then finds the places, and the keys that stand twice,
of which the parser would keep the last without a word. Calling thread only.
"""
from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from typing import Any, Dict, List, Union

from legacy_plugins.config.document import Document, JsonPath, Position

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_MOST_DIGITS = 20  # 64 bits and a sign


def read_json(document: Document, text: str) -> Any:
    """The value of `text`; None after a fault was noted where it is not JSON. Fills the document's places."""
    try:
        value = json.loads(text, parse_int=_integer)
    except json.JSONDecodeError as error:
        document.unreadable(f"not valid JSON: {error.msg}", Position(error.lineno, error.colno))
        return None
    except RecursionError:
        document.unreadable("nested too deeply to be read")
        return None
    _Scan(document, text).run()
    return value


def _integer(digits: str) -> Union[int, float]:
    """An integer; one that is absurdly long becomes infinite, which is refused where the value's place is known."""
    return int(digits) if len(digits) <= _MOST_DIGITS else math.inf


class _Container:
    """An object or a list that is open at the scan's place, and the key or index that comes next."""

    def __init__(self, path: JsonPath, is_object: bool) -> None:
        self.path = path
        self.is_object = is_object
        self.next: Union[str, int, None] = None if is_object else 0
        self.keys: Dict[str, Position] = {}


class _Scan:
    """One pass over the tokens of a text that is known to be JSON."""

    def __init__(self, document: Document, text: str) -> None:
        self._document = document
        self._text = text
        self._line_starts = [0] + [match.end() for match in re.finditer("\n", text)]
        self._open: List[_Container] = []

    def run(self) -> None:
        for match in _TOKEN.finditer(self._text):
            text = match.group()
            if text in ("}", "]"):
                self._open.pop()
            elif text == ",":
                self._advance()
            elif self._open and self._open[-1].next is None:
                self._key(json.loads(text), self._position(match.start()))
            elif text != ":":
                self._value(text, self._position(match.start()))

    def _position(self, offset: int) -> Position:
        line = bisect_right(self._line_starts, offset)
        return Position(line, offset - self._line_starts[line - 1] + 1)

    def _advance(self) -> None:
        container = self._open[-1]
        container.next = container.next + 1 if isinstance(container.next, int) else None

    def _key(self, key: str, position: Position) -> None:
        container = self._open[-1]
        container.next = key
        path = (*container.path, key)
        self._document.keys[path] = position
        if key in container.keys:
            self._document.duplicate(path, container.keys[key])
        container.keys.setdefault(key, position)

    def _value(self, text: str, position: Position) -> None:
        path: JsonPath = ()
        if self._open and self._open[-1].next is not None:
            path = (*self._open[-1].path, self._open[-1].next)
        self._document.values[path] = position
        if text in ("{", "["):
            self._open.append(_Container(path, text == "{"))
