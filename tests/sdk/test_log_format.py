"""The plugin's log: one line a record, in a form that the host turns back into records."""
from __future__ import annotations

import json
import logging
import sys
from typing import Any, Dict

import pytest

from legacy_plugins.errors import ProtocolError
from legacy_plugins.protocol.codec import JsonCodec
from legacy_plugins.sdk.jobs import CURRENT, Job
from legacy_plugins.sdk.log_format import MAX_CHARACTERS, JsonLines, users_part
from tests.sdk.plugin_process import Start


def _record(level: int = logging.INFO, message: str = "text %s", *args: Any, **keys: Any) -> logging.LogRecord:
    return logging.getLogger("report.db").makeRecord("report.db", level, "file", 1, message, args or ("ä\nb",),
                                                     keys.get("exc_info"), extra=keys.get("extra"),
                                                     sinfo=keys.get("sinfo"))


def _fields(record: logging.LogRecord) -> Dict[str, Any]:
    line = JsonLines().format(record)
    assert "\n" not in line
    fields: Dict[str, Any] = json.loads(line)
    return fields


@pytest.mark.req("R24")
@pytest.mark.parametrize(("level", "name"), [
    (logging.DEBUG, "debug"), (5, "debug"), (logging.INFO, "info"), (25, "info"), (logging.WARNING, "warning"),
    (logging.ERROR, "error"), (logging.CRITICAL, "critical"), (99, "critical")])
def test_a_record_is_one_line_that_the_host_understands(level: int, name: str) -> None:
    """Level, logger and message come back out of the host's reading of the line; line breaks stay inside."""
    from legacy_plugins.host.log_lines import LineParser, Redactor  # host and plugin side meet in tests alone

    record = _record(level)
    assert _fields(record) == {"level": name, "message": "text ä\nb", "logger": "report.db"}
    line = LineParser(Redactor(())).parse(JsonLines().format(record).encode("utf-8"))
    assert logging.getLevelName(line.level).lower() == name
    assert line.message.startswith("text ä\\nb")


@pytest.mark.req("R24")
def test_what_is_given_as_extra_is_kept() -> None:
    """Further fields are kept as they are where they are plain, else as a short text."""
    extra = {"rows": 3, "share": 0.5, "done": True, "nothing": None, "user": "ä", "thing": {"a": 1}, "long": "x" * 1000,
             "level": "not mine"}
    fields = _fields(_record(extra=extra))
    assert fields["level"] == "info"
    assert (fields["rows"], fields["share"], fields["done"], fields["nothing"], fields["user"], fields["thing"]) == (
        3, 0.5, True, None, "ä", "{'a': 1}")
    assert fields["long"] == "x" * 300 + "..."
    assert len(_fields(_record(extra={f"key{n}": n for n in range(100)}))) == 3 + 20


def test_a_request_s_id_is_in_its_records() -> None:
    """What is logged while an HTTP request is handled carries the request's id."""
    token = CURRENT.set(Job("a route", lambda: None, trace="r-1"))
    try:
        assert _fields(_record())["requestId"] == "r-1"
    finally:
        CURRENT.reset(token)
    assert "requestId" not in _fields(_record())


def _raise(depth: int) -> None:
    if depth:
        _raise(depth - 1)
    raise ValueError("the last " + "word" * 10)


def test_tracebacks_stay_in_their_line() -> None:
    """A traceback is a field of its record, and a very long one loses its middle, not its end."""
    try:
        _raise(0)
    except ValueError:
        fields = _fields(_record(exc_info=sys.exc_info()))
    assert fields["exception"].startswith("Traceback (most recent call last):\n")
    assert fields["exception"].endswith("ValueError: the last " + "word" * 10)
    try:
        raise ValueError("x" * 20_000 + "the end")
    except ValueError:
        line = JsonLines().format(_record(exc_info=sys.exc_info(), sinfo="Stack:\n  here"))
    fields = json.loads(line)
    assert fields["exception"].endswith("the end")
    assert "characters ...]" in fields["exception"]
    assert fields["stack"] == "Stack:\n  here"
    assert len(line) < 2 * MAX_CHARACTERS
    record = _record()
    record.exc_text = "made before"
    assert _fields(record)["exception"] == "made before"


def test_the_frames_around_user_code_are_left_out() -> None:
    """A traceback begins where the plugin's own code does; one that is all the library's stays whole."""
    try:
        JsonCodec().decode(b"{")
    except ProtocolError as error:
        whole = users_part(error)
        assert whole[2] is not None
        assert whole[2].tb_frame.f_code.co_name == "test_the_frames_around_user_code_are_left_out"
        shortened = error.with_traceback(whole[2].tb_next)
        assert users_part(shortened)[2] is whole[2].tb_next


LOGGING = """
import logging, warnings
SETUP
plugin = Plugin("logging")
log = logging.getLogger("report.db")

@plugin.method("log")
def write(params):
    log.debug("at debug")
    log.info("at info", extra={"rows": 3})
    log.warning("at %s", "warning")
    return logging.getLogger().level

plugin.run()
"""


@pytest.mark.req("R24")
def test_log_records_reach_stderr(start: Start) -> None:
    """Without any configuration the plugin's records of INFO and above are JSON lines on stderr."""
    plugin = start(LOGGING.replace("SETUP", ""))
    assert plugin.request("log") == logging.INFO
    assert json.loads(plugin.log("at info")) == {
        "level": "info", "message": "at info", "logger": "report.db", "rows": 3}
    assert json.loads(plugin.log("at warning"))["level"] == "warning"
    assert not [line for line in plugin.logs if "at debug" in line]


@pytest.mark.parametrize(("setup", "level", "line"), [
    ("logging.basicConfig(level='WARNING', format='mine: %(message)s')", logging.WARNING, "mine: at warning"),
    ("logging.getLogger().setLevel('DEBUG')", logging.DEBUG,
     '{"level":"debug","message":"at debug","logger":"report.db"}'),
])
def test_the_plugins_own_logging_is_left_alone(start: Start, setup: str, level: int, line: str) -> None:
    """A plugin that configured logging keeps its handlers; one that only chose a level keeps the level."""
    plugin = start(LOGGING.replace("SETUP", setup))
    assert plugin.request("log") == level
    assert plugin.log(line) == line


def test_a_terminal_gets_plain_text(start: Start) -> None:
    """Where stderr is a terminal, records are written for people."""
    plugin = start(LOGGING.replace("SETUP", "sys.stderr.isatty = lambda: True"))
    plugin.request("log")
    assert plugin.log("at warning") == "WARNING: report.db: at warning"
