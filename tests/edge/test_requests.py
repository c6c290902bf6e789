"""What dishonest clients send: a plugin gets a request as it was meant, or none; nobody's identity can be claimed."""
from __future__ import annotations

import re
import uuid
from typing import List

import pytest

from tests.edge.probe import PLAIN, Answer, Probe
from tests.edge.requests import PREFIX, REQUESTS
from tests.edge.site import FORWARDED, MAX_BODY, Site

_FINE = {200, 400, 404, 405, 411, 413, 414, 415, 417, 431, 501, 505}
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f]")


def _answers(site: Site, data: bytes, method: bytes) -> List[Answer]:
    """All that is answered to a request with an ordinary one after it, up to the ordinary answer."""
    answers: List[Answer] = []
    with Probe(site.port) as probe:
        probe.send(data)
        probe.speaks_within(1.0)  # not where the server waits for more
        probe.send(PLAIN)
        while not answers or answers[-1].body != b"plain":
            answer = probe.answer(method if not answers else b"GET")
            if answer is None:
                break
            answers.append(answer)
            if answer.all("connection") == ["close"]:  # werkzeug drains what was sent first, for as long as we stay
                break
    return answers


@pytest.mark.fault("R5", "R6", "R7", "R8", "R20", "G11")
@pytest.mark.parametrize("case", REQUESTS)
def test_dishonest_requests(site: Site, case: str) -> None:
    """An answer that is no error of ours, or none; the body as it was sent, or no request; only fields that may be."""
    data, bodies = REQUESTS[case]
    request_id = uuid.uuid4().hex
    before = len(site.notes())
    answers = _answers(site, data.replace(b"%ID%", request_id.encode()), data.split(b" ")[0])
    assert {answer.status for answer in answers} <= _FINE
    assert not [answer for answer in answers if b"Traceback" in answer.body]
    for note in site.notes()[before:]:
        if site.name == "waitress" and note["path"] == "/files/smuggled":
            continue  # waitress goes by the chunks and keeps the connection (RFC 9112, section 6.1, allows the former)
        assert note["path"] == "/echo"
        assert site.name == "waitress" or note["body"] in bodies
        assert set(note["headers"]) <= FORWARDED
        assert not _CONTROL.search("".join(note["headers"].values()))
        assert (note["user"], note["client"]["address"], note["mount"]) == (None, "127.0.0.1", PREFIX.decode())
        assert "evil" not in note["client"]["host"]
        assert "traceparent" not in note


@pytest.mark.fault("R6", "R7", "R8")
def test_what_a_plugin_gets_of_the_header(site: Site) -> None:
    """Listed fields alone; of those none that Connection names, that claims an identity, or that has an underscore."""
    for case, expected in (("identities", {"cookie": "a=1"}), ("connection", {})):
        request_id = uuid.uuid4().hex
        assert _answers(site, REQUESTS[case].data.replace(b"%ID%", request_id.encode()), b"GET")[0].status == 200
        (note,) = site.noted(request_id)
        assert note["headers"] == expected
        assert note["client"]["host"] == "localhost"


@pytest.mark.fault("R5")
def test_a_body_of_unknown_length_is_read_or_refused(site: Site) -> None:
    """A chunked body reaches the plugin whole, or is 411 where the server does not take such; it is never lost."""
    request_id = uuid.uuid4().hex
    data = (b"POST " + PREFIX + b"/echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
            b"Connection: close\r\nTransfer-Encoding: chunked\r\nX-Request-ID: " + request_id.encode() + b"\r\n\r\n")
    with Probe(site.port) as probe:
        probe.send(data + b"".join(b"3e8\r\n" + b"x" * 1000 + b"\r\n" for _ in range(100)) + b"0\r\n\r\n")
        answer = probe.answer()
    assert answer is not None
    if site.name.startswith("uwsgi"):
        assert (answer.status, site.noted(request_id)) == (411, [])
    else:
        assert answer.status == 200
        assert site.noted(request_id)[0]["body"] == "x" * 100_000


@pytest.mark.fault("R5", "R16")
def test_slow_uploads_hold_no_place(site: Site) -> None:
    """More uploads under way than the plugin has places (4): others are still served."""
    head = (b"POST " + PREFIX + b"/echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
            b"Connection: close\r\nContent-Length: %d\r\n\r\n" % MAX_BODY)
    probes = [Probe(site.port) for _ in range(5)]
    try:
        for probe in probes:
            probe.send(head + b"x" * 1000)
        with Probe(site.port) as probe:
            probe.send(b"GET " + PREFIX + b"/echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = probe.answer()
            assert answer is not None
            assert answer.status == 200
        probes[0].send(b"x" * (MAX_BODY - 1000))
        finished = probes[0].answer()
        assert finished is not None
        assert finished.status == 200
    finally:
        for probe in probes:
            probe.close()
