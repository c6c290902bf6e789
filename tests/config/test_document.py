"""The wording of faults."""
from __future__ import annotations

from typing import Any

import pytest

from legacy_plugins.config.document import Document, JsonPath, Position, found, pointer, shown_key


def test_a_fault_names_file_place_pointer_and_plugin() -> None:
    """Each part stands where it is known."""
    document = Document("/etc/plugins.yaml")
    document.values = {("plugins", 0, "args"): Position(7, 9)}
    document.settle({"plugins": [{"name": "shop"}, "x", {"name": 5}, {"name": "y" * 61}]})
    document.fault(("plugins", 0, "args"), "wrong")
    document.fault(("plugins", 1), "wrong")
    document.fault(("plugins", 2), "wrong")
    document.fault(("plugins", 3), "wrong")
    document.fault((), "wrong")
    assert document.error().faults == (
        "/etc/plugins.yaml:7:9: /plugins/0/args (plugin 'shop'): wrong",
        "/etc/plugins.yaml: wrong",
        "/etc/plugins.yaml: /plugins/1: wrong",
        "/etc/plugins.yaml: /plugins/2: wrong",
        "/etc/plugins.yaml: /plugins/3: wrong",
    )


def test_faults_come_in_the_order_of_the_file_and_once() -> None:
    """Lines and columns are compared as numbers, and so are indices where there are no lines."""
    document = Document("f")
    for line in (10, 9, 9, 100):
        document.fault((), f"in {line}", Position(line, 1))
    assert document.error().faults == ("f:9:1: in 9", "f:10:1: in 10", "f:100:1: in 100")
    document = Document(None)
    for index in (10, 9, 2):
        document.fault(("plugins", index), "wrong")
    assert [fault.split()[1] for fault in document.error().faults] == ["/plugins/2:", "/plugins/9:", "/plugins/10:"]


@pytest.mark.parametrize(("path", "expected"), [
    ((), ""), (("plugins", 0), "/plugins/0"), (("a/b", "c~d"), "/a~1b/c~0d"), (("",), "/"),
    (("env", "TOKEN=hunter2"), "/env/TOKEN=..."), (("a\nb",), "/a\\nb"), (("\udcff",), "/\\udcff"),
])
def test_pointers_are_json_pointers(path: JsonPath, expected: str) -> None:
    """RFC 6901, in one line that can be printed, and without what follows a `=`."""
    assert pointer(path) == expected


def test_keys_show_no_value() -> None:
    """Whoever wrote NAME=value where a name belongs does not find the value in a log."""
    assert shown_key("TOKEN=hunter2=x") == "TOKEN=..."
    assert shown_key(5) == "5"


@pytest.mark.parametrize(("value", "path", "words"), [
    (None, ("a",), "null"), (True, ("a",), "true"), (False, ("env", "A"), "false"), ("x", ("a",), "the string 'x'"),
    (5, ("a",), "the integer 5"), (5.5, ("a",), "the number 5.5"), ([1], ("a",), "a list of 1"),
    ({}, ("env",), "a mapping of 0"), ("hunter2", ("plugins", 0, "env"), "a string"),
    (12345, ("plugins", 0, "env", "A"), "an integer"), (1.5, ("plugins", 0, "args", 0), "a number"),
    ("y" * 100, ("a",), f"the string '{'y' * 59}..."), ("a\nb", ("a",), "the string 'a\\nb'"),
])
def test_what_was_found_in_words(value: Any, path: JsonPath, words: str) -> None:
    """Scalars are shown, shortened, unless they may be secrets; lists and mappings are counted."""
    assert found(value, path) == words


def test_a_value_can_be_kept_back() -> None:
    """Where a list or mapping was wanted, a text may be a whole file with its secrets."""
    assert found("hunter2", ("plugins",), shown=False) == "a string"
