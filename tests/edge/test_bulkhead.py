"""A plugin that does not answer, asked by more clients than the server has threads: the application goes on."""
from __future__ import annotations

import uuid
from typing import List

import pytest

from tests.edge.probe import PLAIN, Probe
from tests.edge.site import SHOWING, Site, eventually

PLACES, CLIENTS, ROUNDS = 4, 64, 20
WAIT = b"GET /api/plugins/liar/wait HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: %s\r\n\r\n"


@pytest.mark.fault("R16")
@pytest.mark.parametrize("site", SHOWING, indirect=True)
def test_the_surplus_is_refused_and_others_are_served(site: Site) -> None:
    """Of 64 clients four wait; 60 are told to come back while those still wait, and so is an ordinary view served."""
    ids = [uuid.uuid4().hex for _ in range(CLIENTS)]
    inside: List[Probe] = []
    outside: List[Probe] = []
    try:
        for request_id in ids[:PLACES]:
            inside.append(Probe(site.port))
            inside[-1].send(WAIT % request_id.encode())
        for request_id in ids[:PLACES]:
            eventually(lambda known=request_id: site.noted(known), "the plugin has the request")
        for request_id in ids[PLACES:]:
            outside.append(Probe(site.port))
            outside[-1].send(WAIT % request_id.encode())
        for probe in outside:
            answer = probe.answer()
            probe.close()  # gunicorn waits for that, on the one thread that accepts connections
            assert answer is not None
            assert (answer.status, answer.all("retry-after")) == (503, ["1"])
            assert answer.all("content-type") == ["application/problem+json"]
        for _ in range(ROUNDS):
            with Probe(site.port) as probe:
                probe.send(PLAIN)
                plain = probe.answer()
                assert plain is not None
                assert plain.body == b"plain"
        assert not any(site.cancelled(request_id) for request_id in ids[:PLACES])
    finally:
        for probe in (*inside, *outside):
            probe.close()
    for request_id in ids[:PLACES]:
        eventually(lambda known=request_id: site.cancelled(known), "the plugin is told")
    assert not any(site.noted(request_id) for request_id in ids[PLACES:])
