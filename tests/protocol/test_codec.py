"""JSON under a policy: which documents are taken, which are refused and why, at what cost."""
from __future__ import annotations

import contextlib
import json
import math
import subprocess
import sys
import time
import timeit
import tracemalloc
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legacy_plugins.errors import InvalidMessage, ProtocolError
from legacy_plugins.protocol import codec
from legacy_plugins.protocol.codec import (
    MAX_CONTAINERS,
    MAX_DEPTH,
    MAX_INTEGER_DIGITS,
    JsonCodec,
    check_structure,
    has_utf8_form,
    in_utf8_form,
    quoted,
)

ROOT = Path(__file__).resolve().parents[2]
CODEC = JsonCodec()
quick = settings(max_examples=100, deadline=None, derandomize=True)
MANY = b"[]," * (MAX_DEPTH + 1)  # so many containers that the careful check of the structure runs

# ---- the policy, document by document

VALID: List[Tuple[bytes, Any]] = [
    (b"null", None), (b"true", True), (b"false", False), (b"0", 0), (b"-0", 0), (b"12", 12), (b"-7", -7),
    (b" \t\r\n1 \t\r\n", 1), (b"1.5", 1.5), (b"-1.5e-3", -0.0015), (b"1E+2", 100.0), (b"1e308", 1e308),
    (b"1e-999", 0.0), (b"0e999", 0.0), (b"0.1e00001", 1.0),
    (b"9" * 100, int("9" * 100)), (b"-" + b"9" * 100, -int("9" * 100)),
    (b"9007199254740993", 9007199254740993), (b"18446744073709551616", 2 ** 64),
    (b"0." + b"1" * 5000, 1 / 9), (b"1" + b"0" * 308 + b".0", 1e308),
    (b'""', ""), (b'"a"', "a"), (b'"\\"\\\\\\/\\b\\f\\n\\r\\t"', '"\\/\b\f\n\r\t'), (b'"\\u00e9"', "é"),
    (b'"\xc3\xa9"', "é"), (b'"\\ud83d\\ude00"', "😀"), (b'"\xf0\x9f\x98\x80"', "😀"), (b'"\x7f"', "\x7f"),
    (b'"\\u0000"', "\0"), (b'"\xe2\x80\xa8"', "\u2028"), (b'"\xef\xbb\xbf"', "\ufeff"), (b'"\\ud800"', "\ud800"),
    (b'"1e999 NaN ' + b"9" * 200 + b'"', "1e999 NaN " + "9" * 200),
    (b"[]", []), (b"[ ]", []), (b"[1,[2,[3]]]", [1, [2, [3]]]), (b"{}", {}), (b'{"":0}', {"": 0}),
    (b'{"a":{"b":[null]}}', {"a": {"b": [None]}}), (b'{"a":1,"a":2}', {"a": 2}), (b'{"a":[1],"a":{}}', {"a": {}}),
    (b'{"__proto__":1,"constructor":2}', {"__proto__": 1, "constructor": 2}),
]
INVALID: List[Tuple[str, bytes, str]] = [
    *[("J1", document, "not valid JSON") for document in (
        b"", b" ", b"{", b"}", b"[", b"]", b"[1", b"[1,]", b"[,1]", b"[1 2]", b"[1]]", b"{}{}", b"1 2", b"[1}",
        b"[" * 50, b'{"a"}', b'{"a":}', b'{"a":1,}', b"{,}", b"{1:2}", b"{'a':1}", b"{a:1}", b'{"a" 1}', b'{"a":1]',
        b'{"a":' * 50, b"nul", b"True", b"None", b"undefined", b"inf", b"nan",
        b"// c\n1", b"/* c */1", b"1;", b"\x0c1", b"\x001",
        b'"', b'"a', b'"\\"', b'"\\x41"', b'"\\u12"', b'"\\u 123"', b'"\\', b'"\n"', b'"\t"', b'"\0"', b"'a'",
        b"01", b"-", b"+1", b"1.", b".5", b"1e", b"1e+", b"0x10", b"1_000", b"--1", b"- 1", b"1/2", b"\xc2\xa01",
        b"\xd9\xa1", b'{"a":1}\0', b'["' + b"[" * 500)],
    *[("J2", document, "is not UTF-8") for document in (
        b"\xff", b'"\xff"', b'"\xc3"', b'"\xc0\xaf"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xe9"',
        '"a"'.encode("utf-16"), '"é"'.encode("utf-32"))],
    ("J2", b"\xef\xbb\xbf{}", "begins with a byte order mark"),
    *[("J2", json.dumps({"a": 1}).encode(form), "not valid JSON") for form in ("utf-16-le", "utf-16-be", "utf-32-le")],
    ("J3", b"[" * 129 + b"]" * 129, "nests 129 levels deep, the limit is 128"),
    ("J3", b'{"a":' * 129 + b"1" + b"}" * 129, "nests 129 levels deep, the limit is 128"),
    ("J3", b'[{"a":' * 65 + b"1" + b"}]" * 65, "nests 130 levels deep"),
    ("J3", b"[" + MANY + b"[" * 128 + b"]" * 128 + b"]", "nests 129 levels deep"),
    ("J3", b"[" * 500_000, "more than 250000 arrays and objects"),
    ("J3", b"[" * 200, "nests 200 levels deep"),
    ("J4", b"9" * 101, "an integer has 101 digits, the limit is 100"),
    ("J4", b"-" + b"9" * 101, "an integer has 101 digits"),
    ("J4", b'{"a":[' + b"1" * 5000 + b"]}", "an integer has 5000 digits"),
    *[("J5", document, "overflows a double") for document in (
        b"1e999", b"-1e999", b"1E309", b"1e+309", b"[1.5,1e400]", b"1e00000309", b"9" * 310 + b".0", b"0.1e310",
        b"1" * 101 + b"e210")],
    *[("J5", document, "is not JSON") for document in (
        b"NaN", b"Infinity", b"-Infinity", b"[NaN]", b'{"a":-Infinity}')],
    ("J21", b"[" + b"[]," * MAX_CONTAINERS + b"[]]", "more than 250000 arrays and objects"),
    ("J21", b"[" + b'{"a":0},' * MAX_CONTAINERS + b"0]", "more than 250000 arrays and objects"),
    ("J21", b"[" * 129 + b"]" * 500_000, "closes more arrays and objects than it opens"),
]


