"""Levels, messages, tracebacks, redaction and escaping of single lines."""
from __future__ import annotations

import json
import logging
import time
import unicodedata
from typing import List, Optional, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legacy_plugins.host import log_lines
from legacy_plugins.host.log_lines import LineParser, LogLine, Redactor, escape, quote_line, read_level

DEBUG, INFO, WARNING, ERROR, CRITICAL = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL


def _parse(line: bytes, *patterns: str) -> LogLine:
    return LineParser(Redactor(patterns)).parse(line)


def _parse_all(text: str) -> List[LogLine]:
    parser = LineParser(Redactor(()))
    return [parser.parse(line.encode()) for line in text.splitlines()]


@pytest.mark.req("R24")
@pytest.mark.parametrize(("text", "level", "message"), [
    ("plain text", None, "plain text"),
    ("DEBUG: a", DEBUG, "a"), ("TRACE: a", DEBUG, "a"), ("INFO:root:a", INFO, "root:a"), ("NOTICE: a", INFO, "a"),
    ("WARN: a", WARNING, "a"), ("WARNING:  a", WARNING, "a"), ("ERROR: a", ERROR, "a"), ("ERR: a", ERROR, "a"),
    ("CRITICAL: a", CRITICAL, "a"), ("FATAL: a", CRITICAL, "a"), ("PANIC: a", CRITICAL, "a"),
    ("[WARN] a", WARNING, "a"), ("[ERROR]: a", ERROR, "a"), ("[info ] a", INFO, "a"), ("[fatal]a", CRITICAL, "a"),
    ("ERROR:", ERROR, "ERROR:"), ("[ERROR]", ERROR, "[ERROR]"),
    ("ERRORS: 3", None, "ERRORS: 3"), ("ERROR without colon", None, "ERROR without colon"),
    ("[redacted] ERROR: a", None, "[redacted] ERROR: a"), (" ERROR: a", None, " ERROR: a"), ("", None, ""),
])
def test_level_prefixes(text: str, level: Optional[int], message: str) -> None:
    """`LEVEL:` and `[LEVEL]` at the start of a line state its level; anything else states none and is kept."""
    assert read_level(text) == (level, message)


@pytest.mark.parametrize("text", ["Error: Cannot find module 'x'", "error: unused variable", "Warning: x"])
def test_a_prefix_that_is_part_of_the_sentence_stays(text: str) -> None:
    """The level of `Error: ...`, as exceptions and compilers begin, is read, and the text is kept whole."""
    assert read_level(text) == (WARNING if text.startswith("W") else ERROR, text)


@pytest.mark.req("R24")
@pytest.mark.parametrize(("digit", "level"), list(enumerate(
    [CRITICAL, CRITICAL, CRITICAL, ERROR, WARNING, INFO, INFO, DEBUG])))
def test_syslog_prefixes(digit: int, level: int) -> None:
    """`<0>` to `<7>` mean what sd-daemon(3) says."""
    assert read_level(f"<{digit}>disk full") == (level, "disk full")


@pytest.mark.parametrize("text", ["<8>a", "<10>a", "<>a", "<x>a", " <3>a"])
def test_what_looks_like_a_syslog_prefix_is_text(text: str) -> None:
    """Only one digit from 0 to 7 at the very start is a level."""
    assert read_level(text) == (None, text)


@pytest.mark.req("R24")
@pytest.mark.parametrize(("value", "level"), [
    ("trace", DEBUG), ("debug", DEBUG), ("INFO", INFO), ("Notice", INFO), ("warn", WARNING), ("WARNING", WARNING),
    ("error", ERROR), ("fatal", CRITICAL), ("Critical", CRITICAL),
    (10, DEBUG), (20, DEBUG), (30, INFO), (35, INFO), (40, WARNING), (50, ERROR), (60, CRITICAL),
])
def test_json_levels(value: object, level: int) -> None:
    """A JSON line's level is a name in any case or one of pino's numbers."""
    assert read_level(json.dumps({"level": value, "msg": "hello"})) == (level, "hello")


