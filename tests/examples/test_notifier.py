"""The notifier, alone: what it says on the wire."""
from __future__ import annotations

import json
from typing import Iterator

import pytest

from tests.examples.wire import EXAMPLES, Wire, WireError, program

NOTIFIER = EXAMPLES / "sync_service" / "plugins" / "notifier" / "notifier.js"


@pytest.fixture
def notifier() -> Iterator[Wire]:
    """A notifier that has answered the handshake."""
    with Wire([program("node", "notifier"), str(NOTIFIER)]) as wire:
        wire.handshake("notifier")
        yield wire


@pytest.mark.req("R1", "R12", "R13", "R20")
def test_handshake_declares_name_events_and_routes(notifier: Wire) -> None:
    """The handshake's result has every field that a host needs."""
    result = notifier.handshake("notifier")
    assert (result["name"], result["version"], result["events"]) == ("notifier", "1.0.0", ["Sync*"])
    assert {(route["method"], route["path"]) for route in result["routes"]} == {
        ("GET", "/events"), ("GET", "/settings"), ("PUT", "/settings")}
    assert isinstance(result["capabilities"], list)


def test_an_unknown_protocol_version_is_refused(notifier: Wire) -> None:
    """A host that offers only another protocol is told so."""
    with pytest.raises(WireError, match=r"offered: 2\.0") as caught:
        notifier.request("plugin/handshake", {"name": "notifier", "version": "9", "protocolVersions": ["2.0"]})
    assert caught.value.code == -32602


@pytest.mark.req("R8", "R17")
def test_events_are_kept_in_order(notifier: Wire) -> None:
    """Events come back oldest first, with their sequence numbers and payloads."""
    for sequence, name in enumerate(["SyncStarted", "SyncCompleted", "SyncFailed"], start=1):
        notifier.event(name, {"id": 7, "source": "/ä", "target": "/b"}, sequence)
    answer = notifier.http("GET", "/events")
    assert answer["status"] == 200
    kept = answer["body"]["events"]
    assert [(event["sequence"], event["type"]) for event in kept] == [
        (1, "SyncStarted"), (2, "SyncCompleted"), (3, "SyncFailed")]
    assert kept[0]["payload"] == {"id": 7, "source": "/ä", "target": "/b"}
    assert [event["notified"] for event in kept] == [False, True, True]


def test_only_the_newest_events_are_kept_and_read(notifier: Wire) -> None:
    """`limit` in the settings bounds what is kept, `?limit=` what is read."""
    notifier.http("PUT", "/settings", body={"types": [], "limit": 3})
    for sequence in range(1, 6):
        notifier.event("SyncStarted", {}, sequence)
    assert [e["sequence"] for e in notifier.http("GET", "/events")["body"]["events"]] == [3, 4, 5]
    two = notifier.http("GET", "/events", query={"limit": ["2"]})["body"]
    assert [event["sequence"] for event in two["events"]] == [4, 5]
    assert two["received"] == 5
    assert notifier.http("GET", "/events", query={"limit": ["0"]})["body"]["events"] == []
    assert notifier.http("GET", "/events", query={"limit": ["x"]})["status"] == 400


def test_a_gap_in_the_sequence_counts_as_missed(notifier: Wire) -> None:
    """Numbers that never came are events that the host dropped."""
    for sequence in (4, 5, 9):
        notifier.event("SyncStarted", {}, sequence)
    assert notifier.http("GET", "/events")["body"]["missed"] == 3


@pytest.mark.req("R24")
def test_settings_choose_what_is_notified(notifier: Wire) -> None:
    """After PUT /settings only the types named are logged as notices; the log's level is a syslog prefix."""
    assert notifier.http("GET", "/settings")["body"]["types"] == ["SyncCompleted", "SyncFailed"]
    put = notifier.http("PUT", "/settings", body={"types": ["SyncStarted"]})
    assert (put["status"], put["body"]["types"]) == (200, ["SyncStarted"])
    notifier.event("SyncStarted", {"id": 1, "source": "/a\nb", "target": "/c"}, 1)
    notifier.event("SyncCompleted", {"id": 1}, 2)
    assert notifier.log("SyncStarted 1").startswith("<5>SyncStarted 1: /a b -> /c")
    assert notifier.log("SyncCompleted 1").startswith("<7>")


def test_declared_schema_names_the_event_types(notifier: Wire) -> None:
    """The schema of PUT /settings lets nothing but the application's event types and a sensible limit through."""
    routes = notifier.handshake("notifier")["routes"]
    schema = next(route["schema"] for route in routes if route["method"] == "PUT")
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid({"types": ["SyncStarted"], "limit": 5})
    for wrong in ({}, {"types": ["Other"]}, {"types": [], "limit": 0}, {"types": [], "more": 1}):
        assert not validator.is_valid(wrong)


@pytest.mark.req("R4", "R5", "R7")
def test_unknown_methods_routes_and_broken_json_get_standard_errors(notifier: Wire) -> None:
    """-32601 for a method, 404 for a route, -32700 with a null id for what is not JSON, and the talk goes on."""
    with pytest.raises(WireError) as caught:
        notifier.request("notifier/nothing")
    assert caught.value.code == -32601
    assert notifier.http("GET", "/nothing")["status"] == 404
    notifier.send_bytes(b"Content-Length: 4\r\n\r\n{no}")
    assert notifier.response(None)["error"]["code"] == -32700
    assert notifier.request("plugin/health")["status"] == "ok"


@pytest.mark.req("R6")
def test_frames_may_come_in_any_pieces(notifier: Wire) -> None:
    """Header fields in any case, further fields, and bytes one at a time are read as one frame."""
    body = json.dumps({"jsonrpc": "2.0", "id": "é", "method": "plugin/health"}).encode()
    frame = b"content-LENGTH:  %d \r\nContent-Type: application/json\r\n\r\n%s" % (len(body), body)
    for index in range(len(frame)):
        notifier.send_bytes(frame[index:index + 1])
    assert notifier.response("é")["result"]["status"] == "ok"


@pytest.mark.parametrize("junk", [b"Content-Length: x\r\n\r\n", b"Content-Length: 99999999999\r\n\r\n", b"x" * 5000])
def test_a_stream_that_is_not_the_protocol_ends_the_process(notifier: Wire, junk: bytes) -> None:
    """A framing fault is logged and ends the process with a failure."""
    notifier.send_bytes(junk)
    assert notifier.process.wait(20) == 1
    assert notifier.log("<3>the host's stream is broken")


@pytest.mark.req("R15")
def test_shutdown_is_answered_and_eof_ends_the_process(notifier: Wire) -> None:
    """plugin/shutdown gets an answer; the end of stdin is the end of the process, with code 0."""
    assert notifier.request("plugin/shutdown", {"reason": "test"}) is None
    assert notifier.end() == 0
