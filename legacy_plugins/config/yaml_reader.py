"""YAML text to values and the place of each of them.

Only what JSON has, too: PyYAML's *safe* loader composes the nodes, and nothing but strings, numbers, booleans, nulls,
lists and mappings is made of them. What a plain scalar means is what it means in YAML 1.2 and to editors: `off`, `yes`,
`1:30` and `0755` are text, as are dates. Aliases are refused (a few lines of them can stand for gigabytes; `defaults`
serves what they are used for), and so are keys that stand twice. Calling thread only.
"""
from __future__ import annotations

import math
import re
from typing import Any, Dict, Optional

import yaml

from legacy_plugins.config.document import MAX_DEPTH, Document, JsonPath, Position, shown_key

_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS = frozenset(_TAG + kind for kind in (
    "str", "null", "bool", "int", "float", "timestamp", "value", "merge"))
_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_MOST_DIGITS = 20  # 64 bits and a sign
# Anything that a message of the parser quotes, except the names of tokens and single characters: it may be a secret.
_QUOTED = re.compile(r"'(?!<[a-z ]+>')[^']{3,}'|\"[^\"]*\"")


class _Composer(yaml.SafeLoader):
    """Composes nodes with a bound on their depth and without aliases."""

    depth = 0

    def compose_node(self, parent: Optional[yaml.Node], index: int) -> Optional[yaml.Node]:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            raise yaml.composer.ComposerError(
                None, None, "aliases are refused; use `defaults` for what plugins share", mark)
        if self.depth > MAX_DEPTH:
            raise yaml.composer.ComposerError(None, None, f"nested deeper than {MAX_DEPTH} levels", mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def read_yaml(document: Document, text: str) -> Any:
    """The value of `text`; None after a fault was noted where it is not YAML. Fills the document's places."""
    loader = None
    try:
        loader = _Composer(text)
        node = loader.get_single_node()
        return None if node is None else _value(document, node, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = ": ".join(part for part in (error.context, error.problem) if part)
        document.unreadable(f"not valid YAML: {_QUOTED.sub('...', reason)}", None if mark is None else _position(mark))
    except yaml.reader.ReaderError as error:
        before = text[:error.position].split("\n")
        document.unreadable("not valid YAML: a character that YAML does not allow",
                            Position(len(before), len(before[-1]) + 1))
    finally:
        if loader is not None:
            loader.dispose()  # type: ignore[no-untyped-call]
    return None


def _position(mark: yaml.Mark) -> Position:
    return Position(mark.line + 1, mark.column + 1)


def _value(document: Document, node: yaml.Node, path: JsonPath) -> Any:
    document.values[path] = _position(node.start_mark)
    if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
        return _mapping(document, node, path)
    if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
        return [_value(document, item, (*path, index)) for index, item in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode) and node.tag in _SCALAR_TAGS:
        return _scalar(node)
    document.spoil(path, "found a YAML tag, expected none")
    return None


def _scalar(node: yaml.ScalarNode) -> Any:
    text: str = node.value
    if node.tag == _TAG + "null":
        return None
    if node.tag == _TAG + "bool" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    number = _NUMBER.fullmatch(text) if node.tag in (_TAG + "int", _TAG + "float") else None
    if number is None:
        return text
    if number.group(2) or number.group(3):
        return float(text)
    # One that is absurdly long becomes infinite, which is refused where values are copied.
    return int(text) if len(text) <= _MOST_DIGITS else math.inf


def _mapping(document: Document, node: yaml.MappingNode, path: JsonPath) -> Dict[str, Any]:
    result: Dict[str, Any] = {}
    seen: Dict[str, Position] = {}
    for key_node, value_node in node.value:
        position = _position(key_node.start_mark)
        key = _scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else None
        if not isinstance(key, str):
            what = f"'{shown_key(key_node.value)}'" if isinstance(key_node, yaml.ScalarNode) else "that is no scalar"
            document.fault(path, f"found the key {what}, expected a string as key", position)
            continue
        child = (*path, key)
        document.keys[child] = position
        if key in seen:
            document.duplicate(child, seen[key])
        seen.setdefault(key, position)
        result[key] = _value(document, value_node, child)
    return result
