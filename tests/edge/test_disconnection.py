"""Callers that give up: the plugin is told, and its places are free again, as far as each server shows its clients."""
from __future__ import annotations

import uuid
from typing import Tuple

import pytest

from tests.edge.probe import PLAIN, Probe, in_sync
from tests.edge.site import SHOWING, Site, eventually

PLACES = 4


def _call(site: Site, path: str) -> Tuple[Probe, str]:
    """A connection on which a request was sent, and the request's id."""
    probe, request_id = Probe(site.port), uuid.uuid4().hex
    probe.send(f"GET /api/plugins/{path} HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: {request_id}\r\n\r\n".encode())
    return probe, request_id


def _status(site: Site, path: str) -> int:
    probe, _ = _call(site, path)
    with probe:
        answer = probe.answer()
        assert answer is not None
        return answer.status


@pytest.mark.fault("R16", "R17")
@pytest.mark.parametrize("site", SHOWING, indirect=True)
def test_clients_that_leave(site: Site) -> None:
    """Each of their calls is cancelled long before its time-out, and the plugin has its places back."""
    calls = [_call(site, "liar/wait") for _ in range(PLACES)]
    for _, request_id in calls:
        eventually(lambda known=request_id: site.noted(known), "the plugin has the request")
    surplus, _ = _call(site, "liar/echo")
    with surplus:
        answer = surplus.answer()
        assert answer is not None
        assert (answer.status, answer.all("retry-after")) == (503, ["1"])
    for probe, _ in calls:
        probe.close()
    for _, request_id in calls:
        eventually(lambda known=request_id: site.cancelled(known), "the plugin is told")
    eventually(lambda: _status(site, "liar/echo") == 200, "a place is free")


@pytest.mark.fault("R17")
def test_a_client_that_stays_is_served(site: Site) -> None:
    """However long it takes, and also where the client has sent its next request meanwhile."""
    probe, request_id = _call(site, "liar/slow?seconds=1.3")
    with probe:
        probe.send(PLAIN)
        answer = probe.answer()
        assert answer is not None
        assert (answer.status, answer.body) == (200, b'"slow"')
        if answer.all("connection") != ["close"]:
            in_sync(probe)
    assert not site.cancelled(request_id)


@pytest.mark.fault("R17")
def test_a_time_out_cancels(site: Site) -> None:
    """A caller that waits to the end gets 504, and the plugin is told."""
    probe, request_id = _call(site, "hasty/wait")
    with probe:
        answer = probe.answer()
        assert answer is not None
        assert answer.status == 504
    eventually(lambda: site.cancelled(request_id), "the plugin is told")
