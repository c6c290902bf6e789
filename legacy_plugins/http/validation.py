"""Whether a request's body is what the route's JSON Schema asks for, within bounded work.

Owns the evaluation of schemas that plugins brought (checked by `schemas.bodies` when they were declared) on bodies that
strangers sent. Both can be hostile together: nested alternatives double the work with every level of the body, and
jsonschema compares each pair of an array's objects for `uniqueItems`. So the work is counted, in proportion to the
body, and `uniqueItems` is ours. Nothing is ever fetched: the registry is empty. Any thread; a validator keeps no state,
the count is the thread's own.
"""
from __future__ import annotations

import json
import threading
from typing import Any, Callable, Dict, Iterator, List, Mapping

from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError
from referencing import Registry

from legacy_plugins.http.problems import HttpProblem

#: So many faults of one body are reported.
MAX_FAULTS = 50
#: Characters of one fault's text.
MAX_DETAIL = 200
#: Keywords evaluated for any body, and for each byte of it. `[1,1,...]` under three keywords an item takes 1.5 a byte.
BASE_STEPS = 20_000
STEPS_PER_BYTE = 4

_Keyword = Callable[[Any, Any, Any, Any], Any]
_work = threading.local()


class _TooMuchWork(Exception):
    """The body needs more evaluation than its size is worth."""


class BodyValidator:
    """The validator of one route's `schema`; made once for a declaration."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        # jsonschema picks the class anew by a root's `$schema`, which would leave ours; the dialect was checked.
        own = {keyword: value for keyword, value in schema.items() if keyword != "$schema"}
        self._validator = _BoundedValidator(own, registry=Registry())

    def check(self, body: Any, size: int) -> None:
        """Raise `HttpProblem` 400 with every fault of a parsed body, or 502 where the schema itself fails.

        `size`: the bytes that the body was parsed from. Each fault has the JSON pointer (RFC 6901) of the value
        concerned, "" being the whole body.
        """
        faults: List[Dict[str, str]] = []
        _work.left = BASE_STEPS + STEPS_PER_BYTE * size
        try:
            for error in self._validator.iter_errors(body):
                faults.append({"pointer": _pointer(error), "detail": error.message[:MAX_DETAIL]})
                if len(faults) == MAX_FAULTS:
                    break
        except _TooMuchWork:
            faults.append({"pointer": "", "detail": "the body is too involved to be checked against the schema"})
        except Exception as error:  # noqa: BLE001 - a plugin's schema may fail in any way, and is the plugin's
            raise HttpProblem(502, "the plugin's route has a schema that cannot be evaluated",
                              reason=f"evaluating the route's schema raised {type(error).__name__}: {error}") from None
        if faults:
            raise HttpProblem(400, "the body is not what the route's schema asks for", faults=faults)


def _pointer(error: ValidationError) -> str:
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in error.absolute_path)


def _counted(keyword: _Keyword) -> _Keyword:
    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
        _work.left -= 1
        if _work.left < 0:
            raise _TooMuchWork
        return keyword(validator, value, instance, schema)

    return check


def _unique_items(validator: Any, wanted: bool, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """`uniqueItems` in linear time."""
    if wanted and isinstance(instance, list) and len(set(map(_canonical, instance))) < len(instance):
        yield ValidationError("the array has equal items")


def _canonical(value: Any) -> str:
    """A text that is equal exactly where JSON Schema says the values are: 1 is 1.0, but not `true`.

    Text, since Python's hashes of numbers and tuples can be made to collide by whoever chooses the values.
    """
    if isinstance(value, list):
        return f"[{','.join(map(_canonical, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(sorted(f"{json.dumps(name)}:{_canonical(item)}" for name, item in value.items())) + "}"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value)


_extend: Any = validators.extend
_BoundedValidator = _extend(Draft202012Validator, {
    name: _counted(_unique_items if name == "uniqueItems" else keyword)
    for name, keyword in Draft202012Validator.VALIDATORS.items()})
