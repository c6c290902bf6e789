"""The routes of the ready plugins as an OpenAPI 3.1 document.

Owns `Catalog`: every operation that is served, described once for each plugin's set of routes, from which documents are
made that show a part of them. What OpenAPI cannot say is said as near as it can: a `{name...}` parameter takes one
segment there, and `x-legacy-plugins-rest` marks it; paths that differ in the names of parameters alone are one path.
Immutable but for the documents it remembers, which one thread at a time may add to. Any thread. Must not look at
requests or decide who sees what.
"""
from __future__ import annotations

import hashlib
import itertools
import json
import re
from typing import AbstractSet, Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple
from urllib.parse import quote

from legacy_plugins.config.model import PluginConfig
from legacy_plugins.http.bodies import METHODS_WITH_BODY
from legacy_plugins.http.openapi_parts import SCHEMAS, embedded_schema, refusals, shared_components
from legacy_plugins.http.paths import Segments
from legacy_plugins.http.routes import PluginRoutes
from legacy_plugins.protocol.handshake import HTTP_METHODS, RouteDeclaration
from legacy_plugins.schemas.bodies import DIALECT

#: How many documents are remembered: one for each script root and each set of operations that somebody may see.
MAX_DOCUMENTS = 8
_numbers = itertools.count()
_LONGEST_SUMMARY = 120
# Stands for the value of a parameter; no literal segment has it.
_ANY = "\ue000"
# What a segment of a path may hold as it is (RFC 3986, section 3.3).
_IN_SEGMENT = "!$&'()*+,;=:@~"
# What `paths` takes as a segment, in the regular expressions of JSON Schema. The rest of a path may hold slashes.
_TEXT = r"[^/\\\u0000-\u001f\u007f-\u009f\ufffd]+"
_SEGMENT = (r"^(?!\.{0,2}(?:;|$))(?![^/]*%(?:2[EFef5]|5[Cc]|[01][0-9A-Fa-f]|7[Ff]))" + _TEXT + "$")
_REST = f"^{_TEXT}(?:/{_TEXT})*$"
_OPEN, _GUARDED = ("400", "404", "502", "503", "504"), ("401", "403")


class PluginDeclarations(NamedTuple):
    """A plugin that is ready: where it is served, and what it declares."""

    plugin: PluginConfig
    prefix: str
    routes: Tuple[RouteDeclaration, ...]


class Operation(NamedTuple):
    """One method of one route. `number`: its own in the process. `schema_key`: the component that its body must fit."""

    number: int
    path: str
    method: str
    description: Mapping[str, Any]
    schema_key: Optional[str]


class Entry(NamedTuple):
    """A route with its operations: GET brings HEAD along, as it is served."""

    plugin: PluginConfig
    route: RouteDeclaration
    operations: Tuple[Operation, ...]


class Document(NamedTuple):
    """A document as it is sent."""

    body: bytes
    etag: str


class Catalog:
    """All operations of one set of declarations; `previous` lends what it has of plugins that did not change.

    `entries`: one for each route, in the order of `source` and of each plugin's declaration.
    """

    def __init__(self, source: Tuple[PluginDeclarations, ...], previous: Optional[Catalog] = None) -> None:
        self.source = source
        self._documents: Dict[Tuple[str, Tuple[int, ...]], Document] = {}
        self._alone: Dict[str, _PluginPart] = {}
        self._paths: Dict[str, Dict[str, Any]] = {}
        self._schemas: Dict[str, Dict[str, Any]] = {}
        entries: List[Entry] = []
        taken: Set[str] = set()
        for declared in source:
            known = previous._alone.get(declared.plugin.name) if previous is not None else None
            part = known if known is not None and known.declared == declared else _PluginPart(declared)
            self._alone[declared.plugin.name] = part
            if not taken.isdisjoint(part.names.given):  # of plugins as `a` and `a_b`, whose names run into each other
                part = _PluginPart(declared, taken)
            taken |= part.names.given
            self._paths.update(part.paths)
            self._schemas.update(part.schemas)
            entries += part.entries
        self.entries: Tuple[Entry, ...] = tuple(entries)

    def known(self, operations: Sequence[Operation], script_root: str) -> Optional[Document]:
        """The document that shows these operations, if it is remembered."""
        return self._documents.get((script_root, tuple(operation.number for operation in operations)))

    def document(self, operations: Sequence[Operation], script_root: str) -> Document:
        """The document that shows these operations; `script_root`: where the application is mounted.

        One thread at a time.
        """
        known = self.known(operations, script_root)
        if known is None:
            known = _encoded(self._assembled(operations, script_root))
            if len(self._documents) >= MAX_DOCUMENTS:
                del self._documents[next(iter(self._documents))]
            self._documents[script_root, tuple(operation.number for operation in operations)] = known
        return known

    def _assembled(self, operations: Sequence[Operation], script_root: str) -> Dict[str, Any]:
        paths: Dict[str, Dict[str, Any]] = {}
        components = shared_components()
        tags: Dict[str, None] = {}
        for operation in operations:
            whole = self._paths[operation.path]
            item = paths.setdefault(operation.path, dict(whole))
            item[operation.method.lower()] = operation.description
            tags.update(dict.fromkeys(operation.description["tags"]))
            if operation.schema_key is not None:
                components["schemas"][operation.schema_key] = self._schemas[operation.schema_key]
        document: Dict[str, Any] = {
            "openapi": "3.1.0", "jsonSchemaDialect": DIALECT,
            "info": {"title": "Plugins", "version": "",
                     "description": "The routes of the plugins that are ready, as far as you may call them."},
            "tags": [{"name": name} for name in tags], "paths": paths, "components": components}
        if script_root:
            document["servers"] = [{"url": quote(script_root, safe=f"/{_IN_SEGMENT}")}]
        return document

