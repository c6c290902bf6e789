"""Request ids and trace context."""
from __future__ import annotations

from typing import Optional

import pytest

from legacy_plugins.http.identity import request_id, traceparent

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize("given", ["abc-123", "A.b_c", "x" * 128])
def test_a_sane_id_is_kept(given: str) -> None:
    """The client's id is passed on where it is a plain token."""
    assert request_id(given) == given


@pytest.mark.parametrize("given", [None, "", "x" * 129, "a b", "a\n", "é", "a\r\nX: 1", "<script>"])
def test_any_other_id_is_replaced(given: Optional[str]) -> None:
    """By a fresh one, which is itself sane."""
    first, second = request_id(given), request_id(given)
    assert first != second
    assert request_id(first) == first


@pytest.mark.parametrize(("values", "expected"), [
    ([TRACE], TRACE), ([TRACE.replace("00-", "cc-", 1)], TRACE.replace("00-", "cc-", 1)), ([], None),
    ([TRACE, TRACE], None),
    ([TRACE.upper()], None), (["ff" + TRACE[2:]], None), ([TRACE + "-x"], None), ([TRACE[:-1]], None),
    ([TRACE + "\n"], None),
    (["00-" + "0" * 32 + TRACE[35:]], None), ([TRACE[:36] + "0" * 16 + "-01"], None),
])
def test_only_a_valid_traceparent_is_passed_on(values: list, expected: Optional[str]) -> None:  # type: ignore[type-arg]
    """One field, of the form that W3C Trace Context gives it, with ids that are not all zeros."""
    assert traceparent([("Traceparent", value) for value in values]) == expected
