"""How `defaults` and a plugin's own keys become one set of keys.

Pure. Any thread.
"""
from __future__ import annotations

from typing import Any, Dict, Mapping


def merge(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> Dict[str, Any]:
    """Both as one; `own` wins. Mappings are merged key by key, to any depth; anything else, lists too, is replaced."""
    result = dict(defaults)
    for key, value in own.items():
        base = result.get(key)
        result[key] = merge(base, value) if isinstance(base, dict) and isinstance(value, dict) else value
    return result
