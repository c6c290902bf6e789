"""The way of one HTTP request through the web edge.

Owns the order in which a request is checked, and the moment at which it becomes a call: whatever can be refused without
the plugin is refused before the plugin is bothered, and whatever the client can draw out (its upload) happens before
the request takes one of the plugin's places. Runs on the web server's thread, once a request; keeps a table of routes
that is swapped whole and needs no lock. Must not import a framework.
"""
from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Mapping, Optional

from legacy_plugins.errors import ConfigError, PluginCrashed, PluginError, PluginTimeout, PluginUnavailable
from legacy_plugins.host.lifecycle import PluginState
from legacy_plugins.host.log_lines import Redactor
from legacy_plugins.http.access import Authorize, admitted
from legacy_plugins.http.bodies import METHODS_WITH_BODY, Body, decode_body, read_body
from legacy_plugins.http.circuit import circuit_of
from legacy_plugins.http.disconnection import awaited
from legacy_plugins.http.documentation import RouteDocumentation
from legacy_plugins.http.exchange import request_params
from legacy_plugins.http.failures import log_failure
from legacy_plugins.http.identity import request_id
from legacy_plugins.http.limits import limits_of
from legacy_plugins.http.messages import HttpRequest, HttpResponse
from legacy_plugins.http.paths import path_segments
from legacy_plugins.http.prefixes import Located, PluginPrefixes
from legacy_plugins.http.problems import HttpProblem, problem_of, problem_response
from legacy_plugins.http.responses import response_of
from legacy_plugins.http.routes import Match, PluginRoutes, RouteTable, allow, not_allowed
from legacy_plugins.protocol.handshake import HANDLE_REQUEST, HTTP_METHODS
from legacy_plugins.rpc.deadline import Deadline

if TYPE_CHECKING:
    from legacy_plugins.host import PluginHost

logger = logging.getLogger("legacy_plugins.http")

# What routes may declare, and what the host answers for them; TRACE and CONNECT reach nobody.
_METHODS = frozenset((*HTTP_METHODS, "OPTIONS"))
# Characters of a reason that are looked at for secrets: more than are logged, and no more than takes a moment.
_MAX_REASON = 4000


