"""YAML: places, duplicate keys, what is refused, and what plain scalars mean."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Tuple

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from legacy_plugins.config.document import Document, Position
from legacy_plugins.config.yaml_reader import read_yaml

Faults = Callable[..., Tuple[str, ...]]

_TEXT = st.text("aZ9 ü:#'\"-{}[]&*!|>%@`,?~=.\\/\t", max_size=6)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-10 ** 6, 10 ** 6) | _TEXT,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(_TEXT, children, max_size=4), max_leaves=12)


def _read(text: str) -> Tuple[Any, Document]:
    document = Document("f")
    return read_yaml(document, text), document


@settings(deadline=None)
@given(value=_VALUES, flow=st.booleans())
def test_what_pyyaml_writes_is_read_back(value: Any, flow: bool) -> None:
    """Values of JSON's kinds survive, and every part of them has a place."""
    text = yaml.safe_dump(value, default_flow_style=flow, allow_unicode=True)
    again, document = _read(text)
    assert again == value
    assert not document.faulty

    def check(part: Any, path: Tuple[Any, ...]) -> None:
        assert path in document.values
        for key, item in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
            check(item, (*path, key))
    check(value, ())


def test_places_of_keys_and_values() -> None:
    """Lines and columns count from 1, columns in characters."""
    _, document = _read("a:\n  - ü: {b: 1}\n  - 'x'\nc: 2\n")
    assert document.values[("a", 0, "ü", "b")] == Position(2, 12)
    assert document.keys[("a", 0, "ü", "b")] == Position(2, 9)
    assert document.values[("a", 1)] == Position(3, 5)
    assert document.keys[("c",)] == Position(4, 1)


@pytest.mark.parametrize(("text", "value"), [
    ("true", True), ("False", False), ("~", None), ("", None), ("null", None), ("5", 5), ("-5", -5), ("5.50", 5.5),
    ("1.5e+3", 1500.0), ("off", "off"), ("on", "on"), ("yes", "yes"), ("NO", "NO"), ("1:30", "1:30"), ("0755", "0755"),
    ("0x1F", "0x1F"), ("1_000", "1_000"), ("0b1", "0b1"), ("2024-01-01", "2024-01-01"), ("=", "="), ("<<", "<<"),
    (".inf", ".inf"), (".nan", ".nan"), ("'5'", "5"), ("! x", "x"), ("!!str 5", "5"),
])
def test_plain_scalars_mean_what_they_mean_to_editors(text: str, value: Any) -> None:
    """Numbers and booleans are those of JSON and YAML 1.2; what YAML 1.1 made of words, colons and zeros is text."""
    result, document = _read(f"a: {text}")
    assert not document.faulty
    assert result == {"a": value}
    assert type(result["a"]) is type(value)


@pytest.mark.parametrize("text", [
    "a: !!python/object/apply:os.system [hunter2]", "a: !!python/name:os.system", "a: !!binary aHVudGVyMg==",
    "a: !!set {hunter2}", "a: !!omap [b: hunter2]", "a: !!pairs [b: hunter2]", "a: !hunter2 b", "a: !!map hunter2",
    "a: !!python/tuple [hunter2]", "a: !!seq {hunter2: 1}",
])
def test_tags_are_refused_and_make_nothing(text: str) -> None:
    """No object is made of a tag; the fault has the place and quotes nothing."""
    value, document = _read(text)
    assert value == {"a": None}
    assert document.error().faults == ("f:1:4: /a: found a YAML tag, expected none",)


@pytest.mark.parametrize("text", ["a: &x [1]\nb: *x", "a: &x {<<: *x}", "b: *hunter2", "*hunter2 : 1", "- &x 1\n- *x"])
def test_aliases_are_refused(text: str) -> None:
    """A few lines of aliases can stand for gigabytes; the fault says what to use instead."""
    _, document = _read(text)
    (fault,) = document.error().faults
    assert "aliases are refused; use `defaults`" in fault
    assert "hunter2" not in fault
    assert not document.readable


def test_an_alias_bomb_costs_nothing(tmp_path: Path, faults: Faults) -> None:
    """The billion laughs end at the first alias."""
    path = tmp_path / "a.yaml"
    path.write_text("a: &a [x, x]\n" + "".join(
        f"{name}: &{name} [*{before}, *{before}, *{before}]\n" for before, name in zip("abcdefgh", "bcdefghi")))
    assert faults(path) == (f"{path}:2:8: not valid YAML: aliases are refused; use `defaults` for what plugins share",)


def test_a_key_that_stands_twice_is_a_fault() -> None:
    """Both places are told, however the key is quoted; the same key elsewhere is none."""
    _, document = _read("a: {x: 1}\nb: [{x: 1}, {x: 2}]\n'a': {x: 2}\na: 3\n")
    assert document.error().faults == (
        "f:3:1: found the key 'a' again, expected it once; the first is in line 1",
        "f:4:1: found the key 'a' again, expected it once; the first is in line 1")


@pytest.mark.parametrize(("text", "fault"), [
    ("true: 1", "f:1:1: found the key 'true', expected a string as key"),
    ("a: 1\n5: 1", "f:2:1: found the key '5', expected a string as key"),
    ("~: 1", "f:1:1: found the key '~', expected a string as key"),
    ("? [a]\n: 1", "f:1:3: found the key that is no scalar, expected a string as key"),
])
def test_keys_are_strings(text: str, fault: str) -> None:
    """A key of another kind is a fault at its place, and its value is left out."""
    value, document = _read(text)
    assert document.error().faults == (fault,)
    assert set(value) <= {"a"}


@pytest.mark.parametrize(("text", "line"), [
    ("a: [1\nb: 2", 2), ("a: 'hunter2\n", 2), ("a: b: c", 1), ("a:\n\t- hunter2", 2), ("%YAML 9.0\n---\na: 1", 1),
    ("a: %hunter2", 1), ("a: 1\n---\nb: 2", 2), ("a: !hunter2!x y", 1), ("a: &hunter2 1\nb: &hunter2 2", 2),
    ("c: @hunter2", 1), ("a: \"\\q hunter2\"", 1), ("a: {b: ${hunter2}}", 1),
])
def test_a_syntax_error_has_its_line_and_quotes_nothing(text: str, line: int) -> None:
    """What the parser quotes may be a secret and is left out."""
    _, document = _read(text)
    (fault,) = document.error().faults
    assert fault.startswith(f"f:{line}:")
    assert ": not valid YAML: " in fault
    assert "hunter2" not in fault
    assert not document.readable


def test_characters_that_yaml_does_not_allow() -> None:
    """A control character has its place, too."""
    _, document = _read("a: 1\nbc: \x07")
    assert document.error().faults == ("f:2:5: not valid YAML: a character that YAML does not allow",)


@pytest.mark.parametrize("text", ["[" * 2000 + "]" * 2000, "\n".join(" " * depth + "a:" for depth in range(300)),
                                  "- " * 1000], ids=["flow", "mappings", "lists"])
def test_deep_nesting_is_refused(text: str) -> None:
    """The depth is bounded before recursion gets anywhere."""
    _, document = _read(text)
    assert "nested deeper than 64 levels" in document.error().faults[0]


def test_an_empty_file_is_no_mapping(tmp_path: Path, faults: Faults) -> None:
    """An empty document is null, and what is expected is a mapping."""
    path = tmp_path / "a.yaml"
    for text in ("", "# nothing\n", "---\n"):
        path.write_text(text)
        assert faults(path)[0].endswith("found null, expected a mapping")
