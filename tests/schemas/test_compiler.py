"""Compiled schemas mean what jsonschema means, and cost what their budget allows and not more."""
from __future__ import annotations

from typing import Any, Dict, List

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from referencing import Registry

from legacy_plugins.schemas.compiler import compiled
from legacy_plugins.schemas.nodes import Run

_NAMES = st.sampled_from(["a", "b", "a/b", "~"])
_scalars = st.none() | st.booleans() | st.integers(-2, 4) | st.sampled_from([0.5, 1.0, -0.0, 1e300]) | _NAMES
_values = st.recursive(_scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_NAMES, inner, max_size=3),
                       max_leaves=8)
_sizes = st.integers(0, 3)
_types = st.sampled_from(["array", "boolean", "integer", "null", "number", "object", "string"])


def _schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several, by_name = st.lists(inner, min_size=1, max_size=3), st.dictionaries(_NAMES, inner, max_size=3)
    names = st.lists(_NAMES, max_size=2, unique=True)
    keywords: Dict[str, st.SearchStrategy[Any]] = {
        "type": _types | st.lists(_types, min_size=1, max_size=3, unique=True), "const": _values,
        "enum": st.lists(_values, min_size=1, max_size=3), "multipleOf": st.sampled_from([1, 2, 0.5, 0.1]),
        "minimum": _sizes, "maximum": _sizes, "exclusiveMinimum": _sizes, "exclusiveMaximum": _sizes,
        "minLength": _sizes, "maxLength": _sizes, "minItems": _sizes, "maxItems": _sizes, "minProperties": _sizes,
        "maxProperties": _sizes, "pattern": st.sampled_from(["^a", "b"]), "required": names,
        "dependentRequired": st.dictionaries(_NAMES, names, max_size=2), "uniqueItems": st.booleans(),
        "allOf": several, "anyOf": several, "oneOf": several, "not": inner, "if": inner, "then": inner, "else": inner,
        "dependentSchemas": by_name, "properties": by_name, "additionalProperties": inner, "propertyNames": inner,
        "patternProperties": st.dictionaries(st.sampled_from(["^a", "b", ""]), inner, max_size=2),
        "prefixItems": several, "items": inner, "contains": inner, "minContains": _sizes, "maxContains": _sizes,
        "$ref": st.just("#/$defs/other"), "$dynamicRef": st.just("#/$defs/other"), "unknown": st.just({"type": 5}),
    }
    return st.dictionaries(st.sampled_from(sorted(keywords)), st.none(), max_size=4).flatmap(
        lambda chosen: st.fixed_dictionaries({keyword: keywords[keyword] for keyword in chosen}))


_any_schema = st.recursive(st.booleans() | _types.map(lambda name: {"type": name}), _schemas, max_leaves=6)


def _run(schema: Any, value: Any, steps: int = 100_000) -> List[Dict[str, str]]:
    faults: List[Dict[str, str]] = []
    fits = compiled(schema).holds(value, Run(steps, faults, 50), None)
    assert fits is not bool(faults)
    return faults


@settings(max_examples=400, deadline=None)
@given(_any_schema, st.booleans() | _types.map(lambda name: {"type": name}), _values)
def test_means_what_jsonschema_means(schema: Any, other: Any, value: Any) -> None:
    """A value fits, or does not, exactly where jsonschema says so."""
    root = {"allOf": [schema], "$defs": {"other": other}}
    Draft202012Validator.check_schema(root)
    expected = Draft202012Validator(root, registry=Registry()).is_valid(value)
    assert (not _run(root, value)) == expected


_NOTHING_MORE: Dict[str, Any] = {"unevaluatedProperties": False}
_NO_MORE_ITEMS: Dict[str, Any] = {"unevaluatedItems": False}


@pytest.mark.parametrize(("schema", "fitting", "unfitting"), [
    ({**_NOTHING_MORE, "properties": {"a": True}, "allOf": [{"properties": {"b": True}}]}, {"a": 1, "b": 1}, {"c": 1}),
    ({**_NOTHING_MORE, "anyOf": [{"properties": {"a": True}}, {"properties": {"b": {"const": 1}}}]},
     {"a": 1, "b": 1}, {"a": 1, "b": 2}),
    ({**_NOTHING_MORE, "oneOf": [{"required": ["a"], "properties": {"a": True}}, {"required": ["b"]}]}, {"a": 1},
     {"b": 1}),
    ({**_NOTHING_MORE, "if": {"properties": {"a": {"const": 1}}, "required": ["a"]},
      "then": {"properties": {"b": True}}, "else": {"properties": {"c": True}}}, {"a": 1, "b": 1}, {"a": 1, "c": 1}),
    ({**_NOTHING_MORE, "dependentSchemas": {"a": {"properties": {"a": True, "b": True}}}}, {"a": 1, "b": 1}, {"b": 1}),
    ({**_NOTHING_MORE, "$ref": "#/$defs/x", "$defs": {"x": {"patternProperties": {"^a": True}}}}, {"ab": 1}, {"b": 1}),
    ({**_NOTHING_MORE, "not": {"not": {"properties": {"a": True}}}}, {}, {"a": 1}),
    ({**_NOTHING_MORE, "additionalProperties": {"type": "null"}}, {"a": None}, {"a": 1}),
    ({"allOf": [{"properties": {"a": True}}, _NOTHING_MORE]}, {}, {"a": 1}),
    ({**_NOTHING_MORE, "allOf": [{"unevaluatedProperties": {"type": "null"}}]}, {"a": None}, {"a": 1}),
    ({"unevaluatedProperties": {"type": "null"}, "properties": {"a": True}}, {"a": 1, "b": None}, {"b": 1}),
    ({**_NO_MORE_ITEMS, "prefixItems": [True], "allOf": [{"prefixItems": [True, True]}]}, [1, 2], [1, 2, 3]),
    ({**_NO_MORE_ITEMS, "contains": {"type": "null"}}, [None, None], [None, 1]),
    ({**_NO_MORE_ITEMS, "anyOf": [{"items": {"type": "null"}}, {"prefixItems": [True]}]}, [None, None], [1, 2]),
    ({"allOf": [{"items": True}, _NO_MORE_ITEMS]}, [], [1]),
    ({"unevaluatedItems": {"type": "null"}, "prefixItems": [True]}, [1, None], [1, 1]),
    ({"properties": {"a": _NOTHING_MORE}, "additionalProperties": True}, {"a": {}}, {"a": {"b": 1}}),
])
def test_what_is_left_over(schema: Any, fitting: Any, unfitting: Any) -> None:
    """Members and items count as looked at where a schema for the same value did so and fits (Core, section 11).

    Not left to the comparison: jsonschema's releases differ in it.
    """
    Draft202012Validator.check_schema(schema)
    assert _run(schema, fitting) == []
    assert _run(schema, unfitting)


@settings(max_examples=100, deadline=None)
@given(_any_schema, _values)
def test_each_fault_has_the_place_of_a_value(schema: Any, value: Any) -> None:
    """Each pointer leads to a value of the body, and each text is short."""
    root = {"allOf": [schema], "$defs": {"other": True}}
    for fault in _run(root, value):
        found = value
        for step in fault["pointer"].split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            found = found[int(name)] if isinstance(found, list) else found[name]
        assert 0 < len(fault["detail"]) <= 200
