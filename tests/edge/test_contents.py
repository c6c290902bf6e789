"""Large and binary bodies and files through real servers, byte for byte, in parts and not at all."""
from __future__ import annotations

import hashlib
import random
from typing import Any, Dict, List, Tuple

import pytest

from tests.edge.probe import Answer, ask
from tests.edge.site import MAX_BODY, Site

FILE = bytes(range(256)) * 4000
SIZE = len(FILE)


def _post(site: Site, content_type: str, body: bytes) -> Answer:
    head = f"POST /api/plugins/liar/binary HTTP/1.1\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}"
    answer, _ = ask(site.port, head.encode(), body)
    assert answer is not None
    return answer


@pytest.mark.req("R22")
@pytest.mark.fault("R5", "R15")
@pytest.mark.parametrize("content_type", ["application/octet-stream", "image/png", "multipart/form-data; boundary=x"])
def test_binary_bodies_go_both_ways(site: Site, content_type: str) -> None:
    """As many bytes as the plugin takes come back as they were sent."""
    body = random.Random(content_type).getrandbits(8 * MAX_BODY).to_bytes(MAX_BODY, "big")
    answer = _post(site, content_type, body)
    assert answer.status == 200
    assert hashlib.sha256(answer.body).digest() == hashlib.sha256(body).digest()
    assert answer.all("content-type") == ["application/octet-stream"]


@pytest.mark.parametrize(("content_type", "body"), [
    ("application/json", b'{"\xc3\xa9": ["\\u0000", 1e300, -0.5]}'), ("text/plain", "\u20ac\0\u2028".encode() * 1000),
])
def test_texts_go_both_ways(site: Site, content_type: str, body: bytes) -> None:
    """JSON and text with all that they may hold."""
    answer = _post(site, content_type, body)
    assert answer.status == 200
    assert answer.body == body if content_type == "text/plain" else answer.body.startswith('{"é":["\\u0000",'.encode())


def _file(site: Site, *, method: bytes = b"GET", **headers: str) -> Answer:
    fields = "".join(f"\r\n{name.replace('_', '-')}: {value}" for name, value in headers.items())
    answer, _ = ask(site.port, method + b" /api/plugins/liar/say/the-file HTTP/1.1" + fields.encode(), method=method)
    assert answer is not None
    return answer


@pytest.mark.req("R22")
@pytest.mark.fault("R10", "R12", "R22")
def test_files(site: Site) -> None:
    """Whole, in one part, several at once (then whole), outside (416), unchanged (304), without a body for HEAD."""
    whole = _file(site)
    etag = whole.all("etag")[0]
    wanted: List[Tuple[Dict[str, Any], int, bytes]] = [
        ({}, 200, FILE), ({"range": "bytes=500000-700000"}, 206, FILE[500000:700001]),
        ({"range": "bytes=-7"}, 206, FILE[-7:]), ({"range": "bytes=0-0,9-9"}, 200, FILE),
        ({"range": "lines=1-2"}, 200, FILE), ({"if_none_match": etag}, 304, b""),
        ({"if_modified_since": whole.all("last-modified")[0]}, 304, b""),
        ({"range": "bytes=1-2", "if_range": etag}, 206, FILE[1:3]),
        ({"range": "bytes=1-2", "if_range": '"x"'}, 200, FILE),
        ({"method": b"HEAD"}, 200, b""), ({"method": b"HEAD", "range": "bytes=1-2"}, 206, b"")]
    for fields, status, body in wanted:
        answer = _file(site, **fields)
        assert (answer.status, hashlib.sha256(answer.body).digest()) == (status, hashlib.sha256(body).digest()), fields
        assert answer.all("x-content-type-options") == ["nosniff"]
    assert _file(site, range=f"bytes={SIZE}-").all("content-range") == [f"bytes */{SIZE}"]
    for fields in ({"range": f"bytes={SIZE}-"}, {"if_match": '"x"'}):
        assert _file(site, **fields).all("content-type") == ["application/problem+json"]
