"""Copying what callers and readers hand over."""
from __future__ import annotations

import collections
import enum
import math
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, Dict, List

import pytest

from legacy_plugins.config.document import MAX_DEPTH, Document
from legacy_plugins.config.plain_values import plain


class Shout(str):
    """A string whose text for people is another."""

    __slots__ = ()

    def __str__(self) -> str:
        return self.upper() + "!"


class Level(enum.IntEnum):
    LOW = 3


def test_any_mapping_and_sequence_is_copied() -> None:
    """The copy is of plain dictionaries, lists, strings and numbers, whatever they were made of."""
    document = Document(None)
    given = MappingProxyType({
        Shout("a"): (1, 2.5, None, True), "b": collections.OrderedDict(c=collections.deque([Shout("x")])),
        "path": Path("/opt/x"), "pure": PurePosixPath("a/b"), "level": Level.LOW, "range": range(2),
    })
    copied = plain(document, given)
    assert copied == {"a": [1, 2.5, None, True], "b": {"c": ["x"]}, "path": "/opt/x", "pure": "a/b", "level": 3,
                      "range": [0, 1]}
    assert [type(copied["b"]), type(copied["b"]["c"][0]), type(copied["level"])] == [dict, str, int]
    assert all(type(key) is str for key in copied)
    assert not document.faulty


@pytest.mark.parametrize(("value", "what"), [
    ({1, 2}, "an object of the type set"), (b"hunter2", "an object of the type bytes"),
    (bytearray(b"x"), "an object of the type bytearray"), (object(), "an object of the type object"),
    (1j, "an object of the type complex"), (2 ** 63, "an integer of more than 64 bits"),
    (-(2 ** 400), "an integer of more than 64 bits"), (math.inf, "a number that is infinite or none"),
    (math.nan, "a number that is infinite or none"), (iter([]), "an object of the type list_iterator"),
])
def test_what_json_has_not_is_a_fault(value: Any, what: str) -> None:
    """It is named by its kind, never by its value, and None takes its place."""
    document = Document(None)
    assert plain(document, {"a": [value]}) == {"a": [None]}
    assert document.spoilt == {("a", 0)}
    assert document.error().faults == (
        f"configuration: /a/0: found {what}, expected a string, number, boolean, null, list or mapping",)


def test_keys_are_strings() -> None:
    """A key of another type is a fault, and its value is left out."""
    document = Document(None)
    assert plain(document, {1: "a", "b": {None: 1, "c": 2}}) == {"b": {"c": 2}}
    assert document.error().faults == (
        "configuration: found the key '1', expected a string as key",
        "configuration: /b: found the key 'None', expected a string as key")


def test_a_loop_ends() -> None:
    """What contains itself is refused at a bounded depth."""
    looped: Dict[str, Any] = {}
    looped["a"] = looped
    deep: List[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (looped, deep):
        document = Document(None)
        plain(document, value)
        (fault,) = document.error().faults
        assert f"nested deeper than {MAX_DEPTH} levels, or contained in itself" in fault
