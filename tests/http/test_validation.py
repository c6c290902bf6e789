"""Bodies against schemas: every fault with its place, and bounded work for hostile pairs of both."""
from __future__ import annotations

import json
import tracemalloc
from typing import Any, Dict, List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legacy_plugins.http.problems import HttpProblem
from legacy_plugins.http.validation import MAX_DETAIL, MAX_FAULTS, MAX_STEPS, BodyValidator
from legacy_plugins.schemas.bodies import DIALECT, check_body_schema

ORDER = {
    "$schema": DIALECT, "type": "object", "required": ["name"], "additionalProperties": False,
    "properties": {"name": {"type": "string", "minLength": 1},
                   "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
                   "a/b~c": {"type": "integer"}},
    "$defs": {"line": {"type": "object", "properties": {"count": {"type": "integer", "minimum": 1}}}},
}
# Alternatives that nest: without a bound each level of the body doubles the work.
TREE = {"anyOf": [{"properties": {"x": {"$ref": "#"}}, "required": ["y"]},
                  {"properties": {"x": {"$ref": "#"}}, "required": ["z"]}]}


def _faults(schema: Dict[str, Any], body: Any, size: int = 100) -> List[Dict[str, str]]:
    return _told(BodyValidator(schema), body, size)


def _told(validator: BodyValidator, body: Any, size: int) -> List[Dict[str, str]]:
    try:
        validator.check(body, size)
    except HttpProblem as problem:
        return [dict(fault) for fault in problem.faults] if problem.status == 400 else [{"pointer": "not a 400"}]
    return []


@pytest.mark.req("R20")
def test_every_fault_has_its_json_pointer() -> None:
    """All faults of a body are told at once, each with the RFC 6901 pointer of the value concerned."""
    faults = _faults(ORDER, {"lines": [{"count": 1}, {"count": 0}, {"count": "2"}], "a/b~c": "x", "more": 1})
    assert sorted(fault["pointer"] for fault in faults) == ["", "", "/a~1b~0c", "/lines/1/count", "/lines/2/count"]
    assert all(0 < len(fault["detail"]) <= MAX_DETAIL for fault in faults)


def test_a_right_body_passes() -> None:
    """No fault, no exception; a root that names the dialect is followed through its references all the same."""
    assert _faults(ORDER, {"name": "n", "lines": [{"count": 2}]}) == []
    check_body_schema(ORDER, allow_patterns=False)


def test_faults_are_bounded() -> None:
    """A body with thousands of faults gets the first fifty, each of bounded length."""
    faults = _faults({"items": {"type": "string", "maxLength": 1}}, [["x" * 1000]] * 5000, 10_000_000)
    assert len(faults) == MAX_FAULTS
    assert max(len(fault["detail"]) for fault in faults) <= MAX_DETAIL


@pytest.mark.fault("R21")
def test_nested_alternatives_cost_no_more_than_the_body_is_worth() -> None:
    """A small, deep body against alternatives that double with each level is refused after bounded work."""
    body: Any = {}
    for _ in range(60):
        body = {"x": body}
    (fault,) = _faults(TREE, body, len(json.dumps(body)))
    assert "too involved" in fault["detail"]
    check_body_schema(TREE, allow_patterns=False)


def test_unique_items_takes_linear_time() -> None:
    """20,000 objects that cannot be sorted are compared in linear time, and equal ones are found."""
    items: List[Any] = [{"a": index, "b": [index]} for index in range(20_000)]
    size = len(json.dumps(items))
    assert _faults({"uniqueItems": True}, items, size) == []
    assert len(_faults({"uniqueItems": True}, [*items, {"b": [7], "a": 7.0}], size)) == 1
    assert _faults({"uniqueItems": False}, [1, 1]) == []
    assert _faults({"uniqueItems": True}, {"not": "an array"}) == []


ONES = [1] * 150_000
_TREE_OF_LISTS = {"$ref": "#/$defs/tree", "$defs": {"tree": {
    "uniqueItems": True, "anyOf": [{"type": "string"}, {"items": {"$ref": "#/$defs/tree"}}]}}}