@pytest.mark.parametrize(("line", "expected"), [
    ('{"level":"warn","message":"hello"}', (WARNING, "hello")),
    ('{"level": "warn", "msg": "hello", "port": 80, "who": {"id": [1, null]}}',
     (WARNING, 'hello {"port":80,"who":{"id":[1,null]}}')),
    ('{"levelname":"ERROR","message":"é"}  ', (ERROR, "é")),
    ('{"severity":"notice","message":"a","level":"odd"}', (INFO, 'a {"level":"odd"}')),
    ('{"message":"no level"}', (None, "no level")),
    ('{"level":"ERROR","fields":{"message":"deep"}}', (ERROR, '{"level":"ERROR","fields":{"message":"deep"}}')),
])
def test_json_lines(line: str, expected: Tuple[Optional[int], str]) -> None:
    """The message is logged with the other fields behind it; without a message the whole line is."""
    assert read_level(line) == expected


@pytest.mark.parametrize("line", [
    '{"@message":1}', '{"message":1}', '{"message":null,"level":null}', '{"level":true,"msg":""}', "{}", "{", "{]",
    '{"level":[],"msg":{}}', '{"level":0,"x":1}', '{"level":700,"x":1}', '{"level":-1,"x":1}', '[{"level":"error"}]',
    '{"a":1} trailing', '"text"', "{'level': 'error'}", '{"level":"error"',
])
def test_odd_json_is_text(line: str) -> None:
    """What is not a JSON object with a usable level or message is text, and no exception."""
    assert read_level(line) == (None, line)


@pytest.mark.parametrize("line", [
    '{"level":"error","msg":' + "[" * 5000 + "]" * 5000 + "}",
    '{"level":"error","msg":' + '{"a":' * 30_000,
    '{"level":"error","msg":"' + "x" * 100_000 + '"}',
    '{"level":"error","n":' + "9" * 60_000 + "}",
], ids=["deep", "deep and cut", "long", "long number"])
def test_hostile_json_is_text(line: str) -> None:
    """Depth and size are bounded before parsing."""
    assert read_level(line) == (None, line)


def test_a_long_integer_is_kept_as_its_digits() -> None:
    """Turning 20,000 digits into a number and back would take quadratic time, and is refused by newer Pythons."""
    started = time.process_time()
    for _ in range(20):
        assert read_level('{"level":"error","msg":"a","n":' + "9" * 20_000 + "}") == (
            ERROR, 'a {"n":"' + "9" * 20_000 + '"}')
    assert time.process_time() - started < 2


def test_no_level_is_info() -> None:
    """A line that states no level is logged as INFO."""
    assert _parse(b"hello") == (INFO, "hello")


TRACEBACK = '''Traceback (most recent call last):
  File "plugin.py", line 3, in <module>
    print("INFO: not a level")
    ~~~~~^^^
json.decoder.JSONDecodeError: Expecting value: line 1'''
GROUP = '''  + Exception Group Traceback (most recent call last):
  |   File "plugin.py", line 1, in <module>
  | ExceptionGroup: two (1 sub-exception)
  +-+---------------- 1 ----------------
    | ValueError: a
    +------------------------------------'''


@pytest.mark.req("R24")
@pytest.mark.fault("L5")
def test_a_traceback_is_error_to_its_last_line() -> None:
    """Each line of a traceback is a record of its own at ERROR, unchanged; the line after it is not."""
    lines = _parse_all(f"before: 1\n{TRACEBACK}\nafter: 1")
    assert [line.level for line in lines] == [INFO, *[ERROR] * 5, INFO]
    assert [line.message for line in lines[1:-1]] == TRACEBACK.splitlines()


def test_chained_tracebacks_are_error_throughout() -> None:
    """The sentences between two tracebacks belong to them."""
    for link in ("During handling of the above exception, another exception occurred:",
                 "The above exception was the direct cause of the following exception:"):
        lines = _parse_all(f"{TRACEBACK}\n\n{link}\n\n{TRACEBACK}\nafter: 1")
        assert [line.level for line in lines if line.message] == [*[ERROR] * 11, INFO]


def test_an_exception_group_ends_where_its_indentation_ends() -> None:
    """A group's traceback has no unindented last line, so the next such line is not part of it."""
    assert [line.level for line in _parse_all(GROUP + "\nstatus: fine")] == [*[ERROR] * 6, INFO]


@pytest.mark.parametrize("last", ["KeyboardInterrupt", "Warning: raised", "__main__.f.<locals>.Odd: x", "Error: x"])
def test_the_last_line_of_a_traceback(last: str) -> None:
    """An exception's name ends the traceback, with or without text, whatever level it seems to state."""
    lines = _parse_all(f"Traceback (most recent call last):\n  File\n{last}\nok: 1")
    assert lines[2:] == [(ERROR, last), (INFO, "ok: 1")]


