"""The handshake as values: what the host offers, what a plugin may declare."""
from __future__ import annotations

from typing import Any, Dict, List

import pytest

from legacy_plugins.errors import InvalidMessage
from legacy_plugins.protocol import handshake
from legacy_plugins.protocol.handshake import HandshakeResult, RouteDeclaration, handshake_params, parse_routes

GOOD_PATHS = [
    "/", "/a", "/items/{id}", "/{a}/{b_2}/{_c}", "/files/{path...}", "/{rest...}", "/A-Z_0.9~!$&'()*+,=:@", "/...",
    "/a..b", "/" + "a" * 511,
]
BAD_PATHS = {
    "": "begins with `/`", "a": "begins with `/`", "/a/": "does not end with it", "//": "does not end with it",
    "/" + "a" * 512: "at most 512 characters",
    "//a": "the segment '' is neither", "/a//b": "the segment '' is neither", "/./a": "the segment '.' is neither",
    "/a/../b": "the segment '..' is neither", "/a%2fb": "the segment 'a%2fb' is neither", "/a b": "is neither literal",
    **dict.fromkeys([
        "/a\\b", "/a;b", "/a?b", "/a#b", "/a\n", "/{a}\n", "/é", "/a\0", "/\ud800", "/<int:a>", "/{}", "/{...}",
        "/{1a}", "/{a-b}", "/x{a}", "/{a}x", "/{a", "/{{a}}", "/{a..}"], "is neither literal text nor `{name}`"),
    "/{a...}/b": "must be its last segment", "/{a}/{a}": "a parameter name is used twice",
    "/{a}/{a...}": "a parameter name is used twice",
}


@pytest.mark.req("R20")
@pytest.mark.parametrize("path", GOOD_PATHS)
def test_paths_that_may_be_declared(path: str) -> None:
    """Literal segments, parameters, and the rest of the path at the end."""
    assert RouteDeclaration.parse({"path": path, "method": "GET"}).path == path


@pytest.mark.req("R20")
@pytest.mark.parametrize(("path", "reason"), list(BAD_PATHS.items()), ids=ascii)
def test_paths_that_are_refused(path: str, reason: str) -> None:
    """A template that could match what its author did not mean is refused, with the segment that is at fault."""
    with pytest.raises(InvalidMessage) as caught:
        RouteDeclaration.parse({"path": path, "method": "GET"})
    assert reason in str(caught.value)


@pytest.mark.req("R20")
def test_a_declaration_is_read_and_written() -> None:
    """All members are kept, methods are upper-cased and listed once; writing and reading again changes nothing."""
    wire: Dict[str, Any] = {"path": "/a/{b}", "method": ["post", "PUT", "POST"], "description": "d", "auth": True,
                            "schema": {}, "name": "n"}
    route = RouteDeclaration.parse(wire)
    assert route == RouteDeclaration("/a/{b}", ("POST", "PUT"), "d", True, {}, "n")
    assert route.to_wire() == {**wire, "method": ["POST", "PUT"]}
    assert RouteDeclaration.parse(route.to_wire()) == route


@pytest.mark.req("R20")
def test_a_short_declaration() -> None:
    """Path and method suffice; what was not declared is not written either."""
    route = RouteDeclaration.parse({"path": "/", "method": "get"})
    assert route == RouteDeclaration("/", ("GET",))
    assert route.to_wire() == {"path": "/", "method": ["GET"], "auth": False}


@pytest.mark.req("R20")
@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "", "GET ", "*", ["GET", "BREW"], []], ids=repr)
def test_methods_that_are_refused(method: Any) -> None:
    """Only the usual methods can be routed, and a route needs one."""
    with pytest.raises(InvalidMessage, match=r"route '/a': .*method"):
        RouteDeclaration.parse({"path": "/a", "method": method})


SAME: List[List[Dict[str, Any]]] = [
    [{"path": "/a", "method": "GET"}, {"path": "/a", "method": ["POST", "get"]}],
    [{"path": "/a/{b}", "method": "GET"}, {"path": "/a/{c}", "method": "GET"}],
    [{"path": "/a/{b...}", "method": "GET"}, {"path": "/a/{c...}", "method": "GET"}],
]


