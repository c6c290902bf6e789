"""Arguments that are texts."""
from __future__ import annotations

import pytest

from legacy_plugins.commands.arguments import WrongUsage, header_fields, json_value


def test_json_values() -> None:
    """Any JSON; anything else names the argument."""
    assert json_value("PARAMS", '{"a": [1]}') == {"a": [1]}
    with pytest.raises(WrongUsage, match="not JSON") as caught:
        json_value("PARAMS", "{")
    assert caught.value.argument == "PARAMS"


def test_header_fields() -> None:
    """Name and value without the blanks around them; a value may have colons."""
    assert header_fields("--header", ["Accept: a/b", "Host:example.org:80"]) == [
        ("Accept", "a/b"), ("Host", "example.org:80")]
    for text in ("nonsense", ": value"):
        with pytest.raises(WrongUsage, match="NAME:VALUE"):
            header_fields("--header", [text])
