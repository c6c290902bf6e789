"""What one line of a plugin's stderr says: its level and its message, as text that is safe to log.

Owns the reading of levels (JSON lines, `<N>` as in sd-daemon(3), `LEVEL:` and `[LEVEL]`), the grouping of Python
tracebacks, the redaction and the escaping. Pure: bytes in, values out. A `LineParser` belongs to one process's stream
and is used by one thread at a time; everything else has no state. Must not import anything of the library.

Redaction comes before escaping and looks at a line three times: as the plugin wrote it, as a reader would see it (see
`Redactor`), and as the message that is logged, because a JSON string can spell `token=x` so that only its value
matches, and a pattern such as `"password": *"[^"]*"` matches only the JSON text.
"""
from __future__ import annotations

import json
import logging
import re
from typing import Any, Dict, Match, NamedTuple, Optional, Sequence, Tuple

REDACTED = "[redacted]"
#: What ends the message of a line that was longer than `logs.maxLineBytes`.
TRUNCATED = " [line truncated]"
#: A longer line is not parsed as JSON; it is text.
MAX_JSON_CHARACTERS = 32 * 1024
#: A line with more opening brackets, which bound the depth, is not parsed as JSON; it is text.
MAX_JSON_BRACKETS = 128
#: An integer of more digits is kept as text: turning digits into an int and back takes quadratic time.
MAX_INTEGER_DIGITS = 20

#: How many layers of escapes (JSON in a string of JSON in a string ...) are looked through for secrets.
MAX_DISGUISES = 3

#: Level names, in lower case, as logging's numbers. What logging has no level for takes the nearest that it has.
LEVELS: Dict[str, int] = {
    "trace": logging.DEBUG, "debug": logging.DEBUG,
    "info": logging.INFO, "notice": logging.INFO,
    "warn": logging.WARNING, "warning": logging.WARNING,
    "err": logging.ERROR, "error": logging.ERROR,
    "crit": logging.CRITICAL, "critical": logging.CRITICAL, "fatal": logging.CRITICAL, "panic": logging.CRITICAL,
    "alert": logging.CRITICAL, "emerg": logging.CRITICAL, "emergency": logging.CRITICAL,
}
# sd-daemon(3): 0 emergency, 1 alert, 2 critical, 3 error, 4 warning, 5 notice, 6 info, 7 debug.
_SYSLOG_LEVELS = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
# pino: 10 trace, 20 debug, 30 info, 40 warn, 50 error, 60 fatal; a level of one's own counts as the one below it.
_PINO_LEVELS = ("trace", "debug", "info", "warn", "error", "fatal")
_LEVEL_KEYS = ("level", "levelname", "severity")
_MESSAGE_KEYS = ("message", "msg")

_NAMES = "|".join(sorted(LEVELS, key=len, reverse=True))
_SYSLOG_PREFIX = re.compile(r"<([0-7])>[ \t]*")
_LEVEL_PREFIX = re.compile(rf"(?:\[[ \t]*(?P<bracketed>{_NAMES})[ \t]*\]:?|(?P<bare>{_NAMES}):)[ \t]*", re.I | re.A)

_TRACEBACK_START = re.compile(r"[ |+]*(Exception Group )?Traceback \(most recent call last\):\s*\Z")
_TRACEBACK_END = re.compile(r"[\w.<>]+(?::|\s*\Z)")
_TRACEBACK_LINKS = frozenset((
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
))

# C0 but tab, DEL, C1, bidirectional controls, line and paragraph separator, surrogates.
_UNSAFE_RANGES = ((0x00, 0x08), (0x0A, 0x1F), (0x7F, 0x9F), (0x061C, 0x061C), (0x200E, 0x200F), (0x2028, 0x202E),
                  (0x2066, 0x2069), (0xD800, 0xDFFF))
_ESCAPES: Dict[int, str] = {
    code: chr(code).encode("unicode_escape").decode("ascii")
    for first, last in _UNSAFE_RANGES for code in range(first, last + 1)}
_UNSEEN = "".join(f"{chr(first)}-{chr(last)}" for first, last in _UNSAFE_RANGES) + "\u00ad\u200b-\u200d\u2060\ufeff"
# What a reader does not see: terminal sequences (ECMA-48: CSI, OSC, others), unsafe and zero-width characters. And what
# a reader sees through: the escapes of JSON.
_DISGUISE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -~]?"
    rf"|[{_UNSEEN}]|\\u(?P<code>[0-9a-fA-F]{{4}})|\\(?P<character>[\"/\\])")


class LogLine(NamedTuple):
    """A line's level, as a number of logging, and its message: one line of text, redacted and escaped."""

    level: int
    message: str


