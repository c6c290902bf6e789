"""A request as a plugin gets it: the params of `plugin/handleRequest`.

Owns the shape that the wire contract gives them. What identifies the caller comes from the framework and the
`authorize` hook alone. Each parameter of the query is an array to the plugin's reader, which counts arrays and objects:
so many of them that they could crowd out the body are refused. Any thread, no state.
"""
from __future__ import annotations

import re
from typing import Any, Dict, Mapping, Optional

from legacy_plugins.http.bodies import Body
from legacy_plugins.http.headers import forwarded
from legacy_plugins.http.identity import traceparent
from legacy_plugins.http.messages import HttpRequest
from legacy_plugins.http.paths import joined
from legacy_plugins.http.prefixes import Located
from legacy_plugins.http.problems import HttpProblem
from legacy_plugins.http.routes import Match

#: Names in a query; twice what frameworks take by default. `bodies` leaves room for them beside the largest body.
MAX_QUERY_NAMES = 2_000
# A name or an address, and a port. Frameworks differ in what else they take for a host: some take two of them.
_HOST = re.compile(r"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?\Z")


def request_params(request: HttpRequest, located: Located, match: Match, body: Body, *,
                   user: Optional[Mapping[str, Any]], request_id: str, seconds: float) -> Dict[str, Any]:
    """The params of one `plugin/handleRequest`; `seconds`: what is left until the request's deadline.

    Raises `HttpProblem` 400 for a query of more than `MAX_QUERY_NAMES`.
    """
    query = request.query or {}
    if len(query) > MAX_QUERY_NAMES:
        raise HttpProblem(400, f"the query has more than {MAX_QUERY_NAMES} names")
    params: Dict[str, Any] = {
        "route": match.route.declaration.path,
        "path": joined(located.segments),
        "method": match.method,
        "mount": request.script_root + located.prefix,
        "pathParams": match.path_params,
        "query": {name: list(values) for name, values in query.items()},
        "headers": forwarded(request.headers, located.plugin.http.forward_headers),
        "client": {"address": request.client_address, "scheme": request.scheme,
                   "host": request.host if _HOST.match(request.host) else ""},
        "body": body.value,
        "bodyEncoding": body.encoding,
        "user": None if user is None else dict(user),
        "requestId": request_id,
        "deadlineMs": max(1, int(seconds * 1000)),
    }
    trace = traceparent(request.headers)
    if trace is not None:
        params["traceparent"] = trace
    return params