@pytest.mark.req("R20")
@pytest.mark.parametrize("routes", SAME)
def test_two_routes_for_one_request_are_refused(routes: List[Dict[str, Any]]) -> None:
    """The same path, whatever its parameters are called, can be declared once a method; both paths are told."""
    with pytest.raises(InvalidMessage, match="both declare GET") as caught:
        parse_routes(routes)
    assert all(repr(route["path"]) in str(caught.value) for route in routes)


@pytest.mark.req("R20")
def test_routes_that_differ_are_kept_in_order() -> None:
    """A literal, a parameter and a rest in one place differ, and so do methods."""
    paths = ("/a", "/{a}", "/{a...}", "/a/{b}")
    declared = [{"path": path, "method": method} for method in ("GET", "POST") for path in paths]
    assert [route.to_wire() for route in parse_routes(declared)] == [
        {"path": route["path"], "method": [route["method"]], "auth": False} for route in declared]


@pytest.mark.req("R12", "R13")
def test_a_full_answer() -> None:
    """Everything that a plugin may say of itself is kept."""
    answer = {"name": "shop", "version": "2.1", "capabilities": ["x"], "routes": [{"path": "/a", "method": "GET"}],
              "events": ["Sync*"], "reverseRpc": True, "protocolVersion": "1.0", "ready": False, "unknown": 1}
    assert HandshakeResult.parse(answer) == HandshakeResult(
        "shop", "2.1", ("x",), (RouteDeclaration("/a", ("GET",)),), ("Sync*",), True, "1.0", False)


@pytest.mark.req("R9", "R12", "R13")
def test_a_short_answer() -> None:
    """Name and version suffice: no routes, no reverse calls, version 1.0, ready."""
    assert HandshakeResult.parse({"name": "shop", "version": "2"}) == HandshakeResult(
        "shop", "2", (), (), (), reverse_rpc=False, protocol_version="1.0", ready=True)


@pytest.mark.req("R12")
@pytest.mark.parametrize("version", ["2.0", "1", "1.0.0", ""])
def test_a_version_that_was_not_offered(version: str) -> None:
    """The plugin has to pick one of the versions offered; both sides' are told."""
    with pytest.raises(InvalidMessage) as caught:
        HandshakeResult.parse({"name": "shop", "version": "2", "protocolVersion": version})
    assert f"protocolVersion is {version!r}; offered were '1.0'" in str(caught.value)


@pytest.mark.req("R12")
def test_a_bad_route_fails_the_answer() -> None:
    """A plugin whose routes cannot be served is not started without them."""
    with pytest.raises(InvalidMessage, match="route '/a/'"):
        HandshakeResult.parse({"name": "shop", "version": "2", "routes": [{"path": "/a/", "method": "GET"}]})


@pytest.mark.req("R9", "R12")
def test_what_the_host_says() -> None:
    """The params of `plugin/handshake` as they are documented."""
    assert handshake_params("shop", "legacy_plugins", "1.2", reverse_rpc=False, max_frame_bytes=1024) == {
        "name": "shop", "version": "1.2", "supportsReverseRpc": False, "protocolVersions": ["1.0"],
        "host": {"name": "legacy_plugins", "version": "1.2"}, "limits": {"maxFrameBytes": 1024}}


def test_the_method_names() -> None:
    """The names on the wire are a contract with plugins in every language."""
    assert (handshake.HANDSHAKE, handshake.READY, handshake.HEALTH, handshake.SHUTDOWN, handshake.ON_EVENT,
            handshake.ACK_EVENT, handshake.PUBLISH_EVENT, handshake.HANDLE_REQUEST, handshake.CANCEL_REQUEST,
            handshake.PROGRESS) == (
        "plugin/handshake", "plugin/ready", "plugin/health", "plugin/shutdown", "plugin/onEvent", "plugin/ackEvent",
        "plugin/publishEvent", "plugin/handleRequest", "$/cancelRequest", "$/progress")