class Redactor:
    """Replaces what the patterns of `logs.redact` match by `[redacted]`.

    Patterns see one line at a time: first as it is, then without what hides a secret from a pattern though not from a
    reader (colours, control and zero-width characters, JSON's escapes). Where that look finds something more, the
    result is that form of the line. A line cut at `logs.maxLineBytes` may lack the end that a pattern insists on, and
    a pattern that backtracks over a long line holds the interpreter meanwhile: prefer open-ended patterns.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        """Raises `re.error` where a pattern is not a regular expression."""
        self._patterns = tuple(re.compile(pattern) for pattern in patterns)

    def __call__(self, text: str) -> str:
        """`text` without its secrets."""
        if not self._patterns:
            return text
        result = seen = self._replace(text)
        if result.isprintable() and "\\" not in result:  # there is nothing to look through
            return result
        for _ in range(MAX_DISGUISES):
            revealed = _DISGUISE.sub(_reveal, seen)
            if revealed == seen:
                break
            seen = self._replace(revealed)
            if seen != revealed:
                result = seen
        return result

    def _replace(self, text: str) -> str:
        for pattern in self._patterns:
            text = pattern.sub(REDACTED, text)
        return text


class LineParser:
    """Makes log lines of one process's lines; remembers only whether a traceback is open."""

    def __init__(self, redact: Redactor) -> None:
        self._redact = redact
        self._in_traceback = False
        self._ends_with_error = False  # an exception group's traceback has no unindented last line

    def parse(self, line: bytes, truncated: bool = False) -> LogLine:
        """The level and message of the next line. A line that states no level is INFO; never raises."""
        text = decode(line)
        redacted = self._redact(text)
        if self._continues_traceback(text):
            level, message = logging.ERROR, redacted
        else:
            stated, message = read_level(text)
            level = logging.INFO if stated is None else stated
            if redacted != text:
                message = read_level(redacted)[1]
            if message != redacted:
                message = self._redact(message)
        return LogLine(level, escape(message) + (TRUNCATED if truncated else ""))

    def interrupt(self) -> None:
        """Lines are missing here: what comes next does not continue a traceback."""
        self._in_traceback = False

    def _continues_traceback(self, text: str) -> bool:
        """Whether the line belongs to a traceback; follows where one begins and ends."""
        if self._in_traceback and (text[:1] in ("", " ", "\t")):
            return True
        start = _TRACEBACK_START.match(text)
        if start is not None:
            self._in_traceback, self._ends_with_error = True, start.group(1) is None
            return True
        last = self._in_traceback and self._ends_with_error and _TRACEBACK_END.match(text) is not None
        self._in_traceback = False
        return last or text.rstrip() in _TRACEBACK_LINKS


def quote_line(line: bytes, redact: Redactor) -> str:
    """The line as the plugin wrote it, with its level and JSON, redacted and escaped.

    Where only the message of the line lets a pattern match, the message is given instead.
    """
    text = redact(decode(line))
    message = read_level(text)[1]
    redacted = redact(message)
    return escape(text if redacted == message else redacted)


def decode(line: bytes) -> str:
    """The line as text; bytes that are not UTF-8 become `\\xNN`."""
    return line.decode("utf-8", "backslashreplace")


def escape(text: str) -> str:
    """`text` with everything visible that moves a cursor, breaks a line, or reorders text; tab stays."""
    return text.translate(_ESCAPES)


def read_level(text: str) -> Tuple[Optional[int], str]:
    """The level that a line states, None where it states none, and its message without the statement of the level."""
    if text.startswith("{"):
        fields = _json_object(text)
        return (None, text) if fields is None else _read_fields(fields, text)
    match = _SYSLOG_PREFIX.match(text)
    if match is not None:
        return LEVELS[_SYSLOG_LEVELS[int(match.group(1))]], text[match.end():] or text
    match = _LEVEL_PREFIX.match(text)
    if match is None:
        return None, text
    name = match.group("bracketed") or match.group("bare")
    # "ERROR: disk full" was put there by a logger; "Error: disk full" is how a Node exception or a compiler begins.
    stripped = match.group("bracketed") is not None or name.isupper()
    return LEVELS[name.lower()], (text[match.end():] if stripped else text) or text


def _json_object(text: str) -> Optional[Dict[str, Any]]:
    """The JSON object that the line is; None for anything else and for what would be costly to parse."""
    if len(text) > MAX_JSON_CHARACTERS or text.count("[") + text.count("{") > MAX_JSON_BRACKETS:
        return None
    try:
        value = json.loads(text, parse_int=_short_integer)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _short_integer(digits: str) -> Any:
    return int(digits) if len(digits) <= MAX_INTEGER_DIGITS else digits


def _read_fields(fields: Dict[str, Any], text: str) -> Tuple[Optional[int], str]:
    """The level of a JSON line, and its message with the other fields behind it; all of `text` if it has no message."""
    level_key = next((key for key in _LEVEL_KEYS if _field_level(fields.get(key)) is not None), None)
    level = None if level_key is None else _field_level(fields[level_key])
    message_key = next((key for key in _MESSAGE_KEYS if isinstance(fields.get(key), str) and fields[key]), None)
    if message_key is None:
        return level, text
    rest = {key: value for key, value in fields.items() if key not in (level_key, message_key)}
    message: str = fields[message_key]
    if rest:
        message += " " + json.dumps(rest, ensure_ascii=False, separators=(",", ":"))
    return level, message


def _field_level(value: Any) -> Optional[int]:
    """The level that a JSON value names: a name in any case, or one of pino's numbers."""
    if isinstance(value, str):
        return LEVELS.get(value.strip().lower())
    if isinstance(value, int) and 10 <= value < 70:
        return LEVELS[_PINO_LEVELS[value // 10 - 1]]
    return None


def _reveal(match: Match[str]) -> str:
    code = match.group("code")
    return chr(int(code, 16)) if code is not None else match.group("character") or ""
