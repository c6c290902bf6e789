"""Who may call a route.

Owns the decision between the application's `authorize` hook, the operator's `http.publicRoutes` and the plugin's own
`auth`, in that order of weight: a plugin can ask for more protection, and can never open itself. Runs on the web
server's thread, where the hook is called too; what the hook raises is the application's and passes through. What it
returns is checked here, so that an error of the application's names the hook and not the codec of some later step.
"""
from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional

from legacy_plugins.config.policies import HttpPolicy
from legacy_plugins.http.problems import HttpProblem
from legacy_plugins.protocol.codec import JsonCodec
from legacy_plugins.protocol.handshake import RouteDeclaration

#: `authorize(request, plugin, route)` with the framework's request, the plugin's name and the declaration returns a
#: mapping (allowed; it becomes `user`), True (allowed), None or False (403), or a response of the framework.
Authorize = Callable[[Any, str, RouteDeclaration], Any]

# What a view may return, but a hook hardly means to send: a user's name, id or roles, or a number for a truth.
_NO_RESPONSE = (str, bytes, bytearray, int, float, complex, list, set, frozenset)

#: Arrays and objects in what is told of a user; `bodies` leaves room for them beside the largest body.
MAX_USER_CONTAINERS = 2_000
_codec = JsonCodec()


class Access(NamedTuple):
    """Allowed, with what is known of the caller; or `native`, the framework's response to send instead."""

    user: Optional[Mapping[str, Any]] = None
    native: Any = None


def admitted(native: Any, plugin: str, route: RouteDeclaration, method: str, policy: HttpPolicy,
             authorize: Optional[Authorize]) -> Access:
    """Whether this request may reach the route; raises `HttpProblem` 403, and `TypeError` for a useless verdict.

    `native`: the framework's request. `method`: the request's. Where the operator listed the route as public the hook
    is not asked; without a hook nothing but that list opens a route, and not one that declares `auth`.
    """
    public = policy.is_public(method, route.path)
    if authorize is None:
        if public and not route.auth:
            return Access()
        raise _forbidden()
    if public:
        return Access()
    verdict = authorize(native, plugin, route)
    if verdict is None or verdict is False:
        raise _forbidden()
    if verdict is True:
        return Access()
    if isinstance(verdict, Mapping):
        return Access(user=_user(verdict, plugin))
    if isinstance(verdict, _NO_RESPONSE):
        raise TypeError(f"authorize returned {type(verdict).__name__} for a route of plugin {plugin!r}; return a "
                        "mapping (allowed; it becomes `user`), True (allowed), None or False (403), or a response of "
                        "the framework")
    return Access(native=verdict)


def _user(verdict: Mapping[str, Any], plugin: str) -> Dict[str, Any]:
    """What the plugin is told of the caller; raises `TypeError` for what is no JSON, which never quotes it."""
    user = dict(verdict)
    try:
        text = _codec.encode(user)
    except (TypeError, ValueError) as error:
        raise TypeError(f"authorize returned a mapping for a route of plugin {plugin!r} that cannot be its `user`, "
                        f"which is JSON: {error}; make texts of such values first") from None
    if text.count("[") + text.count("{") > MAX_USER_CONTAINERS:  # those inside texts too, which does no harm
        raise TypeError(f"authorize returned a mapping for a route of plugin {plugin!r} that has more than "
                        f"{MAX_USER_CONTAINERS} arrays and objects; name the caller, and let the plugin ask for more")
    return user


def _forbidden() -> HttpProblem:
    return HttpProblem(403, "this route is not open to you")