class _PluginPart:
    """The operations, paths and schemas of one plugin, with names that are not among `taken`."""

    def __init__(self, declared: PluginDeclarations, taken: AbstractSet[str] = frozenset()) -> None:
        self.declared = declared
        self.names = _Names(taken)
        self.paths: Dict[str, Dict[str, Any]] = {}
        self.schemas: Dict[str, Dict[str, Any]] = {}
        self.entries = self._entries(declared)

    def _entries(self, declared: PluginDeclarations) -> List[Entry]:
        """The plugin's routes. Which of them serves which method of a path is asked of what serves them."""
        served, name = PluginRoutes(declared.routes), declared.plugin.name
        templates = _Templates(declared.prefix, declared.routes)
        operations: Dict[int, List[Operation]] = {id(route): [] for route in declared.routes}
        keys: Dict[int, Optional[str]] = {id(route): self._schema(name, route) for route in declared.routes}
        for path, template in templates.paths.items():
            allowed = served.allowed(template.example)
            reached = {method: served.match(template.example, method).route.declaration
                       for method in HTTP_METHODS if method in allowed}
            if all(_shape(route.path) != template.shape for route in reached.values()):
                continue  # a rest parameter that other routes take all requests from
            item = self.paths[path] = {"parameters": template.parameters} if template.parameters else {}
            for method, route in reached.items():
                operations[id(route)].append(self._operation(declared.plugin, route, path, method, keys[id(route)]))
            item["options"] = {
                "operationId": self.names.unique(name, "options", path[len(declared.prefix):]), "tags": [name],
                "summary": "The methods that this path takes", "security": [],
                "responses": {"204": {"description": "`Allow` has them."}, **_others()}}
        return [Entry(declared.plugin, route, tuple(operations[id(route)])) for route in declared.routes]

    def _schema(self, plugin: str, route: RouteDeclaration) -> Optional[str]:
        if route.schema is None:
            return None
        key = self.names.unique(plugin, "body", route.name or route.path)
        self.schemas[key] = embedded_schema(route.schema, key)
        return key

    def _operation(self, plugin: PluginConfig, route: RouteDeclaration, path: str, method: str,
                   schema_key: Optional[str]) -> Operation:
        public = plugin.http.is_public(method, route.path)
        statuses = [*_OPEN, *(() if public else _GUARDED), *(("429",) if plugin.http.rate_limit is not None else ())]
        body = None if method in ("GET", "HEAD") else _request_body(method, schema_key)
        if body is not None:
            statuses += ["413", "415"]
        described: Dict[str, Any] = {
            "operationId": self.names.unique(plugin.name, method.lower(), route.name or route.path),
            "tags": [plugin.name], **_texts(route.description),
            "x-legacy-plugins": {"plugin": plugin.name, "route": route.path, "public": public}}
        if public:
            described["security"] = []
        if body is not None:
            described["requestBody"] = body
        answer = {"2XX": {"description": "The plugin's answer."}}
        described["responses"] = {**answer, **({} if method == "HEAD" else refusals(*sorted(statuses))), **_others()}
        return Operation(next(_numbers), path, method, described, None if body is None else schema_key)