def test_an_ordinary_line_ends_a_traceback() -> None:
    """A traceback that lost its end does not swallow what comes next."""
    lines = _parse_all("Traceback (most recent call last):\n  File\n[WARN] server goes on\nok: 1")
    assert [line.level for line in lines] == [ERROR, ERROR, WARNING, INFO]


def test_missing_lines_end_a_traceback() -> None:
    """After an interruption an indented line is just a line."""
    parser = LineParser(Redactor(()))
    assert parser.parse(b"Traceback (most recent call last):").level == ERROR
    parser.interrupt()
    assert parser.parse(b"  indented").level == INFO


@pytest.mark.fault("L4")
@pytest.mark.parametrize(("line", "message"), [
    (b"caf\xe9", "caf\\xe9"), (b"\xff\xfe", "\\xff\\xfe"), (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),
    ("grün \U0001f600".encode(), "grün \U0001f600"), (b"cut \xe2\x82", "cut \\xe2\\x82"),
])
def test_bytes_that_are_not_utf8_are_shown(line: bytes, message: str) -> None:
    """Invalid UTF-8 is shown byte by byte, valid text is left alone."""
    assert _parse(line) == (INFO, message)


@pytest.mark.fault("L3")
@pytest.mark.parametrize(("text", "escaped"), [
    ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"), ("a\x00b", "a\\x00b"), ("50%\r100%", "50%\\r100%"),
    ("a\nINFO: forged", "a\\nINFO: forged"), ("a\u2028b\u2029c", "a\\u2028b\\u2029c"), ("a\x85b", "a\\x85b"),
    ("a\x9b31m", "a\\x9b31m"), ("\u202eevil\u2066\u061c", "\\u202eevil\\u2066\\u061c"), ("\ud800", "\\ud800"),
    ("a\tb", "a\tb"), ("\x7f", "\\x7f"), ("C:\\temp %s {x}", "C:\\temp %s {x}"),
])
def test_what_acts_on_a_terminal_is_shown(text: str, escaped: str) -> None:
    """Controls, bidirectional controls, line separators and lone surrogates become visible; a tab stays."""
    assert escape(text) == escaped


@pytest.mark.fault("L3")
@pytest.mark.parametrize("line", [b'{"msg":"a\\nERROR: forged\\u001b[2J"}', b'{"msg":"a","k\\u2028":"\\ud800"}'])
def test_json_cannot_smuggle_controls(line: bytes) -> None:
    """What a JSON string's escapes stand for is escaped like anything else."""
    message = _parse(line).message
    assert message.splitlines() == [message]
    assert message.isprintable()
    message.encode("utf-8")


@settings(deadline=None, max_examples=60)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")),
                 st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
                              lambda inner: st.lists(inner) | st.dictionaries(
                                  st.sampled_from(["level", "msg", "message", "x"]), inner)).map(
                     lambda value: json.dumps(value).encode())))
