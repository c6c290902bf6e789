"""What clients get, and the log keeps, of a plugin's error in an application's own view."""
from __future__ import annotations

import logging

import pytest

from legacy_plugins import errors
from legacy_plugins.http.view_errors import error_response
from tests.http.fakes import problem


@pytest.mark.parametrize(("error", "status", "lines"), [
    (errors.PluginTimeout("it slept", plugin="shop"), 504, 1), (errors.RpcError(404, "none", plugin="shop"), 404, 0),
    (errors.PluginUnavailable("shop", message="it sleeps"), 503, 0),
])
def test_an_error_is_answered_and_logged(error: errors.PluginError, status: int, lines: int,
                                         caplog: pytest.LogCaptureFixture) -> None:
    """Its status, a general text, the request's id; the error's own text in the log from 500 on."""
    with caplog.at_level(logging.WARNING, "legacy_plugins.http"):
        answer = error_response(error, method="GET", path="/view", given_id="r-1")
    assert (answer.status, answer.header("x-request-id")) == (status, "r-1")
    assert problem(answer)["plugin"] == "shop"
    assert len(caplog.records) == lines
    assert all("it slept" in record.getMessage() and "r-1" in record.getMessage() for record in caplog.records)
    assert error_response(error, method="HEAD", path="/view", given_id=None).body == b""