class _Names:
    """Names for operations and components that are unique in a document, whatever plugins call their routes.

    `taken`: names that are others', in lower case. `given`: those of this plugin, likewise.
    """

    def __init__(self, taken: AbstractSet[str] = frozenset()) -> None:
        self.given: Set[str] = set()
        self._taken = taken
        self._last: Dict[str, int] = {}  # the number that a name was given last, so that none is tried twice

    def unique(self, *parts: str) -> str:
        words = [re.sub("[^A-Za-z0-9]+", "_", part).strip("_") for part in parts]
        name = wanted = "_".join(filter(None, words))
        number = self._last.get(wanted.lower(), 1)
        while name.lower() in self.given or name.lower() in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._last[wanted.lower()] = number
        self.given.add(name.lower())
        return name


class _Template(NamedTuple):
    """A path in OpenAPI's words. `example`: the segments below the plugin's prefix, with values that match no literal.

    `shape`: the declared path's, parameters having no names.
    """

    shape: str
    parameters: List[Dict[str, Any]]
    example: Segments


class _Templates:
    """The paths of one plugin in OpenAPI's words: no two of them may differ in the names of parameters alone."""

    def __init__(self, prefix: str, routes: Sequence[RouteDeclaration]) -> None:
        self.paths: Dict[str, _Template] = {}
        self._prefix = "".join(f"/{quote(segment, safe=_IN_SEGMENT)}" for segment in prefix.split("/")[1:])
        self._owners: Dict[Segments, str] = {}
        paths = [route.path for route in routes]
        for path in sorted(paths, key=lambda path: (path.endswith("...}"), -path.count("/"))):
            self._add(path)

    def _add(self, path: str) -> None:
        """Add a declared path, unless one of its shape is there.

        `{name...}` stands as one segment. Where a route of one segment stands there already, requests for one segment
        go to that route, and `{name...}` begins with two.
        """
        shape = _shape(path)
        segments = [segment for segment in path.split("/")[1:] if segment]
        while True:
            example = tuple(_ANY if segment.startswith("{") else segment for segment in segments)
            if example not in self._owners:
                template = self._prefix + "".join("/" + segment.replace("...}", "}") for segment in segments)
                self.paths[template] = _Template(shape, _parameters(segments), example)
            if self._owners.setdefault(example, shape) == shape:
                break
            segments.insert(-1, "{" + _another(segments) + "}")


def _shape(path: str) -> str:
    """A declared path without the names of its parameters."""
    return re.sub(r"\{[^}.]*(\.\.\.)?\}", r"{\1}", path)


def _another(segments: Sequence[str]) -> str:
    """A name for one segment more of the rest."""
    name, taken = segments[-1].strip("{.}"), {segment.strip("{.}") for segment in segments}
    while name in taken:
        name += "_"
    return name


def _parameters(segments: Sequence[str]) -> List[Dict[str, Any]]:
    found = []
    for segment in segments:
        if not segment.startswith("{"):
            continue
        parameter: Dict[str, Any] = {"name": segment.strip("{.}"), "in": "path", "required": True,
                                     "schema": {"type": "string", "pattern": _SEGMENT}}
        if segment.endswith("...}"):
            parameter["description"] = ("The rest of the path: one or more segments. Slashes between them are sent as "
                                        "they are, not as %2F.")
            parameter["schema"]["pattern"] = _REST
            parameter["x-legacy-plugins-rest"] = True
        found.append(parameter)
    return found


def _request_body(method: str, schema_key: Optional[str]) -> Dict[str, Any]:
    if schema_key is None:
        return {"description": "Whatever the plugin takes.", "content": {"*/*": {}}}
    return {"required": method in METHODS_WITH_BODY, "content": {"application/json": {"schema": {
        "$ref": SCHEMAS + schema_key}}}}


def _texts(description: str) -> Dict[str, str]:
    """Summary and description; the first line is the summary, and the rest is told only where there is more."""
    first = description.strip().partition("\n")[0].strip()
    if not first:
        return {}
    if len(first) > _LONGEST_SUMMARY:
        return {"summary": first[:_LONGEST_SUMMARY - 3] + "...", "description": description}
    return {"summary": first} if first == description.strip() else {"summary": first, "description": description}


def _others() -> Dict[str, Any]:
    return {"default": {"description": "Any other answer of the plugin's, the application's or the host's."}}


def _encoded(document: Dict[str, Any]) -> Document:
    """The document's bytes and entity tag; its version is a digest, since it is what it shows."""
    body = json.dumps(document, separators=(",", ":"))
    digest = hashlib.sha256(body.encode("ascii")).hexdigest()[:32]
    # `info` comes before anything that a plugin has a say in, so the first is the document's own.
    body = body.replace('"version":""', f'"version":"{digest[:12]}"', 1)
    return Document(body.encode("ascii"), f'"{digest}"')
