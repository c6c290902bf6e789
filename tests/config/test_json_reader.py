"""JSON: places, duplicate keys, syntax errors."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legacy_plugins.config.document import Document, Position
from legacy_plugins.config.json_reader import read_json

Faults = Callable[..., Tuple[str, ...]]

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-10 ** 6, 10 ** 6) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=5), children, max_size=4),
    max_leaves=20)


def _at(text: str, position: Position) -> str:
    """The rest of the text from a position on."""
    lines = text.split("\n")
    return "\n".join([lines[position.line - 1][position.column - 1:], *lines[position.line:]])


def _resolve(value: Any, path: Any) -> Any:
    for part in path:
        value = value[part]
    return value


@settings(deadline=None)
@given(value=_VALUES, indent=st.sampled_from([None, 0, 2, "\t"]), ascii_only=st.booleans())
def test_every_place_is_where_its_value_begins(value: Any, indent: Any, ascii_only: bool) -> None:
    """Reading from the place on gives the value, for every path, however the text is laid out."""
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    document = Document("f")
    assert read_json(document, text) == value
    assert not document.faulty
    decoder = json.JSONDecoder()
    for path, position in document.values.items():
        assert decoder.raw_decode(_at(text, position))[0] == _resolve(value, path)
    for path, position in document.keys.items():
        assert decoder.raw_decode(_at(text, position))[0] == path[-1]
    assert () in document.values


def test_a_key_that_stands_twice_is_a_fault() -> None:
    """Both places are told, also when the second is spelled with an escape; the same key elsewhere is none."""
    document = Document("f")
    read_json(document, '{"a": {"x": 1},\n "b": [{"x": 1}, {"x": 2}],\n "\\u0061": {"x": 2},\n "a": 3}')
    assert document.error().faults == (
        "f:3:2: found the key 'a' again, expected it once; the first is in line 1",
        "f:4:2: found the key 'a' again, expected it once; the first is in line 1")


@pytest.mark.parametrize(("text", "place"), [
    ("", ":1:1: not valid JSON: Expecting value"),
    ('{"a": 1,\n  b: 2}', ":2:3: not valid JSON: Expecting property name enclosed in double quotes"),
    ('{"env": {"TOKEN": "hunter2}}', ":1:19: not valid JSON: Unterminated string starting at"),
    ('{"plugins": []} x', ":1:17: not valid JSON: Extra data"),
    ('{"a": "hunter2\n"}', ":1:15: not valid JSON: Invalid control character at"),
])
def test_a_syntax_error_has_its_place(tmp_path: Path, faults: Faults, text: str, place: str) -> None:
    """It is the only fault, and it quotes nothing of the text."""
    path = tmp_path / "a.json"
    path.write_text(text)
    assert faults(path) == (f"{path}{place}",)


def test_nesting_that_no_parser_survives(tmp_path: Path, faults: Faults) -> None:
    """A file of brackets is refused, not a crash."""
    path = tmp_path / "a.json"
    path.write_text("[" * 500_000)
    (fault,) = faults(path)
    assert fault.startswith(f"{path}")
    path.write_text("[" * 200 + "]" * 200)
    assert any("nested deeper than 64 levels" in fault for fault in faults(path))


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999", "1" * 30, "1" * 10_000])
def test_numbers_without_bounds_are_refused(tmp_path: Path, faults: Faults, number: str) -> None:
    """What is no finite number is refused at its place."""
    path = tmp_path / "a.json"
    path.write_text(f'{{"plugins": [],\n "exitTimeoutMs": {number}}}')
    assert faults(path) == ((f"{path}:2:19: /exitTimeoutMs: found a number that is infinite or none, "
                            "expected a string, number, boolean, null, list or mapping"),)
