"""A configuration while it is being read: its value, where each part of it stands, and what is wrong with it.

Owns the wording that all faults share: file, line and column, JSON pointer (RFC 6901), plugin, and what was found
without giving away a secret: values of `env` (and of `args` and `rateLimitStorage`, where tokens end up too) are never
shown. Calling thread only. Must not import a reader, jsonschema or yaml.
"""
from __future__ import annotations

import math
from typing import Any, Dict, List, NamedTuple, Optional, Set, Tuple, Union

from legacy_plugins.errors import ConfigError

JsonPath = Tuple[Union[str, int], ...]

#: Deeper nesting is refused by every reader; the configuration itself needs 6 levels, a route's schema some more.
MAX_DEPTH = 64
_SECRET_KEYS = frozenset(["env", "args", "rateLimitStorage"])
_SHOWN = 60  # characters of a found value


class Position(NamedTuple):
    """A place in a file, both numbers from 1; the column counts characters."""

    line: int
    column: int


class Fault(NamedTuple):
    """One thing that is wrong."""

    path: JsonPath
    position: Optional[Position]
    text: str


class Document:
    """What a reader fills and the checks look at.

    `name`: the absolute path of the file, or None for a mapping. `value`: plain dictionaries, lists and scalars of our
    own. `values`, `keys`: where the value, and where the key, of a path stands. `spoilt`: paths whose value is
    known to be wrong and is not to be looked at again. `readable`: false when there is no value worth checking.
    """

    def __init__(self, name: Optional[str]) -> None:
        self.name = name
        self.value: Any = None
        self.readable = True
        self.values: Dict[JsonPath, Position] = {}
        self.keys: Dict[JsonPath, Position] = {}
        self.spoilt: Set[JsonPath] = set()
        self._faults: List[Fault] = []
        self._plugins: Dict[Union[str, int], str] = {}

    @property
    def faulty(self) -> bool:
        """Whether anything is wrong so far."""
        return bool(self._faults)

    def settle(self, value: Any) -> None:
        """Take the value that was read, before any check removes what is wrong in it."""
        self.value = value
        plugins = value.get("plugins") if isinstance(value, dict) else None
        for index, plugin in enumerate(plugins if isinstance(plugins, list) else ()):
            name = plugin.get("name") if isinstance(plugin, dict) else None
            if isinstance(name, str) and len(name) <= _SHOWN:
                self._plugins[index] = name

    def fault(self, path: JsonPath, text: str, position: Optional[Position] = None) -> None:
        """Note a fault of the value at `path`."""
        self._faults.append(Fault(path, position or self.values.get(path), text))

    def key_fault(self, path: JsonPath, text: str) -> None:
        """Note a fault of the key that `path` ends with; the text names it, the pointer is that of its mapping."""
        self.fault(path[:-1], text, self.keys.get(path))

    def duplicate(self, path: JsonPath, first: Position) -> None:
        """Note that the key that `path` ends with stands in its mapping a second time; the second value is kept."""
        self.spoilt = {spoilt for spoilt in self.spoilt if spoilt[:len(path)] != path}
        self.key_fault(path, f"found the key '{shown_key(path[-1])}' again, expected it once; the first is in line "
                             f"{first.line}")

    def spoil(self, path: JsonPath, text: str) -> None:
        """Note a fault of a value that no check shall look at again."""
        self.spoilt.add(path)
        self.fault(path, text)

    def unreadable(self, text: str, position: Optional[Position] = None) -> None:
        """Note why there is nothing to check."""
        self.readable = False
        self.fault((), text, position)

    def error(self) -> ConfigError:
        """All faults as one error, in the order of the file."""
        return ConfigError(list(dict.fromkeys(map(self._describe, sorted(self._faults, key=_order)))))

    def _describe(self, fault: Fault) -> str:
        place = "configuration" if self.name is None else self.name
        if fault.position is not None:
            place += f":{fault.position.line}:{fault.position.column}"
        if fault.path:
            place += f": {pointer(fault.path)}"
        if fault.path[:1] == ("plugins",) and len(fault.path) > 1 and fault.path[1] in self._plugins:
            place += f" (plugin {self._plugins[fault.path[1]]!r})"
        return f"{place}: {fault.text}"


def _order(fault: Fault) -> Tuple[float, float, Tuple[str, ...]]:
    path = tuple(f"{part:09d}" if isinstance(part, int) else part for part in fault.path)
    return (*(fault.position or (math.inf, math.inf)), path)


def pointer(path: JsonPath) -> str:
    """The JSON pointer (RFC 6901) of a path."""
    return "".join("/" + shown_key(part).replace("~", "~0").replace("/", "~1") for part in path)


def shown_key(key: Any) -> str:
    """A key as it may be shown: in one line, and without what follows a `=` (`TOKEN=secret` where a name belongs)."""
    text = str(key)
    text = text.split("=", 1)[0] + "=..." if "=" in text else text
    return text if text.isprintable() else repr(text)[1:-1]


def found(value: Any, path: JsonPath, *, shown: bool = True) -> str:
    """What stands at `path`, in words; only its kind where it may be a secret or `shown` is false."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (dict, list)):
        return f"a {'mapping' if isinstance(value, dict) else 'list'} of {len(value)}"
    kind = {str: "string", int: "integer", float: "number"}[type(value)]
    if not shown or _SECRET_KEYS.intersection(path):
        return f"{'an' if kind == 'integer' else 'a'} {kind}"
    text = repr(value)
    return f"the {kind} {text if len(text) <= _SHOWN else text[:_SHOWN] + '...'}"
