"""`GET <mount>/openapi.json`: the document of all routes, for whoever may call them.

Owns who sees what: an operation stands in the document where a request for it would be let through, by the same
decision (`access`). A reader to whom all is refused gets the first refusal instead. The `authorize` hook is asked once
for each route that the operator did not open, with the reader's own request; whatever it raises refuses that route.
Runs on the web server's thread; keeps a catalog that is swapped whole and read without a lock, and made by one thread
of the process at a time. Must not import a framework.
"""
from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Dict, FrozenSet, List, Optional, Sequence, Set, Tuple, Union

from werkzeug.http import parse_etags

from legacy_plugins.config.model import PluginConfig
from legacy_plugins.errors import PluginError
from legacy_plugins.host.lifecycle import PluginState
from legacy_plugins.http.access import Authorize, admitted
from legacy_plugins.http.limits import LimitTable
from legacy_plugins.http.messages import HttpRequest, HttpResponse
from legacy_plugins.http.openapi import Catalog, Document, Operation, PluginDeclarations
from legacy_plugins.http.prefixes import PluginPrefixes
from legacy_plugins.http.problems import HttpProblem, retry_after
from legacy_plugins.http.routes import allow, not_allowed
from legacy_plugins.protocol.handshake import RouteDeclaration
from legacy_plugins.rpc.deadline import Deadline

if TYPE_CHECKING:
    from legacy_plugins.host import PluginHost

logger = logging.getLogger("legacy_plugins.http")

#: Seconds that a reader waits for plugins whose first start is under way, all together.
WAIT_SECONDS = 5.0

_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_Refusal = Union[HttpResponse, Exception]


class RouteDocumentation:
    """The document of one bridge's routes."""

    def __init__(self, host: PluginHost, limits: LimitTable) -> None:
        self._host = host
        self._limits = limits
        self._catalog = Catalog(())
        self._making: Dict[int, threading.Lock] = {}  # by process

    def answer(self, request: HttpRequest, prefixes: PluginPrefixes, authorize: Optional[Authorize]) -> HttpResponse:
        """Answer a request for the document.

        Raises `HttpProblem` (403, 405; 503 where too many wait for a plugin's start already, or the making of the
        document takes too long) and, where nothing may be
        shown, what `authorize` raised.
        """
        if request.method not in _METHODS:
            raise not_allowed(_METHODS)
        if request.method == "OPTIONS":
            return HttpResponse(204, (allow(_METHODS),))
        source = self._source(prefixes)
        refusals: List[_Refusal] = []
        granted = [_granted(declared.plugin, route, request, authorize, refusals)
                   for declared in source for route in declared.routes]
        if refusals and not any(granted):  # before anything is made for somebody who may not see it
            if isinstance(refusals[0], HttpResponse):
                return refusals[0]
            raise refusals[0]
        return _response(self._document(source, granted, request.script_root), request)

    def _source(self, prefixes: PluginPrefixes) -> Tuple[PluginDeclarations, ...]:
        """What the plugins that are ready declare, after a wait for those that are starting."""
        deadline = Deadline(WAIT_SECONDS)
        found = [self._declared(plugin, prefix, deadline) for plugin, prefix in prefixes]
        return tuple(declared for declared in found if declared is not None)

    def _document(self, source: Tuple[PluginDeclarations, ...], granted: Sequence[FrozenSet[str]],
                  script_root: str) -> Document:
        """The document with the methods of each route that are granted.

        One thread makes it and the others wait, since making it holds the interpreter lock; raises `HttpProblem` 503
        where that lasts longer than anybody should wait.
        """
        catalog = self._catalog
        if catalog.source == source:  # quick while the parts are the same objects
            known = catalog.known(_shown(catalog, granted), script_root)
            if known is not None:
                return known
        # Made at first use in this process: one made before a fork, or before gevent patches, could stay locked.
        making = self._making.setdefault(os.getpid(), threading.Lock())
        if not making.acquire(timeout=WAIT_SECONDS):
            raise HttpProblem(503, "the document is being made", headers=(retry_after(1.0),))
        try:
            catalog = self._catalog
            if catalog.source != source:
                catalog = self._catalog = Catalog(source, catalog)
            return catalog.document(_shown(catalog, granted), script_root)
        finally:
            making.release()

    def _declared(self, plugin: PluginConfig, prefix: str, deadline: Deadline) -> Optional[PluginDeclarations]:
        """What the plugin declares; None where it is not ready. Who waits for it takes one of its places."""
        try:
            client = self._host.client(plugin.name)
            if client.state is not PluginState.READY:
                with self._limits.of(plugin.name).place(plugin.http.max_concurrency):
                    client.wait_ready(deadline.left())
            return PluginDeclarations(plugin, prefix, client.routes)
        except PluginError:
            return None


def _granted(plugin: PluginConfig, route: RouteDeclaration, request: HttpRequest, authorize: Optional[Authorize],
             refusals: List[_Refusal]) -> FrozenSet[str]:
    """The methods of a route that the reader may call; why it may not call the others goes to `refusals`."""
    methods = {*route.methods, *(("HEAD",) if "GET" in route.methods else ())}
    public = {method for method in methods if plugin.http.is_public(method, route.path)}
    granted: Set[str] = set()
    for group in filter(None, (public, methods - public)):
        try:
            access = admitted(request.native, plugin.name, route, min(group), plugin.http, authorize)
        except Exception as error:  # noqa: BLE001 - frameworks refuse by exceptions of their own
            logger.debug("no document of %s %s: %r", plugin.name, route.path, error)
            refusals.append(error)
            continue
        if access.native is None:
            granted |= group
        else:
            refusals.append(HttpResponse(200, native=access.native))
    return frozenset(granted)


def _shown(catalog: Catalog, granted: Sequence[FrozenSet[str]]) -> List[Operation]:
    return [operation for entry, methods in zip(catalog.entries, granted) for operation in entry.operations
            if operation.method in methods]


def _response(document: Document, request: HttpRequest) -> HttpResponse:
    """The document, or 304 where the reader has it. Others may get another one, so no shared cache keeps it."""
    headers = (("ETag", document.etag), ("Cache-Control", "private, no-cache"))
    known = ", ".join(value for name, value in request.headers if name.lower() == "if-none-match")
    if parse_etags(known).contains_weak(document.etag.strip('"')):
        return HttpResponse(304, headers)
    return HttpResponse(200, (("Content-Type", "application/json"), ("X-Content-Type-Options", "nosniff"), *headers),
                        document.body)
