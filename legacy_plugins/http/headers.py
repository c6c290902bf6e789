"""Which header fields cross the border between clients and plugins, in both directions.

Owns the allow-lists' application and what no allow-list can open: fields that belong to one connection (RFC 9110,
section 7.6.1), identities that only the host may state, and, from plugins, malformed or oversized fields. Frameworks do
not protect the answer: some servers have sent a CR LF inside a *name* as it was. Any thread, no state.
"""
from __future__ import annotations

import re
from typing import Any, Collection, Dict, List, Mapping, Set, Tuple

from legacy_plugins.config.rules import HOP_BY_HOP, SET_BY_HOST
from legacy_plugins.http.messages import HeaderList
from legacy_plugins.http.problems import HttpProblem, bad_answer

#: Bounds on the header fields of one answer.
MAX_FIELDS = 64
MAX_HEADER_BYTES = 16_384

_OURS = HOP_BY_HOP | SET_BY_HOST
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")  # RFC 9110, section 5.6.2
_VALUE = re.compile("[\t\x20-\x7e\xa0-\xff]*\\Z")  # section 5.5, without the C1 controls
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f]")  # not allowed by section 5.5
_ONCE = frozenset({"content-type", "content-disposition", "location", "etag", "last-modified", "retry-after"})


def forwarded(fields: HeaderList, allowed: Collection[str]) -> Dict[str, str]:
    """The request's fields that a plugin gets: lower-case names, repeated fields joined with `, `.

    `allowed`: lower-case names, the operator's `http.forwardHeaders`. Never passed on: fields of the connection and
    those that Connection names, `X-Plugin-*`, and names with an underscore, which WSGI cannot tell from a dash. Raises
    `HttpProblem` 400 where a value has control characters, which not every server refuses.
    """
    dropped = _connection_named(fields)
    result: Dict[str, str] = {}
    for field, value in fields:
        name = field.lower()
        if name not in allowed or name in dropped or name.startswith("x-plugin-") or "_" in name:
            continue
        if _CONTROL.search(value):
            raise HttpProblem(400, f"the header field {name!r} has a value with control characters")
        result[name] = f"{result[name]}, {value}" if name in result else value
    return result


def _connection_named(fields: HeaderList) -> Set[str]:
    named = set(HOP_BY_HOP)
    for field, value in fields:
        if field.lower() == "connection":
            named.update(name.strip().lower() for name in value.split(","))
    return named


def answered(declared: Any, allowed: Collection[str]) -> List[Tuple[str, str]]:
    """The fields of a plugin's answer that clients get; raises `HttpProblem` 502 for malformed ones, allowed or not.

    `declared`: the result's `headers`: texts or lists of texts by name. `allowed`: lower-case names, the operator's
    `http.responseHeaders`.
    """
    if not isinstance(declared, Mapping):
        raise bad_answer(f"`headers` is a {type(declared).__name__}, not an object")
    fields = [(name, text) for name, value in declared.items()
              for text in (value if isinstance(value, list) else [value])]
    if len(fields) > MAX_FIELDS:
        raise bad_answer(f"the answer has {len(fields)} header fields, the limit is {MAX_FIELDS}")
    checked = [_checked(name, value) for name, value in fields]
    size = sum(len(name) + len(value) + 4 for name, value in checked)
    if size > MAX_HEADER_BYTES:
        raise bad_answer(f"the answer's header has {size} bytes, the limit is {MAX_HEADER_BYTES}")
    kept = [(name, value) for name, value in checked if name in allowed and name not in _OURS]
    names = [name for name, _ in kept]
    for name in _ONCE:
        if names.count(name) > 1:
            raise bad_answer(f"the answer has {name!r} more than once")
    return kept


def _checked(name: Any, value: Any) -> Tuple[str, str]:
    if not isinstance(name, str) or not _TOKEN.match(name):
        raise bad_answer(f"{name!r:.80} is not the name of a header field")
    if not isinstance(value, str) or not _VALUE.match(value):
        raise bad_answer(f"the header field {name!r:.80} has a value that cannot be sent: {value!r:.80}")
    return name.lower(), value.strip(" \t")
