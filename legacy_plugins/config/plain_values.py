"""Whatever a reader or a caller hands over, copied into plain dictionaries, lists and scalars of our own.

Nothing of the caller's is kept by reference, and what has no place in JSON is a fault. Calling thread only. Must not
import a reader, jsonschema or yaml.
"""
from __future__ import annotations

import math
import os
from typing import Any, Dict, Mapping, Sequence

from legacy_plugins.config.document import MAX_DEPTH, Document, JsonPath, shown_key

_LARGEST = 2 ** 63


def plain(document: Document, value: Any, path: JsonPath = ()) -> Any:
    """A copy of `value`, any mapping becoming a dict, any sequence a list, any path-like object a string.

    What cannot be copied is noted as a fault and replaced by None.
    """
    if len(path) > MAX_DEPTH:
        return _spoil(document, path, f"nested deeper than {MAX_DEPTH} levels, or contained in itself")
    if isinstance(value, str):
        return str.__str__(value)  # of a subclass too, whose own __str__ may say something else
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < _LARGEST else _spoil(document, path, "an integer of more than 64 bits")
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else _spoil(document, path, "a number that is infinite or none")
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, Mapping):
        return _mapping(document, value, path)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        return [plain(document, item, (*path, index)) for index, item in enumerate(value)]
    return _spoil(document, path, f"an object of the type {type(value).__name__}")


def _mapping(document: Document, value: Mapping[Any, Any], path: JsonPath) -> Dict[str, Any]:
    result: Dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(key, str):
            name = str.__str__(key)
            result[name] = plain(document, item, (*path, name))
        else:
            document.fault(path, f"found the key '{shown_key(key)}', expected a string as key")
    return result


def _spoil(document: Document, path: JsonPath, what: str) -> None:
    document.spoil(path, f"found {what}, expected a string, number, boolean, null, list or mapping")
