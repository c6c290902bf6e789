"""The plugin's routes: what is declared to the host, and which handler a request is for.

The host has matched the path already and says which declaration it was; nothing is matched here. Filled while the
plugin's module is loaded; afterwards any thread reads it.
"""
from __future__ import annotations

import inspect
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from legacy_plugins.errors import InvalidMessage
from legacy_plugins.protocol.codec import JsonCodec
from legacy_plugins.protocol.handshake import RouteDeclaration
from legacy_plugins.sdk.error import Error
from legacy_plugins.sdk.http import Request

#: `fn(request)` returns a `Response`, a body, or None.
RouteHandler = Callable[[Request], Any]

_NOT_FOUND = 404
_METHOD_NOT_ALLOWED = 405
_MAX_DESCRIPTION = 4000


class RouteTable:
    """Routes by declared path and method."""

    def __init__(self) -> None:
        self._declarations: List[RouteDeclaration] = []
        self._handlers: Dict[Tuple[str, str], RouteHandler] = {}
        self._shapes: Dict[Tuple[str, str], str] = {}  # paths without the parameters' names, which match the same

    def __len__(self) -> int:
        return len(self._declarations)

    def add(self, path: str, methods: Union[str, Sequence[str]], handler: RouteHandler, *, auth: bool = False,
            schema: Optional[Mapping[str, Any]] = None, description: Optional[str] = None,
            name: Optional[str] = None) -> None:
        """Declare a route. Raises `ValueError` that says which rule it breaks, `TypeError` for what is not JSON."""
        if not isinstance(path, str):
            raise TypeError(f'@plugin.route takes a path, such as "/items/{{id}}", not {path!r}')
        if schema is not None:
            JsonCodec().encode(schema)
        if description is None:
            description = (inspect.getdoc(handler) or "").split("\n\n")[0].replace("\n", " ")
        try:
            route = RouteDeclaration.parse({
                "path": path, "method": methods if isinstance(methods, str) else list(methods),
                "description": description[:_MAX_DESCRIPTION], "auth": auth, "schema": schema, "name": name})
        except InvalidMessage as error:
            raise ValueError(str(error)) from None
        shape = "/".join(map(_shape, path.split("/")))
        for method in route.methods:
            if (shape, method) in self._shapes:
                raise ValueError(f"routes {self._shapes[shape, method]!r} and {path!r} both declare {method}")
            self._shapes[shape, method] = path
            self._handlers[path, method] = handler
        self._declarations.append(route)

    def to_wire(self) -> List[Dict[str, Any]]:
        """All declarations, as JSON."""
        return [route.to_wire() for route in self._declarations]

    def find(self, path: str, method: str) -> RouteHandler:
        """The handler of a declared path; raises `Error` 404 or 405."""
        handler = self._handlers.get((path, method))
        if handler is None and method == "HEAD":
            handler = self._handlers.get((path, "GET"))
        if handler is not None:
            return handler
        if any(route.path == path for route in self._declarations):
            raise Error(_METHOD_NOT_ALLOWED, f"the route {path!r} does not take {method}")
        raise Error(_NOT_FOUND, f"there is no route {path!r}")


def _shape(segment: str) -> str:
    if not segment.startswith("{"):
        return segment
    return "{...}" if segment.endswith("...}") else "{}"