class _Visit:
    """What is known of one request while it is handled: its id, its deadline, and its plugin once that is found."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        self.request_id = request_id(request.request_id)
        self.plugin: Optional[str] = None
        self.deadline: Deadline
        self.asks_application = False  # while the hook runs, whose errors are the application's, plugin errors too


class HttpBridge:
    """Serves the routes of a host's plugins below one mount.

    `host`: may be unused yet; the first request is its first use. `mount`: the path below which plugins are served,
    without the application's root. `authorize`: see `Authorize`; it may be set until the first request. Raises
    `ConfigError` where a plugin's `routePrefix` does not lie below the mount, or inside another's.
    """

    def __init__(self, host: PluginHost, *, mount: str = "/api/plugins", authorize: Optional[Authorize] = None) -> None:
        self.host = host
        self.mount = mount.rstrip("/")
        self.authorize = authorize
        self._prefixes = PluginPrefixes(host.config, self.mount)
        if self._prefixes.faults:
            raise ConfigError(self._prefixes.faults)
        self._table = RouteTable()
        self._limits = limits_of(host)
        self._circuit = circuit_of(host)
        self._documentation = RouteDocumentation(host, self._limits)

    def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer one request. Never raises an error of this library; what `authorize` and the reading raise passes."""
        visit = _Visit(request)
        try:
            response = self._answer(visit)
        except HttpProblem as problem:
            response = self._refused(visit, problem)
        except PluginError as error:
            if visit.asks_application:
                raise
            response = self._refused(visit, problem_of(error))
        if response.native is not None:
            return response
        return response.finished(request.method, visit.request_id)

    def prefix(self, plugin: str) -> Optional[str]:
        """The path under which a plugin is served, without the application's root; None for one that is not."""
        return self._current_prefixes().prefix(plugin)

    def _answer(self, visit: _Visit) -> HttpResponse:
        request, prefixes = visit.request, self._current_prefixes()
        segments = path_segments(request.path, request.raw_path)
        if segments == prefixes.document:
            visit.asks_application = True
            return self._documentation.answer(request, prefixes, self.authorize)
        located = _located(visit, prefixes.find(segments))
        if request.method not in _METHODS:
            known = self._current_table().plugin(located.plugin.name)
            raise not_allowed(known.allowed(located.segments) if known is not None else frozenset())
        routes = self._routes(located, visit.deadline)
        if request.method == "OPTIONS":
            return _options(routes, located)
        match = routes.match(located.segments, request.method)
        visit.asks_application = True
        access = admitted(request.native, located.plugin.name, match.route.declaration, request.method,
                          located.plugin.http, self.authorize)
        visit.asks_application = False
        if access.native is not None:
            return HttpResponse(200, native=access.native)
        self._check_flow(located, match)
        body = _body(visit, located, match)
        seconds = _left(visit, located)
        params = request_params(request, located, match, body, user=access.user, request_id=visit.request_id,
                                seconds=seconds)
        return response_of(self._call(request, located, match, params, seconds), located.plugin.http)

    def _routes(self, located: Located, deadline: Deadline) -> PluginRoutes:
        """The plugin's routes, after its first start where that is under way; raises what the plugin's state means."""
        name = located.plugin.name
        routes = self._current_table().plugin(name)
        if routes is None:
            client = self.host.client(name)
            # Who waits holds a thread of the server too.
            with self._limits.of(name).place(located.plugin.http.max_concurrency):
                client.wait_ready(deadline.left())
            routes = self._current_table().plugin(name)
            if routes is None and client.routes:  # ready this very moment, and the host's tuple is about to follow
                routes = PluginRoutes(client.routes)
            elif routes is None and client.state is not PluginState.READY:
                raise PluginUnavailable(name, client.state)
        if routes is None:
            raise HttpProblem(404, "there is no such route")
        return routes

    def _check_flow(self, located: Located, match: Match) -> None:
        """Refuse a request that comes too fast, or for a route that has been crashing its plugin."""
        plugin = located.plugin
        self._limits.check_rate(plugin.name, plugin.http.rate_limit, self.host.config.rate_limit_storage)
        self._circuit.check(plugin.name, match.route.declaration.path, plugin.restart.reset_after_ms / 1000)

    def _call(self, request: HttpRequest, located: Located, match: Match, params: Mapping[str, Any],
              seconds: float) -> Any:
        """The plugin's result, within one of its places."""
        name = located.plugin.name
        with self._limits.of(name).place(located.plugin.http.max_concurrency):
            client = self.host.client(name)
            try:
                if request.client_gone is None:
                    return client.request(HANDLE_REQUEST, params, timeout=seconds)
                return awaited(client.submit(HANDLE_REQUEST, params, timeout=seconds), request.client_gone)
            except PluginCrashed as error:
                self._circuit.crashed(name, match.route.declaration.path, error.crash)
                raise

    def _current_prefixes(self) -> PluginPrefixes:
        """The prefixes of the host's configuration, which a reload replaces."""
        prefixes = self._prefixes
        if prefixes.config is not self.host.config:
            prefixes = self._prefixes = PluginPrefixes(self.host.config, self.mount)
            for fault in prefixes.faults:
                logger.error("%s; it is not served", fault)
        return prefixes

    def _current_table(self) -> RouteTable:
        declared = self.host.routes()
        table = self._table
        if table.source is not declared:
            table = self._table = RouteTable(declared, table)
        return table

    def _refused(self, visit: _Visit, problem: HttpProblem) -> HttpResponse:
        if problem.status >= 500:
            # A plugin that is down has been announced already; each request that finds it so is no news.
            level = logging.DEBUG if problem.status == 503 else logging.WARNING
            log_failure(level, problem.status, self._reason(visit, problem), method=visit.request.method,
                        path=visit.request.path, plugin=visit.plugin, request_id=visit.request_id)
        return problem_response(problem, plugin=visit.plugin, request_id=visit.request_id)

    def _reason(self, visit: _Visit, problem: HttpProblem) -> str:
        """Why a request failed, for the log; it may quote the plugin, so its `logs.redact` applies."""
        reason = (problem.reason or problem.detail)[:_MAX_REASON]
        patterns = [plugin.logs.redact for plugin in self.host.config.plugins if plugin.name == visit.plugin]
        return Redactor(patterns[0])(reason) if patterns else reason


def _located(visit: _Visit, located: Optional[Located]) -> Located:
    """Note whose request it is, and begin to count its time; raises `HttpProblem` 404 where it is no plugin's."""
    if located is None:
        raise HttpProblem(404, "there is no such plugin")
    visit.plugin = located.plugin.name
    visit.deadline = Deadline(located.plugin.rpc_timeout_ms / 1000)
    return located


def _options(routes: PluginRoutes, located: Located) -> HttpResponse:
    methods = routes.allowed(located.segments)
    if not methods:
        raise HttpProblem(404, "there is no such route")
    return HttpResponse(204, (allow(methods),))


def _body(visit: _Visit, located: Located, match: Match) -> Body:
    """The request's body, checked against the route's schema. The time of the client's upload is not the plugin's."""
    started = time.monotonic()
    data = read_body(visit.request, located.plugin.http.max_body_bytes)
    visit.deadline.at += time.monotonic() - started
    validator = match.route.validator
    body = decode_body(visit.request, data, needs_json=validator is not None)
    if validator is not None and body.encoding is not None:
        validator.check(body.value, body.size)
    elif validator is not None and match.method in METHODS_WITH_BODY:
        raise HttpProblem(400, "this route takes a JSON body", faults=[{"pointer": "", "detail": "there is no body"}])
    return body


def _left(visit: _Visit, located: Located) -> float:
    """The seconds until the deadline; raises `PluginTimeout` where there are none."""
    seconds = visit.deadline.left()
    if not seconds:
        raise PluginTimeout(f"plugin {located.plugin.name!r}: the {located.plugin.rpc_timeout_ms} ms were over before "
                            "the request could be sent", plugin=located.plugin.name)
    return seconds
