"""The keywords of JSON Schema that apply further schemas, to the same value or to its parts.

Owns what each of them means (Core 2020-12, sections 10 and 11; `uniqueItems` of Validation, section 6.4.3, since it too
looks at all parts). An alternative is left at its first fault, and no fault is made that nobody reads: jsonschema
gathers all errors of all alternatives, which for a body from a stranger is gigabytes. No state; any thread.
"""
from __future__ import annotations

import re
from typing import Any, Callable, Dict, Iterable, List, Set

from legacy_plugins.schemas.assertions import canonical, names, told
from legacy_plugins.schemas.nodes import Node, Place, Rule, Run, Seen


def _refused(run: Run, detail: str) -> bool:
    if run.faults is not None:
        run.tell(run.faults, detail)
    return False


# ---- schemas for the same value


def _all_of(place: Place) -> Rule:
    nodes = place.listed()

    def rule(value: Any, run: Run, seen: Seen) -> bool:
        fits = True
        for node in nodes:
            if not node.holds(value, run, seen):
                if run.faults is None:
                    return False
                fits = False
        return fits

    return rule


def _any_of(place: Place) -> Rule:
    nodes = place.listed()

    def rule(value: Any, run: Run, seen: Seen) -> bool:
        fits = False
        for node in nodes:
            if run.probe(node, value, seen):
                fits = True
                if seen is None:
                    break
        return fits or _refused(run, f"{told(value)} is not valid under any of the given schemas (anyOf)")

    return rule


def _one_of(place: Place) -> Rule:
    nodes = place.listed()

    def rule(value: Any, run: Run, seen: Seen) -> bool:
        fitting = 0
        for node in nodes:
            fitting += run.probe(node, value, seen)
            if fitting > 1:
                return _refused(run, f"{told(value)} is valid under more than one of the given schemas (oneOf)")
        return fitting == 1 or _refused(run, f"{told(value)} is not valid under any of the given schemas (oneOf)")

    return rule


def _not(place: Place) -> Rule:
    node = place.node
    return lambda value, run, seen: (not run.probe(node, value, None)
                                     or _refused(run, f"{told(value)} is valid under what it must not be (not)"))


def _if(place: Place) -> Rule:
    node, then, otherwise = place.node, place.beside("then"), place.beside("else")

    def rule(value: Any, run: Run, seen: Seen) -> bool:
        branch = then if run.probe(node, value, seen) else otherwise
        return branch is None or branch.holds(value, run, seen)

    return rule


