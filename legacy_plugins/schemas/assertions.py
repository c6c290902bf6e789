"""The keywords of JSON Schema that look at a value and at nothing inside it: types, bounds, lengths, sets of values.

Owns what each of them means (Validation 2020-12, section 6) and how a fault reads. A fault quotes the beginning of a
text or a number and never an array or object, whose text could be as long as the body. Pure; any thread.
"""
from __future__ import annotations

import json
import re
from typing import Any, Callable, Dict, List, Mapping, NamedTuple

#: Characters that a fault quotes of a value.
_MAX_QUOTED = 60
_MAX_NAMES = 5


def is_number(value: Any) -> bool:
    """Whether it is a JSON number; Python's booleans are integers."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_TYPES: Dict[str, Callable[[Any], bool]] = {
    "array": lambda value: isinstance(value, list),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: is_number(value) and (isinstance(value, int) or value.is_integer()),
    "null": lambda value: value is None,
    "number": is_number,
    "object": lambda value: isinstance(value, dict),
    "string": lambda value: isinstance(value, str),
}


class Assertion(NamedTuple):
    """`holds(value)`: whether a value passes; `text(value)`: what is wrong with one that does not; `cost`: in steps."""

    holds: Callable[[Any], bool]
    text: Callable[[Any], str]
    cost: int = 1


def told(value: Any) -> str:
    """A value in a fault's text."""
    if isinstance(value, list):
        return "the array"
    if isinstance(value, dict):
        return "the object"
    if isinstance(value, str):
        return repr(value[:_MAX_QUOTED]) + ("..." if len(value) > _MAX_QUOTED else "")
    return json.dumps(value)[:_MAX_QUOTED]


def names(found: List[str]) -> str:
    """Some names in a fault's text."""
    more = f" and {len(found) - _MAX_NAMES} more" if len(found) > _MAX_NAMES else ""
    return ", ".join(map(told, found[:_MAX_NAMES])) + more


def equal(one: Any, other: Any) -> bool:
    """Equality as JSON Schema Core 2020-12, section 4.2.2, has it: 1 is 1.0, but not `true`."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


def _type(wanted: Any) -> Assertion:
    kinds = [wanted] if isinstance(wanted, str) else wanted
    text = " or ".join(map(repr, kinds))
    if len(kinds) == 1:
        return Assertion(_TYPES[kinds[0]], lambda value: f"{told(value)} is not of type {text}")
    checks = tuple(_TYPES[kind] for kind in kinds)
    return Assertion(lambda value: any(check(value) for check in checks),
                     lambda value: f"{told(value)} is not of type {text}", len(checks))


def _nodes(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(_nodes, value.values()))
    return 1 + (sum(map(_nodes, value)) if isinstance(value, list) else 0)


def _enum(values: List[Any]) -> Assertion:
    texts = frozenset(value for value in values if isinstance(value, str))
    others = tuple(value for value in values if not isinstance(value, str))

    def holds(value: Any) -> bool:
        return value in texts if isinstance(value, str) else any(equal(value, other) for other in others)

    shown = ", ".join(map(told, values[:_MAX_NAMES])) + (", ..." if len(values) > _MAX_NAMES else "")
    return Assertion(holds, lambda value: f"{told(value)} is not one of {shown}", 1 + sum(map(_nodes, others)))


def _const(wanted: Any) -> Assertion:
    return Assertion(lambda value: equal(value, wanted), lambda value: f"{told(wanted)} was expected", _nodes(wanted))


def _multiple_of(divisor: Any) -> Assertion:
    from jsonschema import Draft202012Validator  # for those who need it: hosts whose plugins have no such schema do not

    reference: Any = Draft202012Validator.VALIDATORS["multipleOf"]  # what floats make of it is not ours to decide
    judge = Draft202012Validator({})
    return Assertion(lambda value: not is_number(value) or not any(reference(judge, divisor, value, {})),
                     lambda value: f"{told(value)} is not a multiple of {divisor}", 4)


def _bound(fits: Callable[[Any, Any], bool], text: str) -> Callable[[Any], Assertion]:
    def make(limit: Any) -> Assertion:
        return Assertion(lambda value: not is_number(value) or fits(value, limit),
                         lambda value: f"{told(value)} is {text} {limit}")
    return make


def _size(kind: Any, fits: Callable[[int, Any], bool], text: str) -> Callable[[Any], Assertion]:
    def make(limit: Any) -> Assertion:
        return Assertion(lambda value: not isinstance(value, kind) or fits(len(value), limit),
                         lambda value: f"{told(value)} has {len(value)} {text} {limit}")
    return make


def _pattern(pattern: str) -> Assertion:
    search = re.compile(pattern).search
    return Assertion(lambda value: not isinstance(value, str) or search(value) is not None,
                     lambda value: f"{told(value)} does not match {pattern!r}")


def _required(wanted: List[str]) -> Assertion:
    def holds(value: Any) -> bool:
        return not isinstance(value, dict) or all(name in value for name in wanted)

    def text(value: Any) -> str:
        return f"required and not there: {names([name for name in wanted if name not in value])}"

    return Assertion(holds, text, 1 + len(wanted) // 4)


def _dependent_required(wanted: Mapping[str, List[str]]) -> Assertion:
    def missing(value: Any) -> List[str]:
        return [name for given, needed in wanted.items() if given in value for name in needed if name not in value]

    return Assertion(lambda value: not isinstance(value, dict) or not missing(value),
                     lambda value: f"required by other members and not there: {names(missing(value))}",
                     1 + (len(wanted) + sum(map(len, wanted.values()))) // 4)


ASSERTIONS: Dict[str, Callable[[Any], Assertion]] = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    "multipleOf": _multiple_of,
    "minimum": _bound(lambda value, limit: bool(value >= limit), "less than the minimum of"),
    "maximum": _bound(lambda value, limit: bool(value <= limit), "greater than the maximum of"),
    "exclusiveMinimum": _bound(lambda value, limit: bool(value > limit), "not greater than"),
    "exclusiveMaximum": _bound(lambda value, limit: bool(value < limit), "not less than"),
    "minLength": _size(str, lambda size, limit: bool(size >= limit), "characters, the least is"),
    "maxLength": _size(str, lambda size, limit: bool(size <= limit), "characters, the most is"),
    "minItems": _size(list, lambda size, limit: bool(size >= limit), "items, the least is"),
    "maxItems": _size(list, lambda size, limit: bool(size <= limit), "items, the most is"),
    "minProperties": _size(dict, lambda size, limit: bool(size >= limit), "members, the least is"),
    "maxProperties": _size(dict, lambda size, limit: bool(size <= limit), "members, the most is"),
    "pattern": _pattern,
    "required": _required,
    "dependentRequired": _dependent_required,
}


def canonical(value: Any, spend: Callable[[int], None]) -> str:
    """A text that is equal exactly where `equal` says that the values are; each value in it is paid for first.

    Text, since Python's hashes of numbers and tuples can be made to collide by whoever chooses the values.
    """
    if isinstance(value, list):
        spend(2)
        return f"[{','.join([canonical(item, spend) for item in value])}]"
    if isinstance(value, dict):
        spend(2 + 2 * len(value))
        return "{" + ",".join(sorted([f"{json.dumps(name)}:{canonical(item, spend)}"
                                      for name, item in value.items()])) + "}"
    spend(4 + len(value) // 64 if isinstance(value, str) else 4)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value)
