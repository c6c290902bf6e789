"""Whether a request's body is what the route's JSON Schema asks for, within bounded work.

Owns the evaluation of schemas that plugins brought (checked by `schemas.bodies` when they were declared) on bodies that
strangers sent. Both can be hostile together: nested alternatives double the work with every level of the body, and
plain ones multiply it by the length of an array. So the work is counted, in proportion to the body and in absolute
terms, for it is done under the interpreter lock. Nothing is ever fetched. Any thread.
"""
from __future__ import annotations

from typing import Any, Mapping, Optional

from legacy_plugins.http.problems import HttpProblem
from legacy_plugins.schemas.compiler import compiled
from legacy_plugins.schemas.nodes import MAX_DETAIL, Node, evaluated

__all__ = ["MAX_DETAIL", "MAX_FAULTS", "MAX_STEPS", "BodyValidator"]

#: So many faults of one body are reported.
MAX_FAULTS = 50
#: Schemas and keywords evaluated for any body, for each byte of it, and at the very most; a million take about a third
#: of a second. `[1,1,...]` under three keywords an item takes two a byte.
BASE_STEPS = 20_000
STEPS_PER_BYTE = 2
MAX_STEPS = 2_200_000


class BodyValidator:
    """The validator of one route's `schema`, which is compiled at the first body."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema
        self._root: Optional[Node] = None

    def check(self, body: Any, size: int) -> None:
        """Raise `HttpProblem` 400 with every fault of a parsed body, or 502 where the schema itself fails.

        `size`: the bytes that the body was parsed from. Each fault has the JSON pointer (RFC 6901) of the value
        concerned, "" being the whole body.
        """
        steps = min(BASE_STEPS + STEPS_PER_BYTE * size, MAX_STEPS)
        try:
            root = self._root = self._root or compiled(self._schema)
            faults, finished = evaluated(root, body, steps=steps, most_faults=MAX_FAULTS)
        except Exception as error:  # noqa: BLE001 - a plugin's schema may fail in any way, and is the plugin's
            raise HttpProblem(502, "the plugin's route has a schema that cannot be evaluated",
                              reason=f"evaluating the route's schema raised {type(error).__name__}: {error}") from None
        if not finished:
            faults.append({"pointer": "", "detail": "the body is too involved to be checked against the schema"})
        if faults:
            raise HttpProblem(400, "the body is not what the route's schema asks for", faults=faults)
