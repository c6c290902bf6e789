"""What a plugin's JSON Schema of a request body may say before the host agrees to evaluate it.

Owns where schemas stand inside schemas, and the one check that a handshake runs over every declared `schema`: a valid
JSON Schema 2020-12 of bounded size whose references stay inside it, end somewhere, and which brings no regular
expression of its own unless the operator allows that. So evaluating it later fetches nothing, cannot recurse without
consuming the body, and cannot hold the interpreter lock in `re`. Called from any thread, keeps no state; jsonschema is
imported at the first call, for hosts whose plugins declare no schema never load it.
"""
from __future__ import annotations

import re
from typing import Any, Dict, Iterator, List, Mapping, Set, Tuple
from urllib.parse import unquote

from legacy_plugins.errors import InvalidMessage

#: The only dialect; `$schema` may name it, at the root, or be absent.
DIALECT = "https://json-schema.org/draft/2020-12/schema"
#: Values of any kind in a schema. 5,000 take up to 0.4 s to check against the dialect's own schema.
MAX_NODES = 5_000
#: How deep arrays and objects may nest in a schema.
MAX_DEPTH = 64
#: Characters in all names and texts of a schema together.
MAX_CHARACTERS = 262_144

# Where schemas stand inside schemas (JSON Schema Core 2020-12, sections 8 and 10, and Validation, section 8).
_ONE = frozenset({"additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames",
                  "then", "unevaluatedItems", "unevaluatedProperties"})
_LIST = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAP = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
# Those that look at the same value as the schema around them; the others look at a part of it.
_IN_PLACE = frozenset({"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"})
_REFERENCES = ("$ref", "$dynamicRef")

_Found = Dict[str, Any]
_Edge = Tuple[str, str]


def check_body_schema(schema: Any, *, allow_patterns: bool) -> None:
    """Refuse a route's `schema` that the host should not evaluate.

    `schema`: the parsed declaration, an object. `allow_patterns`: the operator's `http.schemaPatterns`; without it
    `pattern`, `patternProperties` and `format: regex` are refused, since a plugin's regular expression can hold the
    host's interpreter lock for seconds. Raises `InvalidMessage` with the place and the reason.
    """
    if not isinstance(schema, Mapping):
        raise InvalidMessage(f"the schema is a {type(schema).__name__}, not an object")
    _check_size(schema)
    schemas, edges = subschemas(schema)
    for pointer, found in schemas.items():
        if isinstance(found, Mapping):
            _check_identity(pointer, found)
            _check_patterns(pointer, found, allow_patterns)
    _check_dialect(schema)
    reference_targets(schemas, edges)


def _refuse(pointer: str, reason: str) -> InvalidMessage:
    place = f"the schema at {pointer!r}" if pointer else "the schema"
    return InvalidMessage(f"{place}: {reason}")


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        yield from value
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _check_size(schema: Mapping[str, Any]) -> None:
    """Bound the schema, level by level, before anything recursive looks at it."""
    level: List[Any] = [schema]
    nodes = characters = depth = 0
    while level:
        depth += 1
        nodes += len(level)
        characters += sum(len(value) for value in level if isinstance(value, str))
        if depth > MAX_DEPTH or nodes > MAX_NODES or characters > MAX_CHARACTERS:
            raise InvalidMessage(f"the schema is larger than {MAX_NODES} values, {MAX_CHARACTERS} characters or "
                                 f"{MAX_DEPTH} levels")
        level = [child for value in level for child in _children(value)]


def subschemas(root: Mapping[str, Any]) -> Tuple[_Found, List[_Edge]]:
    """Every schema inside `root` by JSON pointer, and which of them look at the same value as the one around them.

    The pointers are as in RFC 6901, not encoded for a URI; `root` itself is "".
    """
    found: _Found = {}
    edges: List[_Edge] = []
    waiting: List[Tuple[str, Any]] = [("", root)]
    while waiting:
        pointer, schema = waiting.pop()
        found[pointer] = schema
        if not isinstance(schema, Mapping):
            continue  # True and False are schemas; anything else fails the dialect's own check below
        for keyword, value in schema.items():
            for child, subschema in _below(keyword, value):
                below = pointer + child
                waiting.append((below, subschema))
                if keyword in _IN_PLACE:
                    edges.append((pointer, below))
    return found, edges