@pytest.mark.req("R6")
@pytest.mark.fault("J6")
@pytest.mark.parametrize(("document", "value"), VALID)
def test_documents_that_are_taken(document: bytes, value: Any) -> None:
    """RFC 8259 documents are read as the standard parser reads them, with many containers around them too."""
    assert CODEC.decode(document) == value
    assert type(CODEC.decode(document)) is type(value)
    assert CODEC.decode(b"[" + MANY + document + b"]")[-1] == value


@pytest.mark.parametrize(
    ("document", "reason"), [pytest.param(*case[1:], marks=pytest.mark.fault(case[0])) for case in INVALID],
    ids=[f"{case[0]}-{case[1][:20]!r}" for case in INVALID])
def test_documents_that_are_refused(document: bytes, reason: str) -> None:
    """Everything else is a `ProtocolError` that names the rule, and no claim about the message in it."""
    with pytest.raises(ProtocolError) as caught:
        CODEC.decode(document)
    assert reason in str(caught.value)
    assert not isinstance(caught.value, InvalidMessage)
    assert len(str(caught.value)) < 300


@pytest.mark.fault("J3", "J21")
def test_the_limits_themselves_are_allowed() -> None:
    """128 levels and 250,000 containers are read; brackets inside strings count for nothing."""
    deep = CODEC.decode(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    for _ in range(MAX_DEPTH - 1):
        (deep,) = deep
    assert deep == []
    assert len(CODEC.decode(b"[" + b"{}," * (MAX_CONTAINERS - 2) + b"[]]")) == MAX_CONTAINERS - 1
    text = '[{"' * MAX_CONTAINERS + "\\"
    assert CODEC.decode(json.dumps([text, text + '"']).encode()) == [text, text + '"']


@pytest.mark.fault("J7")
def test_lone_surrogates_are_known() -> None:
    """What JSON can spell and UTF-8 cannot write is told apart; the decoder leaves it to those who use the text."""
    assert has_utf8_form("ascii")
    assert has_utf8_form("é😀")
    assert not has_utf8_form(CODEC.decode(b'"\\ud800"'))
    assert in_utf8_form("é\ud800") == "é\\ud800"
    assert in_utf8_form("é") == "é"


# ---- writing

@pytest.mark.req("R6")
def test_encoding_is_compact() -> None:
    """No white space, text as itself, keys that are numbers as strings."""
    value = {"a": [1, 2.5, None, True], "é": "\u2028\n", 1: 2}
    assert CODEC.encode(value) == '{"a":[1,2.5,null,true],"é":"\u2028\\n","1":2}'


def _cycle() -> List[Any]:
    cycle: List[Any] = []
    cycle.append(cycle)
    return cycle


def _deep(levels: int) -> List[Any]:
    deep: List[Any] = []
    for _ in range(levels):
        deep = [deep]
    return deep


@pytest.mark.fault("J5", "J22")
@pytest.mark.parametrize(("value", "error", "match"), [
    (float("nan"), ValueError, "Out of range"), ([float("-inf")], ValueError, "Out of range"),
    (_cycle(), ValueError, "Circular"), (_deep(100_000), ValueError, "nests too deeply"),
    ("\ud800", ValueError, "lone surrogate"), ({"\udcff": 1}, ValueError, "lone surrogate"),
    ({(1, 2): 3}, TypeError, "keys must be"), ({"a": {1, 2}}, TypeError, "set"), (b"bytes", TypeError, "bytes"),
], ids=["nan", "infinity", "cycle", "deep", "surrogate", "surrogate-key", "tuple-key", "set", "bytes"])
def test_what_cannot_be_written(value: Any, error: type, match: str) -> None:
    """The caller of `encode` gets the error, before anything is framed."""
    with pytest.raises(error, match=match):
        CODEC.encode(value)


_NUMBER = int("9" * MAX_INTEGER_DIGITS)


@pytest.mark.fault("J22")
@pytest.mark.parametrize("value", [
    _deep(MAX_DEPTH - 3), [_deep(2)] * 1000, {"a": "[" * 500}, [_NUMBER, -_NUMBER], "9" * 1000,
    [{}] * (MAX_CONTAINERS - 4),
], ids=["deep", "wide", "brackets in a text", "long numbers", "digits in a text", "containers"])
def test_what_is_written_is_taken_inside_a_message(value: Any) -> None:
    """At its limits a value is written, and read again by the other side with an event's message round it."""
    text = CODEC.encode(value)
    assert CODEC.decode(f'{{"params":{{"metadata":{{}},"payload":{text}}}}}'.encode())["params"]["payload"] == value


@pytest.mark.fault("J22")
@pytest.mark.parametrize(("value", "match"), [
    (_deep(MAX_DEPTH - 2), "nests 129 levels deep"), ([{}] * MAX_CONTAINERS, "more than 250000 arrays"),
    ({"a": [1, _NUMBER * 10]}, "101 digits"), (-_NUMBER * 10 ** 9, "109 digits"), ([1.5, 10 ** 4000], "4001 digits"),
], ids=["deep", "containers", "number", "negative", "very long"])
def test_what_the_other_side_would_refuse_is_not_written(value: Any, match: str) -> None:
    """The sender learns of it at once, instead of waiting for an answer that cannot come."""
    with pytest.raises(ValueError, match=match):
        CODEC.encode(value)


def test_names_are_quoted_once() -> None:
    """A quoted name is JSON, and repeated names are not encoded again; a bad name is refused each time."""
    assert quoted('a"é') == '"a\\"é"'
    assert quoted("plugin/onEvent") is quoted("plugin/onEvent")
    for _ in range(2):
        with pytest.raises(ValueError, match="lone surrogate"):
            quoted("\ud800")


# ---- properties

_awkward = st.text(alphabet='[]{}"\\,:\n é\u2028😀1e', max_size=12)
_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), _awkward),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_awkward, inner, max_size=4)), max_leaves=30)


