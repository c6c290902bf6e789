"""Arguments that are texts."""
from __future__ import annotations

from typing import Any, Callable

import pytest

from legacy_plugins.commands.arguments import (
    WrongUsage,
    call_params,
    check_seconds,
    encoded,
    header_fields,
    http_method,
    http_path,
    json_value,
    rpc_method,
)


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
    for text in ("nonsense", ": value", "X Y: a", "X\u2603: a", "X: a\nY: b", "X: \u2603"):
        with pytest.raises(WrongUsage, match="NAME:VALUE"):
            header_fields("--header", [text])


@pytest.mark.parametrize(("read", "wrong", "right"), [
    (json_value, ["NaN", "[-Infinity]", "[" * 100_000], "{}"), (call_params, ["5", '"a"', "true"], "[1]"),
    (check_seconds, [0, -1, float("nan"), float("inf")], 2.5), (encoded, ["\udcff"], "\u00e9"),
    (rpc_method, ["", "\udcff"], "shop/add"), (http_method, ["", "GET X", "G\n"], "get"),
    (http_path, ["", "x", "http://example.org/x", "//example.org/x", "/\udcff"], "/x?a=1"),
    (header_fields, [["Content-Length: 5"], ["transfer-encoding: chunked"]], ["A: b"]),
])
def test_what_makes_no_sense_is_wrong_usage(read: Callable[..., Any], wrong: Any, right: Any) -> None:
    """It names the argument; nothing is sent that means something else."""
    read("X", right)
    for value in wrong:
        with pytest.raises(WrongUsage) as caught:
            read("X", value)
        assert caught.value.argument == "X"
