"""JSON in and out, under a policy that no document can make expensive or dangerous.

A document is checked before it is parsed: nesting (a deeply nested one overflows the C stack of a thread with a small
stack and takes the process down), the number of containers (megabytes of `[[],[],...` cost 25 times their size and hold
the interpreter lock for hundreds of milliseconds), the length of numbers. All checks are linear in the document's size.
The rules are those of RFC 8259 read strictly: UTF-8 without BOM, no NaN or Infinity, no number that overflows.
Duplicate keys: the last one wins.

Pure: called from any thread, keeps no state; must not import I/O, threads, clocks or logging.
"""
from __future__ import annotations

import json
from functools import lru_cache
from itertools import accumulate
from math import isinf
from typing import Any, List, NoReturn

from legacy_plugins.errors import ProtocolError

#: How deep arrays and objects may nest.
MAX_DEPTH = 128
#: How many arrays and objects a document may have.
MAX_CONTAINERS = 250_000
#: How many digits an integer may have.
MAX_INTEGER_DIGITS = 100

_NOT_STRUCTURE = bytes(code for code in range(256) if code not in b'"[]{}')
_AS_ARRAYS = bytes.maketrans(b"{}", b"[]")
_STEP = {ord("["): 1, ord("]"): -1}
_WINDOW = 64 * 1024
# Digits and signs as `0`, both exponent marks as `e`: then two searches find every number that might be too long or
# overflow. Text inside strings matches too, so they only choose the careful parsers, which cost a call a number. The
# searched run is far below the limit because a search for a long one is slow before Python 3.10.
_DIGITS = bytes.maketrans(b"123456789+-E", b"00000000000e")
_LONG = b"0" * 40
# Every tenth character of a number that is too long: a quick look at documents of our own making.
_STRIDE = 10
_LONG_SAMPLE = b"0" * (MAX_INTEGER_DIGITS // _STRIDE)
# What a message puts round a value that is encoded for it, at most: `{"params": {"metadata": {}, "payload": ...}}`.
_AROUND, _BEHIND = b"[[[],", b"]]"
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class JsonCodec:
    """The standard library's JSON, under the policy above."""

    def encode(self, value: Any) -> str:
        """`value` as compact JSON text. Keys that are numbers, booleans or None become strings, as in `json`.

        Raises `TypeError` for a type JSON has no form for, `ValueError` for NaN, infinities, lone surrogates, cycles,
        and for what `decode` would refuse on the other side; both before anything was sent.
        """
        try:
            text = _encode(value)
        except RecursionError:
            raise ValueError("the value nests too deeply for JSON") from None
        if not has_utf8_form(text):
            raise ValueError("a text in the value holds a lone surrogate, which UTF-8 has no form for")
        _check_sendable(text)
        return text

    def decode(self, body: bytes) -> Any:
        """The value of a JSON document; raises `ProtocolError` that says which rule the document breaks."""
        check_structure(body)
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ProtocolError(f"the JSON document is not UTF-8: {error.reason} at byte {error.start}") from None
        if text.startswith("\ufeff"):
            raise ProtocolError("the JSON document begins with a byte order mark")
        try:
            return _parser(body).decode(text)
        except ValueError as error:
            raise ProtocolError(f"the document is not valid JSON: {error}") from None
        except RecursionError:  # a caller near its recursion limit; the depth itself was checked
            raise ProtocolError("the JSON document nests too deeply for the calling thread") from None


def _check_sendable(text: str) -> None:
    """Refuse what the other side would; raises `ValueError`. Costs next to nothing for a small value."""
    if len(text) <= MAX_INTEGER_DIGITS:  # room for neither
        return
    body = text.encode()
    if not _has_few_brackets(body, MAX_DEPTH - len(_BEHIND)):
        try:
            check_structure(_AROUND + body + _BEHIND)
        except ProtocolError as error:
            raise ValueError(f"the value cannot be sent: {error}") from None
    if _LONG_SAMPLE in body[::_STRIDE].translate(_DIGITS):
        _ALL_CHECKED.decode(text)


def check_structure(body: bytes) -> None:
    """Refuse a document with too many or too deeply nested containers, without parsing it; raises `ProtocolError`.

    Counts brackets outside strings. Most documents have fewer brackets than the depth allows, and need one count. What
    is said of a document that is not JSON may be wrong, but only of what follows the place where a parser stops.
    """
    if _has_few_brackets(body, MAX_DEPTH):
        return
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = body.translate(_AS_ARRAYS, _NOT_STRUCTURE).replace(b'""', b"")  # what is left stays inside or outside
    depth = _depth(_outside_strings(marks))
    if depth > MAX_DEPTH:
        raise ProtocolError(f"the JSON document nests {depth} levels deep, the limit is {MAX_DEPTH}")


def _has_few_brackets(body: bytes, most: int) -> bool:
    """Whether at most so many arrays and objects begin in a document. Splitting beats counting, and ends early."""
    return len(body.split(b"[", most + 1)) + len(body.split(b"{", most + 1)) - 2 <= most


def _outside_strings(marks: bytes) -> bytes:
    """The brackets outside strings, from a document's brackets and quotes; refuses too many of them.

    Works in windows: a hostile document is refused before millions of pieces of it are in memory.
    """
    outside: List[bytes] = []
    opened = closed = inside = 0
    for start in range(0, len(marks), _WINDOW):
        pieces = marks[start:start + _WINDOW].split(b'"')
        outside.append(b"".join(pieces[inside::2]))
        inside = (inside + len(pieces) - 1) % 2
        opened += outside[-1].count(b"[")
        closed += outside[-1].count(b"]")
        if opened > MAX_CONTAINERS:
            raise ProtocolError(f"the JSON document has more than {MAX_CONTAINERS} arrays and objects")
        if closed > opened:
            raise ProtocolError("the document is not valid JSON: it closes more arrays and objects than it opens")
    return b"".join(outside)


def _depth(brackets: bytes) -> int:
    """The nesting of a string of `[` and `]`; flat ones by whole passes, which are much faster than steps."""
    rest = brackets
    for level in range(12):
        if not rest:
            return level
        rest = rest.replace(b"[]", b"")
    return max(accumulate(map(_STEP.__getitem__, brackets)))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _bounded_int(digits: str) -> int:
    length = len(digits.lstrip("-"))
    if length > MAX_INTEGER_DIGITS:
        raise ValueError(f"an integer has {length} digits, the limit is {MAX_INTEGER_DIGITS}")
    return int(digits)


def _finite_float(digits: str) -> float:
    value = float(digits)
    if isinf(value):
        raise ValueError(f"the number {digits[:40]} overflows a double")
    return value


_USUAL = json.JSONDecoder(parse_constant=_refuse_constant)
_FLOATS_CHECKED = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite_float)
_ALL_CHECKED = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_bounded_int, parse_float=_finite_float)


def _parser(body: bytes) -> json.JSONDecoder:
    """The fastest parser that still keeps the rules on numbers for this document."""
    shape = body.translate(_DIGITS)
    if _LONG in shape:
        return _ALL_CHECKED
    return _FLOATS_CHECKED if b"e000" in shape else _USUAL


def has_utf8_form(text: str) -> bool:
    """Whether UTF-8 can write `text`: it cannot write lone surrogates, which JSON can spell (`"\\ud800"`)."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def in_utf8_form(text: str) -> str:
    """`text` with an escape (`\\ud800`) in place of each lone surrogate: for texts that people read."""
    return text if has_utf8_form(text) else text.encode("utf-8", "backslashreplace").decode()


@lru_cache(maxsize=1024)
def quoted(name: str) -> str:
    """A JSON string literal, cached: for method names, which repeat, not for texts. Raises `ValueError` as `encode`."""
    return JsonCodec().encode(name)