@pytest.mark.fault("R21")
@pytest.mark.parametrize(("schema", "body", "passes"), [
    ({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]}, ONES, False),
    ({"oneOf": [{"items": {"type": "string"}}, {"items": {"required": list("abcde")}}]}, [{}] * 100_000, False),
    ({"not": {"items": {"required": [f"r{number}" for number in range(2000)]}}}, [{}] * 100_000, True),
    ({"if": {"items": {"type": "string"}}, "then": False}, ONES, True),
    ({"contains": {"type": "string"}}, ONES, False),
    ({"anyOf": [{"type": "string"}] * 1200}, ONES, False),
    ({"contains": {"type": "integer"}, "unevaluatedItems": False}, ONES, True),
    ({"unevaluatedProperties": False}, dict.fromkeys(map(str, range(20_000))), False),
    ({"items": {"type": "integer", "minimum": 0, "maximum": 1}}, ONES, True),
    ({"items": {"enum": [f"{number:03}" for number in range(250)]}}, ["249"] * 50_000, True),
], ids=["anyOf", "oneOf", "not", "if", "contains", "wide", "unevaluatedItems", "unevaluatedProperties", "fits", "enum"])
def test_a_megabyte_takes_little_memory_and_bounded_work(schema: Dict[str, Any], body: Any, passes: bool) -> None:
    """Alternatives stop at their first fault and no fault quotes the body, so that nothing grows with it."""
    check_body_schema(schema, allow_patterns=False)
    validator = BodyValidator(schema)
    tracemalloc.start()
    try:
        faults = _told(validator, body, 1 << 20)
        grown = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert bool(faults) is not passes
    assert grown < 32 * 1024 * 1024


def test_the_work_has_an_absolute_bound() -> None:
    """However large the body may be, it is left after so many steps, before the interpreter lock was held for long."""
    nested: Any = ["x"]
    for _ in range(50):
        nested = [nested] * 2
    (fault,) = _faults(_TREE_OF_LISTS, nested, 1 << 30)
    assert "too involved" in fault["detail"]
    (fault,) = _faults({"items": {"not": {"not": {"type": "string"}}}}, ["x"] * (MAX_STEPS // 5), 1 << 30)
    assert "too involved" in fault["detail"]


@pytest.mark.parametrize(("schema", "body", "pointer"), [
    ({"properties": {"a": {"items": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}}, {"a": ["x", 1]}, "/a/1"),
    ({"properties": {"a": False}}, {"a": 1}, "/a"),
    ({"prefixItems": [True, {"enum": [1]}]}, [0, 2], "/1"),
    ({"propertyNames": {"maxLength": 1}}, {"ab": 1}, ""),
    ({"if": {"required": ["a"]}, "then": {"properties": {"a": {"const": 1}}}}, {"a": 2}, "/a"),
    ({"additionalProperties": {"type": "null"}}, {"x": 1}, "/x"),
    ({"unevaluatedItems": {"type": "null"}, "prefixItems": [True]}, [1, 2], "/1"),
])
def test_a_fault_points_at_the_value(schema: Dict[str, Any], body: Any, pointer: str) -> None:
    """Inside of references, branches and what is left over the pointer is that of the value that is wrong."""
    (fault,) = _faults(schema, body)
    assert fault["pointer"] == pointer


_json = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False,
                                                                           allow_infinity=False) | st.text(),
                     lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner,
                                                                                 max_size=3),
                     max_leaves=8)


def _equal(one: Any, other: Any) -> bool:
    """Equality as JSON Schema Core 2020-12, section 4.2.2, has it."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[name], other[name]) for name in one)
    if type(one) in (int, float) and type(other) in (int, float):
        return bool(one == other)
    return type(one) is type(other) and bool(one == other)


@given(st.lists(_json | st.sampled_from([0, 0.0, -0.0, 1, 1.0, True, False, "1", [1], [1.0], [True]]), max_size=4))
def test_unique_items_means_what_the_standard_says(items: List[Any]) -> None:
    """Two items are equal exactly where JSON Schema says so: 1 is 1.0, and not true."""
    equal = any(_equal(one, other) for index, one in enumerate(items) for other in items[index + 1:])
    assert bool(_faults({"uniqueItems": True}, items)) == equal


@pytest.mark.parametrize(("schema", "body"), [
    ({"$ref": "#"}, {}), ({"$ref": "http://127.0.0.1:9/schema"}, {}), ({"$ref": "#/$defs/missing"}, {}),
    ({"pattern": "("}, "text"), ({"type": "nothing"}, 1), ({"minimum": "1"}, 1),
])
def test_a_schema_that_fails_is_the_plugins_fault(schema: Dict[str, Any], body: Any) -> None:
    """Endless, remote, dangling or nonsensical: 502 and a reason for the log, never a 500, never a fetch."""
    with pytest.raises(HttpProblem) as raised:
        BodyValidator(schema).check(body, 10)
    assert raised.value.status == 502
    assert raised.value.reason is not None
