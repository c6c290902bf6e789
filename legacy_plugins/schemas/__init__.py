"""The contracts of wire and configuration as JSON Schema (2020-12) files, for every language and for editors.

Owns the `*.schema.json` files beside it. `load` needs the standard library alone; `validator` loads jsonschema when it
is first called. Nothing is ever fetched: a `$ref` that leaves its file cannot be resolved and fails. Any thread.
"""
from __future__ import annotations

import functools
import json
import pkgutil
from typing import TYPE_CHECKING, Any, Dict

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

__all__ = ["load", "validator"]


def load(name: str) -> Dict[str, Any]:
    """The schema `name` (`config` for `config.schema.json`) as a fresh dictionary.

    Raises `LookupError` for a name that is not in the package.
    """
    try:
        data = pkgutil.get_data(__name__, f"{name}.schema.json")  # works from a zip archive too, and on Python 3.8
    except OSError:
        data = None
    if data is None:
        raise LookupError(f"there is no schema {name!r} in {__name__}")
    schema: Dict[str, Any] = json.loads(data.decode("utf-8"))
    return schema


@functools.lru_cache(maxsize=None)
def validator(name: str) -> Draft202012Validator:
    """The validator of the schema `name`, made once; it keeps no state and may be shared by threads.

    Raises `LookupError` as `load` does, and `ImportError` where jsonschema is not installed.
    """
    from jsonschema import Draft202012Validator
    from referencing import Registry

    return Draft202012Validator(load(name), registry=Registry())  # an empty registry retrieves nothing
