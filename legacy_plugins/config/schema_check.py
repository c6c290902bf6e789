"""The configuration's JSON Schema, applied; its findings in our own words.

The texts of jsonschema quote what they found, which may be a secret, so none of them is used. What is wrong is taken
out of the document afterwards, so that the rules that follow meet only values of the right shape, and all faults of a
file come out at once. Calling thread only.
"""
from __future__ import annotations

import difflib
from typing import Any, Iterable, List, Mapping, Optional, Set

from legacy_plugins import schemas
from legacy_plugins.config.document import Document, JsonPath, found, shown_key

_KINDS = {
    "string": "a string", "integer": "an integer", "number": "a number", "boolean": "true or false",
    "object": "a mapping", "array": "a list", "null": "null",
}


#: Who has more of them fed us something else than a configuration.
MOST_FAULTS = 1000


def check_schema(document: Document) -> None:
    """Note every fault that the schema finds, and remove the values concerned from `document.value`.

    A removed list element leaves None, so that the others keep their places; `document.spoilt` tells what is gone.
    With too many faults the document counts as unreadable.
    """
    wrong: Set[JsonPath] = set(document.spoilt)
    errors: Iterable[Any] = schemas.validator("config").iter_errors(document.value)
    for count, error in enumerate(errors):
        if count == MOST_FAULTS:
            document.unreadable(f"more than {MOST_FAULTS} faults; the others are not listed")
            return
        path: JsonPath = tuple(error.absolute_path)
        if error.validator == "required":
            _missing_keys(document, path, error)
        elif error.validator == "additionalProperties":
            wrong.update(_unknown_keys(document, path, error))
        elif "propertyNames" in error.absolute_schema_path:
            wrong.add((*path, error.instance))
            document.key_fault((*path, error.instance), f"found the name '{shown_key(error.instance)}', "
                                                        f"expected {_expected(error.schema)}")
        elif path not in wrong:  # the first finding of a value is the one that matters
            wrong.add(path)
            document.fault(path, _wrong_value(error, path))
    for path in sorted(wrong, key=len, reverse=True):
        _remove(document, path)
    document.spoilt = wrong


def _missing_keys(document: Document, path: JsonPath, error: Any) -> None:
    for key in error.validator_value:
        if key not in error.instance:
            document.fault(path, f"found no key {key!r}, expected one")


def _unknown_keys(document: Document, path: JsonPath, error: Any) -> List[JsonPath]:
    """Note the keys that the schema does not have; their paths."""
    known = error.schema["properties"]
    paths: List[JsonPath] = [(*path, key) for key in error.instance if key not in known]
    for unknown in paths:
        nearest = _nearest(str(unknown[-1]), known)
        advice = f"did you mean {nearest!r}?" if nearest else f"expected one of {', '.join(known)}"
        document.key_fault(unknown, f"found the unknown key '{shown_key(unknown[-1])}'; {advice}")
    return paths


def _nearest(key: str, known: Iterable[str]) -> Optional[str]:
    """The known key that `key` was probably meant to be, whatever its capitals and underscores."""
    folded = {name.lower(): name for name in known}
    key = key.lower().replace("_", "").replace("-", "")
    matches = (difflib.get_close_matches(key, folded, n=1, cutoff=0.8)
               or [name for name in folded if key.startswith(name)]  # `environment` means `env`, not `events`
               or difflib.get_close_matches(key, folded, n=1))
    return folded[matches[0]] if matches else None


def _wrong_value(error: Any, path: JsonPath) -> str:
    schema = error.schema
    kinds = _kinds(schema)
    shown = not kinds or bool({"string", "integer", "number", "boolean"} & set(kinds))
    text = f"found {found(error.instance, path, shown=shown)}, expected {_expected(schema)}"
    quotable = error.instance is None or isinstance(error.instance, (bool, int, float))
    return text + ("; put it in quotes" if quotable and kinds and kinds[0] == "string" else "")


def _kinds(schema: Mapping[str, Any]) -> List[str]:
    kinds = schema.get("type", [])
    return [kinds] if isinstance(kinds, str) else list(kinds)


def _expected(schema: Mapping[str, Any]) -> str:
    """What a value must be, in words."""
    if "const" in schema:
        return repr(schema["const"])
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    if "patternErrorMessage" in schema:
        return f"{schema['patternErrorMessage']}{', or null' if 'null' in _kinds(schema) else ''}"
    words = [_KINDS[kind] for kind in _kinds(schema)]
    words[0] += _bounds(schema)
    return ", or ".join(words)


def _bounds(schema: Mapping[str, Any]) -> str:
    if "minimum" in schema:
        return f" from {schema['minimum']} to {schema['maximum']}"
    return " that is not empty" if "minLength" in schema or "minItems" in schema else ""


def _remove(document: Document, path: JsonPath) -> None:
    if not path:
        document.value = {}
        return
    parent = document.value
    for part in path[:-1]:
        parent = parent[part]
    if isinstance(parent, list):
        parent[int(path[-1])] = None
    else:
        del parent[path[-1]]
