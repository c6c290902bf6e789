"""The handshake's two sides as values: what the host offers, what a plugin declares about itself.

Owns the meaning of a handshake answer whose shape a JSON Schema has already checked (`schemas/handshake-result`):
routes and their paths, event patterns, the protocol version. Pure; called from any thread.
"""
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

from legacy_plugins.errors import InvalidMessage

#: The versions of the `plugin/*` methods that this host speaks, best first.
PROTOCOL_VERSIONS: Tuple[str, ...] = ("1.0",)

HANDSHAKE = "plugin/handshake"
READY = "plugin/ready"
HEALTH = "plugin/health"
SHUTDOWN = "plugin/shutdown"
ON_EVENT = "plugin/onEvent"
ACK_EVENT = "plugin/ackEvent"
PUBLISH_EVENT = "plugin/publishEvent"
HANDLE_REQUEST = "plugin/handleRequest"
CANCEL_REQUEST = "$/cancelRequest"
PROGRESS = "$/progress"

#: The longest path of a route, in characters.
MAX_PATH_LENGTH = 512
#: What a route may serve; OPTIONS is answered by the host, so that declaring it would do nothing.
HTTP_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(\.\.\.)?\}\Z")
_LITERAL = re.compile(r"[A-Za-z0-9._~!$&'()*+,=:@-]+\Z")


@dataclass(frozen=True)
class RouteDeclaration:
    """One HTTP route that a plugin declares.

    `path`: begins with `/`, segments are literal or `{name}`; the last may be `{name...}`, the rest of the path.
    `methods`: upper-case HTTP methods. `auth`: the plugin asks for an authenticated caller. `schema`: JSON Schema
    (2020-12) of the request's body, or None.
    """

    path: str
    methods: Tuple[str, ...]
    description: str = ""
    auth: bool = False
    schema: Optional[Mapping[str, Any]] = None
    name: Optional[str] = None

    @classmethod
    def parse(cls, declared: Mapping[str, Any]) -> RouteDeclaration:
        """A declaration as it stands on the wire, in the shape that its JSON Schema asks for; raises `InvalidMessage`
        that says which other rule it breaks."""
        path = declared["path"]
        _check_path(path)
        methods = declared["method"]
        methods = (methods,) if isinstance(methods, str) else tuple(methods)
        methods = tuple(dict.fromkeys(method.upper() for method in methods))
        for method in methods:
            if method not in HTTP_METHODS:
                raise InvalidMessage(f"route {path!r}: the method {method!r} is not one of {', '.join(HTTP_METHODS)}")
        if not methods:
            raise InvalidMessage(f"route {path!r}: `method` is empty")
        return cls(path, methods, declared.get("description") or "", bool(declared.get("auth", False)),
                   declared.get("schema"), declared.get("name"))

    def to_wire(self) -> Dict[str, Any]:
        """The declaration as JSON."""
        wire: Dict[str, Any] = {"path": self.path, "method": list(self.methods), "auth": self.auth}
        if self.description:
            wire["description"] = self.description
        for key in ("schema", "name"):
            if getattr(self, key) is not None:
                wire[key] = getattr(self, key)
        return wire


def _check_path(path: str) -> None:
    """Refuse a path template that could match something its author did not mean."""
    if path == "/":
        return
    if not path.startswith("/") or path.endswith("/") or len(path) > MAX_PATH_LENGTH:
        raise InvalidMessage(f"route {path!r}: a path begins with `/`, does not end with it, and has at most "
                             f"{MAX_PATH_LENGTH} characters")
    names = []
    segments = path[1:].split("/")
    for position, segment in enumerate(segments):
        parameter = _PARAMETER.match(segment)
        if parameter is not None:
            names.append(parameter.group(1))
            if parameter.group(2) and position != len(segments) - 1:
                raise InvalidMessage(f"route {path!r}: `{segment}` takes the rest of the path and must be its last "
                                     "segment")
        elif not _LITERAL.match(segment) or segment in (".", ".."):
            raise InvalidMessage(f"route {path!r}: the segment {segment!r} is neither literal text nor `{{name}}`")
    if len(set(names)) != len(names):
        raise InvalidMessage(f"route {path!r}: a parameter name is used twice")


def parse_routes(declared: Sequence[Mapping[str, Any]]) -> Tuple[RouteDeclaration, ...]:
    """All routes of a declaration; raises `InvalidMessage` for a bad one or for the same path and method twice."""
    routes = tuple(RouteDeclaration.parse(route) for route in declared)
    seen: Dict[Tuple[str, str], str] = {}
    for route in routes:
        shape = re.sub(r"\{[^}.]*(\.\.\.)?\}", r"{\1}", route.path)
        for method in route.methods:
            if (shape, method) in seen:
                raise InvalidMessage(f"routes {seen[shape, method]!r} and {route.path!r} both declare {method}")
            seen[shape, method] = route.path
    return routes


@dataclass(frozen=True)
class HandshakeResult:
    """What a plugin says about itself."""

    name: str
    version: str
    capabilities: Tuple[str, ...] = ()
    routes: Tuple[RouteDeclaration, ...] = ()
    events: Tuple[str, ...] = ()
    reverse_rpc: bool = False
    protocol_version: str = PROTOCOL_VERSIONS[0]
    ready: bool = True

    @classmethod
    def parse(cls, answer: Mapping[str, Any]) -> HandshakeResult:
        """An answer of the right shape; raises `InvalidMessage` for a version we did not offer or a bad route."""
        version = answer.get("protocolVersion", PROTOCOL_VERSIONS[0])
        if version not in PROTOCOL_VERSIONS:
            raise InvalidMessage(f"the handshake's protocolVersion is {version!r}; offered were "
                                 f"{', '.join(map(repr, PROTOCOL_VERSIONS))}")
        return cls(answer["name"], answer["version"], tuple(answer.get("capabilities") or ()),
                   parse_routes(answer.get("routes") or ()), tuple(answer.get("events") or ()),
                   bool(answer.get("reverseRpc", False)), version, bool(answer.get("ready", True)))


def handshake_params(plugin: str, host_name: str, host_version: str, *, reverse_rpc: bool,
                     max_frame_bytes: int) -> Dict[str, Any]:
    """What the host says in `plugin/handshake`; `plugin` is the name that the host expects."""
    return {
        "name": plugin, "version": host_version, "supportsReverseRpc": reverse_rpc,
        "protocolVersions": list(PROTOCOL_VERSIONS), "host": {"name": host_name, "version": host_version},
        "limits": {"maxFrameBytes": max_frame_bytes},
    }