def test_any_line_becomes_one_safe_line(line: bytes) -> None:
    """Whatever the bytes, the result is one encodable line at one of logging's levels, without controls."""
    level, message = _parse(line, r"token=\S+")
    assert level in (DEBUG, INFO, WARNING, ERROR, CRITICAL)
    assert "\n" not in message
    assert [char for char in message if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") and char != "\t"] == []
    message.encode("utf-8")


@pytest.mark.fault("L2")
def test_a_cut_line_says_so() -> None:
    """The mark stands at the end of the message."""
    assert LineParser(Redactor(())).parse(b"ERROR: abc", truncated=True) == (ERROR, "abc [line truncated]")


SECRET = r"(?i)token=\S+"


@pytest.mark.req("R26")
@pytest.mark.fault("L6")
@pytest.mark.parametrize(("line", "expected"), [
    (b"login Token=abc123 ok", (INFO, "login [redacted] ok")),
    (b"token=a token=b", (INFO, "[redacted] [redacted]")),
    (b"ERROR: token=abc", (ERROR, "[redacted]")),
    (b"<3>token=abc", (ERROR, "[redacted]")),
    (b'{"level":"error","msg":"token=abc failed"}', (ERROR, "[redacted] failed")),
    (b'{"level":"error","msg":"a","url":"/?token=abc "}', (ERROR, 'a {"url":"/?[redacted] "}')),
    (b'{"level":"error","msg":"token=abc"}', (ERROR, '{"level":"error","msg":"[redacted]')),
    (b'{"level":"error","msg":"token\\u003dabc failed"}', (ERROR, "[redacted] failed")),
    (b"token=ab\x1bcd\xff end", (INFO, "[redacted] end")),
], ids=["plain", "twice", "prefix", "syslog", "JSON", "JSON field", "JSON broken by it", "JSON escape", "controls"])
def test_redaction(line: bytes, expected: Tuple[int, str]) -> None:
    """What a pattern matches is replaced; the level is the one that the plugin wrote."""
    assert _parse(line, SECRET) == expected


@pytest.mark.req("R26")
@pytest.mark.fault("L6")
@pytest.mark.parametrize("line", [
    b"\x1b[36mtoken\x1b[0m=\x1b[35mhunter2\x1b[0m", b"tok\x00en=hunter2", "to\u200bken=\u202ehunter2".encode(),
    b"token\\u003dhunter2 [[[", b"\x1b]8;;x\x07token\x1b]8;;\x07=hunter2", b"tok\xc2\x85en=hunter2",
    b'{"msg":"a","extra":"{\\"k\\":\\"token\\\\u003dhunter2\\"}"}', b'{"msg":"tok\\u0000en=hunter2"}',
], ids=["colours", "NUL", "zero width, bidi", "escape in text", "link", "C1", "nested JSON", "JSON NUL"])
def test_disguises_do_not_help(line: bytes) -> None:
    """A secret is found behind what a reader does not see, so neither order of redaction and escaping shows it."""
    assert "hunter2" not in _parse(line, SECRET).message
    assert "hunter2" not in Redactor((SECRET,))(log_lines.decode(line))


@pytest.mark.req("R26")
@pytest.mark.parametrize("pattern", [r'"password":\s*"[^"]*"', r"(?<=ERROR: )hunter2", r"^.*hunter2.*$", "hunter2"])
@pytest.mark.parametrize("line", [
    b'{"level":"error","msg":"ERROR: hunter2","password": "hunter2"}', b"ERROR: hunter2",
    b'{"level":"error","msg":"a","data":"{\\"password\\":\\"hunter2\\"}"}'])
def test_patterns_may_be_written_for_the_line_or_for_its_message(pattern: str, line: bytes) -> None:
    """A pattern for the JSON text, for the text with its prefix, or for the whole line works as written."""
    level, message = _parse(line, pattern)
    assert level == ERROR
    before = log_lines.decode(line)
    expected = Redactor((pattern,))(before)
    assert message.count("hunter2") <= expected.count("hunter2")
    assert (expected != before) == ("[redacted]" in message)


@pytest.mark.req("R26")
@pytest.mark.parametrize("line", [b"ERROR: hunter2", b'{"level":"error", "msg":"hunter2","a":1}', b"<3>hunter2"])
def test_a_pattern_for_the_message_alone_holds_for_the_line_too(line: bytes) -> None:
    """A pattern anchored at the message's beginning keeps the secret out of the record and of the quoted line."""
    assert "hunter2" not in _parse(line, "^hunter2").message
    assert "hunter2" not in quote_line(line, Redactor(["^hunter2"]))


@pytest.mark.req("R26")
@pytest.mark.parametrize(("line", "quoted"), [
    (b"ERROR: a\x1b", "ERROR: a\\x1b"), (b'{"level":"info","msg":"a"}', '{"level":"info","msg":"a"}'),
    (b"ERROR: token=a \xff", "ERROR: [redacted] \\xff")])
def test_a_quoted_line_is_the_line_as_written(line: bytes, quoted: str) -> None:
    """A quotation keeps prefix and JSON; it is redacted and escaped."""
    assert quote_line(line, Redactor([SECRET])) == quoted


@pytest.mark.req("R26")
def test_redaction_holds_inside_tracebacks() -> None:
    """The last line of a traceback, which tends to quote values, is redacted."""
    parser = LineParser(Redactor((SECRET,)))
    lines = [parser.parse(line) for line in (b"Traceback (most recent call last):", b"  call('token=abc')",
                                             b"ValueError: token=abc")]
    assert [line.message for line in lines][1:] == ["  call('[redacted]", "ValueError: [redacted]"]
    assert {line.level for line in lines} == {ERROR}


def test_without_patterns_nothing_is_redacted() -> None:
    """No pattern is built in."""
    assert Redactor(())("token=abc \x1b") == "token=abc \x1b"
