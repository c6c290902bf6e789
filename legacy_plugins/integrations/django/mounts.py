"""Where the project's URLs include the plugins'.

Owns the walk through the URL configuration, for the system checks and for `manage.py plugins routes`; requests tell
their place themselves. Imports the project's URLs, and so its views.
"""
from __future__ import annotations

import re
from typing import Any, Iterator, List, NamedTuple, Optional, Sequence

from django.urls import URLResolver, get_resolver

_APP_NAME = "legacy_plugins"
_LITERAL = re.compile(r"[\w/.~-]*\Z")


class Mount(NamedTuple):
    """One include. `pattern`: as the project's URLs have it; `path`: what it means, None where it has variables."""

    pattern: str
    path: Optional[str]


def mounts() -> List[Mount]:
    """All of them, in the order in which URLs are matched."""
    return [_mount(prefix) for prefix in _prefixes(get_resolver().url_patterns, "")]


def _prefixes(patterns: Sequence[Any], before: str) -> Iterator[str]:
    for entry in patterns:
        if isinstance(entry, URLResolver):
            prefix = before + str(entry.pattern)
            if entry.app_name == _APP_NAME:
                yield prefix
            else:
                yield from _prefixes(entry.url_patterns, prefix)


def _mount(pattern: str) -> Mount:
    """A prefix made of literal patterns; in `re_path` a `^` begins one, and escapes what could mean something else."""
    literal = re.sub(r"\\([^\w])", r"\1", pattern.replace("^", ""))
    return Mount(pattern, "/" + literal.strip("/") if _LITERAL.match(literal) else None)
