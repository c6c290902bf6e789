"""Listings as people and programs read them."""
from __future__ import annotations

import json

from legacy_plugins.commands.answers import listing, printable


def test_tables() -> None:
    """Columns are aligned under their names, without blanks at a line's end; nothing says so."""
    rows = [{"name": "a", "state": "ready"}, {"name": "longer", "state": ""}]
    assert listing(rows, as_json=False).splitlines() == ["name    state", "a       ready", "longer"]
    assert listing([], as_json=False) == "none"


def test_json() -> None:
    """The rows, as they are."""
    rows = [{"name": "é", "restarts": 0}]
    assert json.loads(listing(rows, as_json=True)) == rows
    assert listing([], as_json=True) == "[]"


def test_terminals() -> None:
    """Line ends and tabs stay; what moves the cursor, or turns text round, is shown instead of done."""
    assert printable("a\tb\né") == "a\tb\né"
    assert printable("a\x1b[2J\r\nb\u202e") == "a\\x1b[2J\\r\nb\\u202e"
