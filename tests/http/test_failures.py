"""The log line of a failed request."""
from __future__ import annotations

import logging

import pytest

from legacy_plugins.http.failures import log_failure


def test_the_line_names_request_and_plugin(caplog: pytest.LogCaptureFixture) -> None:
    """Id, method, path, plugin, status and reason; plugin and id are fields of the record too."""
    log_failure(logging.WARNING, 504, "slow", method="GET", path="/häuser", plugin="shop", request_id="r-1")
    (record,) = caplog.records
    assert record.getMessage() == "request r-1 (GET /häuser) for plugin shop answered with 504: slow"
    assert (record.name, record.levelname) == ("legacy_plugins.http", "WARNING")
    assert (record.plugin, record.request_id) == ("shop", "r-1")  # type: ignore[attr-defined]


def test_nobody_writes_a_line_of_their_own(caplog: pytest.LogCaptureFixture) -> None:
    """Method, path and reason are escaped and bounded, whatever clients and plugins put there."""
    log_failure(logging.ERROR, 502, "a\nb\u2028\x1b[31m\udc80" + "r" * 5000, method="GET\r\nX" * 9,
                path="/a\nERROR forged" + "p" * 500, plugin=None, request_id="r-1")
    text = caplog.records[0].getMessage()
    assert text.isprintable()
    assert "(GET\\r\\nXGET\\r... /a\\nERROR forgedppp" in text
    assert "a\\nb\\u2028\\x1b[31m\\udc80rrr" in text
    assert len(text) < 2400
