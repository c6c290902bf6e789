"""`GET <mount>/openapi.json`: the document of all routes, for whoever may call them.

Owns who sees what: an operation stands in the document where a request for it would be let through, by the same
decision (`access`). A reader to whom all is refused gets the first refusal instead. The `authorize` hook is asked once
for each route that the operator did not open, with the reader's own request; whatever it raises refuses that route.
Runs on the web server's thread; keeps a catalog that is swapped whole and needs no lock. Must not import a framework.
"""
from __future__ import annotations

import logging
from typing import TYPE_CHECKING, List, Optional, Union

from werkzeug.http import parse_etags

from legacy_plugins.config.model import PluginConfig
from legacy_plugins.errors import PluginError
from legacy_plugins.host.lifecycle import PluginState
from legacy_plugins.http.access import Authorize, admitted
from legacy_plugins.http.limits import LimitTable
from legacy_plugins.http.messages import HttpRequest, HttpResponse
from legacy_plugins.http.openapi import Catalog, Document, Entry, Operation, PluginDeclarations
from legacy_plugins.http.prefixes import PluginPrefixes
from legacy_plugins.http.routes import allow, not_allowed
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

    def answer(self, request: HttpRequest, prefixes: PluginPrefixes, authorize: Optional[Authorize]) -> HttpResponse:
        """Answer a request for the document.

        Raises `HttpProblem` (403, 405; 503 where too many wait for a plugin's start already) and, where nothing may be
        shown, what `authorize` raised.
        """
        if request.method not in _METHODS:
            raise not_allowed(_METHODS)
        if request.method == "OPTIONS":
            return HttpResponse(204, (allow(_METHODS),))
        catalog = self._current(prefixes)
        shown: List[Operation] = []
        refusals: List[_Refusal] = []
        for entry in catalog.entries:
            shown += _admitted(entry, request, authorize, refusals)
        if refusals and not shown:
            if isinstance(refusals[0], HttpResponse):
                return refusals[0]
            raise refusals[0]
        return _response(catalog.document(shown, request.script_root), request)

    def _current(self, prefixes: PluginPrefixes) -> Catalog:
        """The catalog of the plugins that are ready, which waits for those that are starting."""
        deadline = Deadline(WAIT_SECONDS)
        found = [self._declared(plugin, prefix, deadline) for plugin, prefix in prefixes]
        source = tuple(declared for declared in found if declared is not None)
        catalog = self._catalog
        if catalog.source != source:  # quick while the parts are the same objects
            catalog = self._catalog = Catalog(source)
        return catalog

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


def _admitted(entry: Entry, request: HttpRequest, authorize: Optional[Authorize],
              refusals: List[_Refusal]) -> List[Operation]:
    """The operations of a route that the reader may call; why it may not call the others goes to `refusals`."""
    policy, path = entry.plugin.http, entry.route.path
    public = [operation for operation in entry.operations if policy.is_public(operation.method, path)]
    guarded = [operation for operation in entry.operations if operation not in public]
    shown: List[Operation] = []
    for group in filter(None, (public, guarded)):
        try:
            access = admitted(request.native, entry.plugin.name, entry.route, group[0].method, policy, authorize)
        except Exception as error:  # noqa: BLE001 - frameworks refuse by exceptions of their own
            logger.debug("no document of %s %s: %r", entry.plugin.name, path, error)
            refusals.append(error)
            continue
        if access.native is None:
            shown += group
        else:
            refusals.append(HttpResponse(200, native=access.native))
    return shown


def _response(document: Document, request: HttpRequest) -> HttpResponse:
    """The document, or 304 where the reader has it. Others may get another one, so no shared cache keeps it."""
    headers = (("ETag", document.etag), ("Cache-Control", "private, no-cache"))
    known = ", ".join(value for name, value in request.headers if name.lower() == "if-none-match")
    if parse_etags(known).contains_weak(document.etag.strip('"')):
        return HttpResponse(304, headers)
    return HttpResponse(200, (("Content-Type", "application/json"), ("X-Content-Type-Options", "nosniff"), *headers),
                        document.body)
