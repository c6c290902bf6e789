"""Which request paths are taken at all, and how a path is cut into segments.

Owns the refusals that keep plugins from seeing a path that means one thing here and another thing there: routes are
matched on decoded segments, exactly, and a segment is never `.`, `..` or empty, nor does it hold a backslash, a control
character, a lone surrogate, U+FFFD (bytes that were not UTF-8) or an escape that a second decoding would turn into one
of these. One slash at the end of a path means nothing: `/items/` is `/items`, for clients add it and Django wants it,
and plugins get the spelling without. Any thread, no state.
"""
from __future__ import annotations

import re
from typing import Optional, Tuple

from legacy_plugins.http.problems import HttpProblem

#: A path's decoded segments; the empty tuple is `/`.
Segments = Tuple[str, ...]

_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\\\\\ud800-\udfff\ufffd]")
# What a second decoding would make a dot, a slash, a percent sign, a backslash or a control character.
_ENCODED_TWICE = re.compile("%(?:2[ef5]|5c|[01][0-9a-f]|7f)", re.IGNORECASE)
_ENCODED_SEPARATOR = re.compile("%(?:2f|5c)", re.IGNORECASE)


def path_segments(path: str, raw_path: Optional[str] = None) -> Segments:
    """The segments of a decoded request path; raises `HttpProblem` 400 for one that is refused.

    `raw_path`: the request target as it was sent, with or without a query, where the server keeps it: there an encoded
    slash can still be told from a slash.
    """
    if not path.startswith("/") or _FORBIDDEN.search(path) or ("%" in path and _ENCODED_TWICE.search(path)):
        raise _refused()
    if raw_path is not None and "%" in raw_path and _ENCODED_SEPARATOR.search(raw_path.partition("?")[0]):
        raise _refused()
    segments = path[1:].split("/")
    if segments[-1] == "":
        segments.pop()
    for segment in segments:
        # Some servers cut `;parameters` off a segment before they look at it, which makes `..;` a `..` there.
        if segment.partition(";")[0] in ("", ".", ".."):
            raise _refused()
    return tuple(segments)


def joined(segments: Segments) -> str:
    """The path of the segments; `/` for none."""
    return "/" + "/".join(segments)


def _refused() -> HttpProblem:
    return HttpProblem(400, "the path is not one that this server takes")
