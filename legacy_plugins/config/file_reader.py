"""A configuration file to a document: which format, how large, which encoding.

The format's reader is loaded when a file of that format is read. Calling thread only.
"""
from __future__ import annotations

import os
from typing import Any

from legacy_plugins.config.document import Document, Position

#: A larger file is no configuration; reading it would only take memory and time.
MAX_FILE_BYTES = 4 * 1024 * 1024


def read_file(document: Document, path: str) -> Any:
    """What the file at `path` holds; None after a fault was noted where it cannot be read."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in (".json", ".yaml", ".yml"):
        document.unreadable(f"found a name that ends in {suffix!r}, expected .json, .yaml or .yml")
        return None
    text = _decode(document, _read(document, path))
    if not document.readable:
        return None
    if suffix == ".json":
        from legacy_plugins.config.json_reader import read_json
        return read_json(document, text)
    from legacy_plugins.config.yaml_reader import read_yaml
    return read_yaml(document, text)


def _read(document: Document, path: str) -> bytes:
    """The bytes of a regular file; opening a pipe or a device could wait for ever."""
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            document.unreadable("not a regular file")
            return b""
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        document.unreadable(f"cannot be read: {getattr(error, 'strerror', None) or error}")
        return b""
    if len(data) > MAX_FILE_BYTES:
        document.unreadable(f"larger than {MAX_FILE_BYTES} bytes")
    return data


def _decode(document: Document, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[:error.start].split(b"\n")
        document.unreadable("not UTF-8", Position(len(before), len(before[-1].decode("utf-8", "replace")) + 1))
        return ""
