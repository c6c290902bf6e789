"""Schemas of request bodies: which ones a plugin may declare."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

import pytest

from legacy_plugins.errors import InvalidMessage
from legacy_plugins.schemas.bodies import DIALECT, MAX_CHARACTERS, MAX_DEPTH, MAX_NODES, check_body_schema

TAKEN: Dict[str, Any] = {
    "empty": {},
    "the dialect named": {"$schema": DIALECT, "type": "object"},
    "the dialect with an empty fragment": {"$schema": DIALECT + "#"},
    "a tree by reference": {"properties": {"children": {"type": "array", "items": {"$ref": "#"}}}},
    "definitions": {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"type": "string"}}},
    "an escaped pointer": {"properties": {"a/b~c": {}, "d": {"$ref": "#/properties/a~1b~0c"}}},
    "a percent-encoded pointer": {"$defs": {"a b": {}}, "$ref": "#/$defs/a%20b"},
    "an anchor": {"$defs": {"x": {"$anchor": "here", "type": "string"}}, "$ref": "#here"},
    "a dynamic anchor": {"$dynamicAnchor": "node", "properties": {"next": {"$dynamicRef": "#node"}}},
    "data that looks like keywords": {"const": {"pattern": "(", "$ref": "http://x", "$id": 1}, "enum": [{"$id": "x"}]},
    "properties named as keywords": {"properties": {"pattern": {}, "$ref": {}, "$id": {"type": "string"}}},
    "boolean schemas": {"properties": {"a": True, "b": False}, "additionalProperties": False},
    "a format": {"format": "date-time"},
}
REFUSED: Dict[str, Any] = {
    "no object": (True, "not an object"),
    "a remote reference": ({"$ref": "https://example.com/schema"}, "only references inside"),
    "a file": ({"items": {"$ref": "file:///etc/passwd"}}, "only references inside"),
    "a relative file": ({"$ref": "other.json#/a"}, "only references inside"),
    "a remote dynamic reference": ({"$dynamicRef": "https://example.com/#node"}, "only references inside"),
    "a reference that is no text": ({"$ref": 1}, "only references inside"),
    "an identity": ({"$id": "https://example.com/me"}, "$id"),
    "an inner identity": ({"$defs": {"a": {"$id": "a"}}}, "$id"),
    "another dialect": ({"$schema": "http://json-schema.org/draft-07/schema#"}, "draft-07"),
    "an inner dialect": ({"items": {"$schema": DIALECT}}, "at the root alone"),
    "a dialect that is no text": ({"$schema": 1}, "$schema"),
    "a dangling pointer": ({"$ref": "#/$defs/none"}, "leads to no schema"),
    "a pointer into data": ({"const": {"pattern": "x"}, "$ref": "#/const"}, "leads to no schema"),
    "a dangling anchor": ({"$ref": "#none"}, "leads to no schema"),
    "a pattern": ({"properties": {"a": {"pattern": "(a+)+$"}}}, "http.schemaPatterns"),
    "pattern properties": ({"patternProperties": {"^a": {}}}, "http.schemaPatterns"),
    "a pattern for names": ({"propertyNames": {"pattern": "^a"}}, "http.schemaPatterns"),
    "a pattern in a definition": ({"$defs": {"a": {"pattern": "^a"}}}, "http.schemaPatterns"),
    "the format regex": ({"format": "regex"}, "http.schemaPatterns"),
    "a reference to itself": ({"$ref": "#"}, "would never end"),
    "a ring": ({"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"not": {"$ref": "#/$defs/a"}}}},
               "would never end"),
    "a dynamic ring": ({"$dynamicAnchor": "node", "allOf": [{"$dynamicRef": "#node"}]}, "would never end"),
    "an unknown type": ({"type": "text"}, "/type"),
    "an old array form": ({"items": [{}]}, "/items"),
    "a bound that is no number": ({"properties": {"a": {"minimum": "1"}}}, "/properties/a/minimum"),
    "too many values": ({"enum": list(range(MAX_NODES))}, "larger than"),
    "too many characters": ({"description": "x" * (MAX_CHARACTERS + 1)}, "larger than"),
}


@pytest.mark.req("R20")
@pytest.mark.parametrize("case", TAKEN)
def test_schemas_that_are_taken(case: str) -> None:
    """A self-contained schema of the dialect passes."""
    check_body_schema(TAKEN[case], allow_patterns=False)


@pytest.mark.fault("R21")
@pytest.mark.parametrize("case", REFUSED)
def test_schemas_that_are_refused(case: str) -> None:
    """What could fetch, recurse for ever, match expressions or simply fail is refused with its place and reason."""
    schema, reason = REFUSED[case]
    with pytest.raises(InvalidMessage) as raised:
        check_body_schema(schema, allow_patterns=False)
    assert reason in str(raised.value)
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize("leaf", [{}, {"type": "string"}])
def test_deep_nesting_is_refused_without_recursion(leaf: Dict[str, Any]) -> None:
    """A schema far deeper than Python's recursion limit is refused by its depth."""
    schema = leaf
    for _ in range(100_000):
        schema = {"not": schema}
    with pytest.raises(InvalidMessage, match=f"{MAX_DEPTH} levels"):
        check_body_schema(schema, allow_patterns=False)
    while schema.get("not"):  # taken apart by hand: on some Pythons freeing it in one piece recurses too
        schema = schema.pop("not")


def test_the_operator_may_allow_patterns() -> None:
    """With `http.schemaPatterns` expressions are taken that compile."""
    check_body_schema({"pattern": "^a+$", "patternProperties": {"^x-": {"format": "regex"}}}, allow_patterns=True)
    with pytest.raises(InvalidMessage, match="no regular expression"):
        check_body_schema({"pattern": "("}, allow_patterns=True)
    with pytest.raises(InvalidMessage, match="no regular expression"):
        check_body_schema({"patternProperties": {"[": {}}}, allow_patterns=True)


def test_importing_loads_no_jsonschema() -> None:
    """A host whose plugins declare no schema pays nothing for the check."""
    code = "import sys, legacy_plugins.schemas.bodies as b; sys.exit('jsonschema' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=str(Path(__file__).resolve().parents[2]), timeout=60)
    assert done.returncode == 0
