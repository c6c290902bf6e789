"""A JSON Schema 2020-12 made into functions, once, that say of any value whether it fits and where it does not.

Means what jsonschema means; tests compare the two. Any thread. Must not fetch anything: references lead to places in
the schema, or nowhere.
"""
from __future__ import annotations

from functools import lru_cache
from typing import Any, List, Mapping

from legacy_plugins import schemas
from legacy_plugins.schemas.applicators import APPLICATORS, LATE
from legacy_plugins.schemas.assertions import ASSERTIONS, Assertion, told
from legacy_plugins.schemas.bodies import reference_targets, subschemas
from legacy_plugins.schemas.nodes import Node, Place, Rule, Run, Seen, evaluated

#: Steps for what is checked against a contract of ours: twenty times what the largest good handshake takes.
_CONTRACT_STEPS = 1_000_000


@lru_cache(maxsize=None)
def contract(name: str) -> Node:
    """The schema `name` of this package, compiled once. Raises `LookupError` where there is none of that name."""
    return compiled(schemas.load(name))


def fits(name: str, value: Any) -> bool:
    """Whether a value that somebody sent fits the schema `name` of this package; one that is too large does not."""
    faults, finished = evaluated(contract(name), value, steps=_CONTRACT_STEPS, most_faults=1)
    return finished and not faults


def misfits(name: str, value: Any, *, most: int) -> List[str]:
    """What is wrong with such a value, with the places; `most` texts at most, and none where it fits."""
    faults, finished = evaluated(contract(name), value, steps=_CONTRACT_STEPS, most_faults=most)
    texts = [f"at {fault['pointer'] or 'its top'}: {fault['detail']}" for fault in faults]
    return texts if finished else [*texts, "it is larger than anybody looks at"]


def compiled(schema: Mapping[str, Any]) -> Node:
    """The schema as functions. Raises `InvalidMessage` for bad references, and anything for what is no schema."""
    schemas, edges = subschemas(schema)
    targets = reference_targets(schemas, edges)
    nodes = {pointer: Node() for pointer in schemas}
    for pointer, found in schemas.items():
        node = nodes[pointer]
        if isinstance(found, bool):
            node.refuses = not found
            node.rules = () if found else (_asserted(Assertion(lambda _: False, _unwanted)),)
            continue
        rules = [_rule(nodes, pointer, found, keyword) for keyword in found
                 if keyword in ASSERTIONS or keyword in APPLICATORS]
        rules += [nodes[target].holds for target in targets.get(pointer, ())]
        node.rules = tuple(rules)
        node.late = tuple(LATE[keyword](Place(nodes, pointer, found, keyword)) for keyword in LATE
                          if keyword in found)
        node.cost = 1 + len(node.rules) + len(node.late)
    return nodes[""]


def _rule(nodes: Mapping[str, Node], pointer: str, schema: Mapping[str, Any], keyword: str) -> Rule:
    if keyword in ASSERTIONS:
        return _asserted(ASSERTIONS[keyword](schema[keyword]))
    return APPLICATORS[keyword](Place(nodes, pointer, schema, keyword))


def _unwanted(value: Any) -> str:
    return f"{told(value)} is not wanted here"


def _asserted(assertion: Assertion) -> Rule:
    holds, text, cost = assertion

    def rule(value: Any, run: Run, seen: Seen) -> bool:
        if cost > 1:
            run.spend(cost - 1)
        if holds(value):
            return True
        if run.faults is not None:
            run.tell(run.faults, text(value))
        return False

    return rule
