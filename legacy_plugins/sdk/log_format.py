"""The plugin's log records as lines on stderr: one JSON object a record, which the host turns into a record of its own.

A record with a traceback stays one line, and is cut to a length that the host does not cut again, so that its level is
never lost. Whoever runs the plugin on a terminal gets plain text. Installed only where the plugin set up no logging.
"""
from __future__ import annotations

import json
import logging
import sys
from types import TracebackType
from typing import Any, Dict, Optional, Tuple, Type

from legacy_plugins.sdk.jobs import CURRENT

#: Characters of a message, and of a traceback, that are kept. A host reads JSON lines of up to 32 Ki characters.
MAX_CHARACTERS = 6000
#: Further fields (`extra=...`) a record may have, and characters of each.
MAX_FIELDS = 20
MAX_FIELD_CHARACTERS = 300

_LEVELS = ((logging.CRITICAL, "critical"), (logging.ERROR, "error"), (logging.WARNING, "warning"),
           (logging.INFO, "info"))
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def install() -> None:
    """Send the root logger's records to stderr, from INFO on, unless the plugin configured logging itself."""
    root = logging.getLogger()
    if root.handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    terminal = sys.stderr is not None and sys.stderr.isatty()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(name)s: %(message)s") if terminal else JsonLines())
    root.addHandler(handler)
    if root.level == logging.WARNING:  # untouched
        root.setLevel(logging.INFO)


def users_part(error: BaseException) -> Tuple[Type[BaseException], BaseException, Optional[TracebackType]]:
    """`exc_info` for a record about user code that raised: its traceback without the frames that led to it."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__name__", "").startswith("legacy_plugins."):
        frames = frames.tb_next
    return type(error), error, frames or error.__traceback__


class JsonLines(logging.Formatter):
    """`{"level", "message", "logger", "requestId"?, "exception"?, ...}`, with what was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        level = next((name for number, name in _LEVELS if record.levelno >= number), "debug")
        fields: Dict[str, Any] = {"level": level, "message": _cut(record.getMessage()), "logger": record.name}
        job = CURRENT.get()
        if job is not None and job.trace is not None:
            fields["requestId"] = job.trace
        extra = [(key, value) for key, value in vars(record).items() if key not in _STANDARD and key not in fields]
        for key, value in extra[:MAX_FIELDS]:
            fields[key] = value if value is None or isinstance(value, (bool, int, float)) else _short(value)
        if record.exc_info:
            fields["exception"] = _cut(self.formatException(record.exc_info))
        elif record.exc_text:
            fields["exception"] = _cut(record.exc_text)
        if record.stack_info:
            fields["stack"] = _cut(record.stack_info)
        return json.dumps(fields, separators=(",", ":"), ensure_ascii=False)


def _cut(text: str) -> str:
    """The beginning and the end of a long text: a traceback's most telling line is its last."""
    if len(text) <= MAX_CHARACTERS:
        return text
    half = MAX_CHARACTERS // 2
    return f"{text[:half]} [... {len(text) - 2 * half} characters ...] {text[-half:]}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= MAX_FIELD_CHARACTERS else text[:MAX_FIELD_CHARACTERS] + "..."