@pytest.mark.req("R6")
@quick
@given(value=_values)
def test_what_is_written_can_be_read(value: Any) -> None:
    """Encoding and decoding give the value back."""
    assert CODEC.decode(CODEC.encode(value).encode()) == value


def _structure(text: str) -> Tuple[int, int]:
    """The depth and the number of containers of a document, character by character."""
    depth = deepest = containers = 0
    inside = escaped = False
    for char in text:
        if inside:
            inside, escaped = escaped or char != '"', char == "\\" and not escaped
        elif char == '"':
            inside = True
        elif char in "[{":
            depth, containers = depth + 1, containers + 1
            deepest = max(deepest, depth)
        elif char in "]}":
            depth -= 1
    return deepest, containers


def _passes(document: str) -> bool:
    try:
        check_structure(document.encode("utf-8", "surrogatepass"))
    except ProtocolError:
        return False
    return True


_limits = st.tuples(st.integers(1, 14), st.integers(14, 20))


@pytest.mark.fault("J3", "J21")
@settings(quick, max_examples=150)
@given(value=_values, limits=_limits, ascii_only=st.booleans(), window=st.integers(1, 9))
def test_the_structure_is_counted_right(value: Any, limits: Tuple[int, int], ascii_only: bool, window: int) -> None:
    """For valid documents the check agrees with a count by a state machine, whatever their strings hold."""
    document = json.dumps(value, ensure_ascii=ascii_only)
    depth, containers = _structure(document)
    with mock.patch.multiple(codec, MAX_DEPTH=limits[0], MAX_CONTAINERS=limits[1], _WINDOW=window):
        assert _passes(document) == (depth <= limits[0] and containers <= limits[1])


