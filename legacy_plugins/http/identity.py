"""By what names a request is known in logs, traces and answers.

Owns the request's id and the check of W3C trace context. Any thread, no state.
"""
from __future__ import annotations

import re
import uuid
from typing import Optional

from legacy_plugins.http.messages import HeaderList

_SANE = re.compile(r"[A-Za-z0-9._-]{1,128}\Z")
# W3C Trace Context, section 3.2.2: version, trace-id, parent-id, flags; neither id is all zeros, ff is no version.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z")


def request_id(given: Optional[str]) -> str:
    """The client's id where it is a plain token of at most 128 characters, else a new one."""
    return given if given is not None and _SANE.match(given) else uuid.uuid4().hex


def traceparent(fields: HeaderList) -> Optional[str]:
    """The request's `traceparent` where there is exactly one and it is valid; a broken one is not passed on."""
    values = [value for name, value in fields if name.lower() == "traceparent"]
    return values[0] if len(values) == 1 and _TRACEPARENT.match(values[0]) else None
