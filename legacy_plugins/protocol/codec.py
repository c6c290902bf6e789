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
from typing import Any, NoReturn

from legacy_plugins.errors import ProtocolError

#: How deep arrays and objects may nest.
MAX_DEPTH = 128
#: How many arrays and objects a document may have.
MAX_CONTAINERS = 250_000
#: How many digits an integer may have.
MAX_INTEGER_DIGITS = 100

_NOT_STRUCTURE = bytes(code for code in range(256) if code not in b'"[]{}')
_STEP = [0] * 256
for _opener, _closer in (b"[]", b"{}"):
    _STEP[_opener], _STEP[_closer] = 1, -1
# Digits and signs as `0`, both exponent marks as `e`: then two searches find every number that might be too long or
# overflow. Text inside strings matches too, so they only choose the careful parsers, which cost a call a number.
_DIGITS = bytes.maketrans(b"123456789+-E", b"00000000000e")
_LONG = b"0" * (MAX_INTEGER_DIGITS + 1)
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class JsonCodec:
    """The standard library's JSON, under the policy above."""

    def encode(self, value: Any) -> str:
        """`value` as compact JSON text.

        Raises `TypeError` for a type JSON has no form for, `ValueError` for NaN, infinities, lone surrogates and
        cycles; both before anything was sent.
        """
        try:
            return _encode(value)
        except RecursionError:
            raise ValueError("the value nests too deeply for JSON") from None

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


def check_structure(body: bytes) -> None:
    """Refuse a document with too many or too deeply nested containers, without parsing it.

    Counts brackets outside strings. Most documents have fewer brackets than the depth allows, and need one count.
    """
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = body.translate(None, _NOT_STRUCTURE).replace(b'""', b"")  # a removed pair does not change who is inside
    if b'"' in brackets:
        brackets = b"".join(brackets.split(b'"')[::2])
    containers = brackets.count(b"[") + brackets.count(b"{")
    if containers > MAX_CONTAINERS:
        raise ProtocolError(f"the JSON document has {containers} arrays and objects, the limit is {MAX_CONTAINERS}")
    depth = _depth(brackets)
    if depth > MAX_DEPTH:
        raise ProtocolError(f"the JSON document nests {depth} levels deep, the limit is {MAX_DEPTH}")


def _depth(brackets: bytes) -> int:
    """The nesting of a string of brackets; flat documents by whole passes, which are much faster than steps."""
    rest = brackets
    for level in range(12):
        if not rest:
            return level
        rest = rest.replace(b"{}", b"").replace(b"[]", b"")
    return max(accumulate(map(_STEP.__getitem__, brackets)), default=0)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _bounded_int(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_INTEGER_DIGITS:
        raise ValueError(f"an integer has {len(digits)} digits, the limit is {MAX_INTEGER_DIGITS}")
    return int(digits)


def _finite_float(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
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


@lru_cache(maxsize=1024)
def quoted(text: str) -> str:
    """A JSON string literal; cached, since method names repeat."""
    return _encode(text)