_pieces = st.sampled_from(
    ["[", "]", "[[", "[[[", '{"', '":', '"', "\\", '\\"', "\\\\", '""', ",", "1", "[]", '"["', '"]"'])
_soups = st.one_of(st.text(alphabet='[]{}"\\,1', max_size=40), st.lists(_pieces, max_size=25).map("".join))


@pytest.mark.fault("J3")
@settings(quick, max_examples=150)
@given(soup=_soups, limits=_limits)
def test_no_parser_goes_deeper_than_the_check_allows(soup: str, limits: Tuple[int, int]) -> None:
    """Of any soup that passes, the part that a parser reads before it gives up is within the limits."""
    try:
        json.loads(soup)
        read = soup
    except json.JSONDecodeError as error:
        # an unterminated string, or a bad escape, is reported at the string's beginning or inside it
        read = soup[:error.pos]
    depth, containers = _structure(read)
    with mock.patch.multiple(codec, MAX_DEPTH=limits[0], MAX_CONTAINERS=limits[1]):
        assert not _passes(soup) or (depth <= limits[0] and containers <= limits[1])


_numbers = st.one_of(
    st.builds("{}{}{}".format, st.integers(-9999, 9999), st.sampled_from(["", ".0", ".25"]),
              st.sampled_from(["", "e0", "E5", "e-7", "e+303", "e304", "E305", "e00308", "e309", "e-400", "E+9999"])),
    st.builds(lambda sign, digits, rest: sign + "7" * digits + rest, st.sampled_from(["", "-"]), st.integers(1, 350),
              st.sampled_from(["", ".5", "e0", "E9", "e99", "e-300", "e+208", "e308"])))


@pytest.mark.fault("J4", "J5")
@settings(quick, max_examples=150)
@given(number=_numbers, beside=st.sampled_from(["0", "1.5", '"e000"', '"' + "0" * 50 + '"', "1e100", "8" * 60]))
def test_every_number_is_judged(number: str, beside: str) -> None:
    """Integers by their digits, floats by whether they are finite, whichever parser the document got."""
    is_float = bool(set(number) & set(".eE"))
    good = math.isfinite(float(number)) if is_float else len(number.lstrip("-")) <= MAX_INTEGER_DIGITS
    try:
        assert CODEC.decode(f"[{number},{beside}]".encode())[0] == json.loads(number)
        taken = True
    except ProtocolError:
        taken = False
    assert taken == good


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    """A document with a byte replaced by up to two others."""
    text = json.dumps(draw(_values)).encode()
    place = draw(st.integers(0, len(text)))
    return text[:place] + draw(st.binary(max_size=2)) + text[place + 1:]


@pytest.mark.fault("J1", "J2")
@settings(quick, max_examples=150)
@given(document=st.one_of(st.binary(max_size=60), _soups.map(str.encode), _damaged()))
def test_nothing_but_protocol_errors(document: bytes) -> None:
    """Any bytes give a value that can be written again, or a `ProtocolError`."""
    try:
        value = CODEC.decode(document)
    except ProtocolError:
        return
    assert json.loads(json.dumps(value)) == value


@pytest.mark.fault("J3")
def test_a_caller_near_its_recursion_limit_gets_a_protocol_error() -> None:
    """Where the calling thread has no stack left for the parser, that is said, and nothing else escapes from it."""
    document = b"[" * 100 + b"1e999" + b"]" * 100  # the float is judged by a Python function, below the parser
    outcomes: Dict[str, int] = {}

    def descend(levels: int) -> None:
        if levels:
            descend(levels - 1)
            return
        try:
            CODEC.decode(document)
        except ProtocolError as error:
            outcomes[str(error)] = levels

    with contextlib.suppress(RecursionError):
        for levels in range(sys.getrecursionlimit()):
            descend(levels)
    assert "the JSON document nests too deeply for the calling thread" in outcomes


# ---- cost