def _dependent_schemas(place: Place) -> Rule:
    named = place.named()

    def rule(value: Any, run: Run, seen: Seen) -> bool:
        if not isinstance(value, dict):
            return True
        run.spend(len(named) // 8)
        fits = True
        for name, node in named:
            if name in value and not node.holds(value, run, seen):
                if run.faults is None:
                    return False
                fits = False
        return fits

    return rule


# ---- schemas for the parts of an object


def _looked_at(places: Iterable[Any], seen: Seen) -> None:
    if seen is not None:
        seen.update(places)


def _properties(place: Place) -> Rule:
    named = place.named()

    def rule(value: Any, run: Run, seen: Seen) -> bool:
        if not isinstance(value, dict):
            return True
        run.spend(len(named) // 8)
        found = [(name, node, value[name]) for name, node in named if name in value]
        _looked_at((name for name, _, _ in found), seen)
        return run.each(found)

    return rule


def _pattern_properties(place: Place) -> Rule:
    patterns = [(re.compile(pattern).search, node) for pattern, node in place.named()]

    def rule(value: Any, run: Run, seen: Seen) -> bool:
        if not isinstance(value, dict):
            return True
        run.spend(len(patterns) * len(value))
        found = [(name, node, value[name]) for search, node in patterns for name in value if search(name)]
        _looked_at((name for name, _, _ in found), seen)
        return run.each(found)

    return rule


def _additional_properties(place: Place) -> Rule:
    node, known = place.node, frozenset(place.schema.get("properties", ()))
    searches = [re.compile(pattern).search for pattern in place.schema.get("patternProperties", ())]

    def rule(value: Any, run: Run, seen: Seen) -> bool:
        if not isinstance(value, dict):
            return True
        run.spend(len(value) * (1 + 4 * len(searches)) // 4)
        return _rest(node, value, [name for name in value if name not in known
                                   and not any(search(name) for search in searches)], run, seen)

    return rule


def _rest(node: Node, value: Any, places: List[Any], run: Run, seen: Seen) -> bool:
    """The parts of a value that are left over, against the schema for those."""
    if places and node.refuses:
        what = "members" if isinstance(value, dict) else "items"
        return _refused(run, f"{what} that are not allowed: {names([str(place) for place in places])}")
    _looked_at(places, seen)
    return run.each((place, node, value[place]) for place in places)


def _unevaluated_properties(place: Place) -> Rule:
    node = place.node

    def rule(value: Any, run: Run, seen: Seen) -> bool:
        if not isinstance(value, dict):
            return True
        run.spend(len(value) // 4)
        return _rest(node, value, [name for name in value if name not in (seen or ())], run, seen)

    return rule


def _property_names(place: Place) -> Rule:
    node = place.node

    def rule(value: Any, run: Run, seen: Seen) -> bool:
        fits = True
        for name in value if isinstance(value, dict) else ():
            if not node.holds(name, run, None):
                if run.faults is None:
                    return False
                fits = False
        return fits

    return rule


# ---- schemas for the parts of an array


def _prefix_items(place: Place) -> Rule:
    nodes = place.listed()

    def rule(value: Any, run: Run, seen: Seen) -> bool:
        if not isinstance(value, list):
            return True
        _looked_at(range(min(len(nodes), len(value))), seen)
        return run.each(zip(range(len(nodes)), nodes, value))

    return rule


def _items(place: Place) -> Rule:
    node, first = place.node, len(place.schema.get("prefixItems", ()))

    def rule(value: Any, run: Run, seen: Seen) -> bool:
        if not isinstance(value, list) or len(value) <= first:
            return True
        if node.refuses:
            return _refused(run, f"the array has {len(value)} items, at most {first} are allowed")
        if seen is not None:
            run.spend(len(value) // 8)
            seen.update(range(first, len(value)))
        return run.each((index, node, value[index]) for index in range(first, len(value)))

    return rule


def _contains(place: Place) -> Rule:
    node, least, most = place.node, place.schema.get("minContains", 1), place.schema.get("maxContains")

    def rule(value: Any, run: Run, seen: Seen) -> bool:
        if not isinstance(value, list):
            return True
        fitting = 0
        for index, item in enumerate(value):
            if most is None and seen is None and fitting >= least:
                break
            if run.probe(node, item, None):
                fitting += 1
                _looked_at((index,), seen)
                if most is not None and fitting > most:
                    return _refused(run, f"the array has more than {most} of the items that `contains` describes")
        return fitting >= least or _refused(run, f"the array has {fitting} of the items that `contains` describes, "
                                            f"the least is {least}")

    return rule


def _unevaluated_items(place: Place) -> Rule:
    node = place.node

    def rule(value: Any, run: Run, seen: Seen) -> bool:
        if not isinstance(value, list):
            return True
        run.spend(len(value) // 4)
        return _rest(node, value, [index for index in range(len(value)) if index not in (seen or ())], run, seen)

    return rule


def _unique_items(place: Place) -> Rule:
    wanted = place.value

    def rule(value: Any, run: Run, seen: Seen) -> bool:
        if not wanted or not isinstance(value, list):
            return True
        texts: Set[str] = set()
        for item in value:
            text = canonical(item, run.spend)
            if text in texts:
                return _refused(run, "the array has equal items")
            texts.add(text)
        return True

    return rule


APPLICATORS: Dict[str, Callable[[Place], Rule]] = {
    "allOf": _all_of, "anyOf": _any_of, "oneOf": _one_of, "not": _not, "if": _if,
    "dependentSchemas": _dependent_schemas, "properties": _properties, "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties, "propertyNames": _property_names, "prefixItems": _prefix_items,
    "items": _items, "contains": _contains, "uniqueItems": _unique_items,
}
LATE: Dict[str, Callable[[Place], Rule]] = {
    "unevaluatedItems": _unevaluated_items, "unevaluatedProperties": _unevaluated_properties,
}