def _below(keyword: str, value: Any) -> Iterator[Tuple[str, Any]]:
    """The schemas that stand directly under a keyword, with their pointers relative to the schema around it."""
    if keyword in _ONE:
        yield f"/{keyword}", value
    elif keyword in _LIST and isinstance(value, list):
        for index, item in enumerate(value):
            yield f"/{keyword}/{index}", item
    elif keyword in _MAP and isinstance(value, Mapping):
        for name, item in value.items():
            yield f"/{keyword}/{escaped(name)}", item


def escaped(name: str) -> str:
    """A member's name as a token of a JSON pointer (RFC 6901, section 3)."""
    return name.replace("~", "~0").replace("/", "~1")


def _check_identity(pointer: str, schema: Mapping[str, Any]) -> None:
    """Refuse what gives a schema another name or dialect, or refers to something outside."""
    if "$id" in schema:
        raise _refuse(pointer, "`$id` is not taken; refer to places inside the schema by `#/...`")
    dialect = schema.get("$schema", DIALECT)
    if pointer and "$schema" in schema:
        raise _refuse(pointer, "`$schema` may stand at the root alone")
    if not isinstance(dialect, str) or dialect.rstrip("#") != DIALECT:
        raise _refuse(pointer, f"`$schema` is {_short(dialect)}; the dialect is {DIALECT}")
    for keyword in _REFERENCES:
        reference = schema.get(keyword, "#")
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise _refuse(pointer, f"`{keyword}` is {_short(reference)}; only references inside the schema (`#/...`) "
                                   "are followed")


def _check_patterns(pointer: str, schema: Mapping[str, Any], allowed: bool) -> None:
    """Refuse regular expressions that the operator did not allow, or that do not compile."""
    patterns = [schema["pattern"]] if "pattern" in schema else []
    if isinstance(schema.get("patternProperties"), Mapping):
        patterns.extend(schema["patternProperties"])
    if not allowed and (patterns or "patternProperties" in schema or schema.get("format") == "regex"):
        raise _refuse(pointer, "`pattern`, `patternProperties` and `format: regex` need the operator's "
                               "`http.schemaPatterns`")
    for pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, TypeError, OverflowError, RecursionError) as error:
            raise _refuse(pointer, f"{_short(pattern)} is no regular expression that Python takes: {error}") from None


def _check_dialect(schema: Mapping[str, Any]) -> None:
    """Refuse what is no schema of the dialect."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise _refuse("".join(f"/{escaped(str(step))}" for step in error.absolute_path),
                      f"it is not a JSON Schema 2020-12: {error.message[:200]}") from None


def reference_targets(schemas: _Found, edges: List[_Edge]) -> Dict[str, List[str]]:
    """Where the references of each schema lead; by JSON pointer, of what `subschemas` found.

    Raises `InvalidMessage` for those that lead nowhere, or back to themselves without looking at a part of the value.
    """
    targets: Dict[str, List[str]] = {}
    anchors = {schema[keyword]: pointer for pointer, schema in schemas.items() if isinstance(schema, Mapping)
               for keyword in ("$anchor", "$dynamicAnchor") if keyword in schema}
    edges = list(edges)
    for pointer, schema in schemas.items():
        for keyword in _REFERENCES:
            if isinstance(schema, Mapping) and keyword in schema:
                fragment = unquote(str(schema[keyword])[1:])
                target = fragment if not fragment or fragment.startswith("/") else anchors.get(fragment)
                if target is None or target not in schemas:
                    raise _refuse(pointer, f"`{keyword}` {_short(schema[keyword])} leads to no schema")
                edges.append((pointer, target))
                targets.setdefault(pointer, []).append(target)
    endless = _cyclic(set(schemas), edges)
    if endless:
        raise _refuse(min(endless), "it refers back to itself without looking at a part of the value, so evaluating it "
                                    "would never end")
    return targets


def _cyclic(nodes: Set[str], edges: List[_Edge]) -> Set[str]:
    """The nodes that reach a cycle: what is left when those without a way out are taken away, again and again."""
    ways_out = dict.fromkeys(nodes, 0)
    into: Dict[str, List[str]] = {}
    for start, end in edges:
        ways_out[start] += 1
        into.setdefault(end, []).append(start)
    done = [node for node, count in ways_out.items() if count == 0]
    while done:
        for start in into.get(done.pop(), ()):
            ways_out[start] -= 1
            if ways_out[start] == 0:
                done.append(start)
    return {node for node, count in ways_out.items() if count}


def _short(value: Any) -> str:
    return repr(value)[:100]