def _seconds(work: Callable[[], object]) -> float:
    """Processor time, the best of three and without the garbage collector, so that a busy machine changes little."""
    return min(timeit.repeat(work, number=1, repeat=3, timer=time.process_time))


def _judge(document: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        CODEC.decode(document)


HOSTILE: Dict[str, Callable[[int], bytes]] = {
    "escaped-quotes": lambda n: b"[" + MANY + b'"' + b'\\"' * (n // 2) + b'"]',
    "backslashes": lambda n: b"[" + MANY + b'"' + b"\\" * n + b'"]',
    "lone-backslashes": lambda n: b"[" + MANY + b"\\," * (n // 2),
    "quotes": lambda n: b"[" + MANY + b'"",' * (n // 3) + b"0]",
    "unbalanced-quotes": lambda n: b"[" * 129 + b'"' * n,
    "brackets-in-strings": lambda n: b"[" + MANY + b'"[","]",' * (n // 8) + b"0]",
    "brackets-between-strings": lambda n: b"[" + MANY + b'"[",[],' * (n // 7) + b"0]",
    "openers": lambda n: b"[" * n,
    "closers": lambda n: b"[" * 129 + b"]" * n,
    "pairs": lambda n: b"[],[" * (n // 4),
    "mixed-pairs": lambda n: b"[{" * 6 + b'{"":[]},' * (n // 8),
    "flat-and-deep": lambda n: b"[" * 13 + b"]" * 13 + b"[]," * (n // 3),
    "hundred-digits": lambda n: b"[" + (b"1" * 100 + b",") * (n // 101) + b"1]",
    "one-long-number": lambda n: b"1" * n,
    "one-long-fraction": lambda n: b"0." + b"1" * n,
    "one-long-exponent": lambda n: b"1e" + b"0" * n,
    "one-long-string": lambda n: b'"' + b"a" * n + b'"',
    "unterminated": lambda n: b'["' + b"[" * n,
    "white-space": lambda n: b" " * n,
}


@pytest.mark.fault("J4", "J21")
@pytest.mark.parametrize("make", list(HOSTILE.values()), ids=list(HOSTILE))
def test_time_is_linear_and_short(make: Callable[[int], bytes]) -> None:
    """Eight times the bytes cost about eight times the work, and a hostile mebibyte well under half a second."""
    few, many = make(1 << 17), make(1 << 20)
    seconds = _seconds(lambda: _judge(many))
    assert seconds < 24 * _seconds(lambda: _judge(few)) + 0.002
    assert seconds < 0.4


@pytest.mark.fault("J21")
@pytest.mark.parametrize("make", list(HOSTILE.values()), ids=list(HOSTILE))
def test_the_check_needs_little_memory(make: Callable[[int], bytes]) -> None:
    """The check itself keeps a few copies of a hostile document, never a Python object for each of its marks."""
    document = make(1 << 20)
    tracemalloc.start()
    try:
        with contextlib.suppress(ProtocolError):
            check_structure(document)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(document) + (1 << 20)


SMALL_STACK = """
import sys, threading
from legacy_plugins.errors import ProtocolError
from legacy_plugins.protocol.codec import MAX_DEPTH, JsonCodec
def parse():
    deepest = JsonCodec().decode(b'[{"a":' * (MAX_DEPTH // 2) + b"1" + b"}]" * (MAX_DEPTH // 2))
    inner = deepest[0]["a"]  # what is left is the message's own
    assert JsonCodec().decode(JsonCodec().encode(inner).encode()) == inner
    for document in (b"[" * 500_000, b'{"a":' * 500_000, b'[{"":' * 100_000 + b"1" + b"}]" * 100_000,
                     b"[" * 200 + b"]" * 200):
        try:
            JsonCodec().decode(document)
        except ProtocolError as error:
            print(error)
threading.stack_size(256 * 1024)
thread = threading.Thread(target=parse)
thread.start()
thread.join()
"""


@pytest.mark.req("R3")
@pytest.mark.fault("J3")
def test_no_document_overflows_a_small_stack() -> None:
    """With a stack of 256 KiB the deepest allowed document is read; deeper ones are refused, not fatal."""
    done = subprocess.run([sys.executable, "-c", SMALL_STACK], cwd=ROOT, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60, check=False)
    assert done.returncode == 0, done.stdout.decode()
    assert [line.split(b"the JSON document ")[1] for line in done.stdout.splitlines()] == [
        b"has more than 250000 arrays and objects", b"has more than 250000 arrays and objects",
        b"nests 200000 levels deep, the limit is 128", b"nests 200 levels deep, the limit is 128"]
