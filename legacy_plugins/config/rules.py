"""What a schema cannot say: rules over several keys, and over values that only Python can judge.

Runs after the schema check, on what that left: every value has the right shape or is gone (None in a list). Notes every
fault it finds and changes nothing. Calling thread only.
"""
from __future__ import annotations

import os
import re
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

from legacy_plugins.config.defaults import merge
from legacy_plugins.config.document import Document, JsonPath
from legacy_plugins.config.policies import RestartPolicy
from legacy_plugins.config.rate_storage import rate_storage
from legacy_plugins.config.substitution import substitute
from legacy_plugins.errors import InvalidMessage
from legacy_plugins.protocol.handshake import RouteDeclaration, parse_routes
from legacy_plugins.schemas.bodies import check_body_schema

#: Where the library mounts plugins unless an application says otherwise.
DEFAULT_MOUNT = "/api/plugins"
#: Fields of one connection (RFC 9110, section 7.6.1): never passed on in either direction.
HOP_BY_HOP = frozenset([
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",
])
#: What the server, the framework or the library says about an answer itself.
SET_BY_HOST = frozenset(["content-length", "date", "server", "x-content-type-options", "x-request-id"])


def check_rules(document: Document, environ: Mapping[str, str]) -> None:
    """Note every fault of the document's values. `environ`: where `${NAME}` is looked up."""
    config: Dict[str, Any] = document.value
    defaults = config.get("defaults", {})
    plugins = [(index, plugin) for index, plugin in enumerate(config.get("plugins", [])) if plugin is not None]
    _check_trust(document, config.get("trust", {}))
    for problem in rate_storage(config.get("rateLimitStorage"), environ)[1]:
        document.fault(("rateLimitStorage",), problem)
    if "name" in defaults:
        document.key_fault(("defaults", "name"), "found the key 'name', which is each plugin's own; expected it there")
    for path, keys in [(("defaults",), defaults), *((("plugins", index), plugin) for index, plugin in plugins)]:
        _PluginRules(document, path, keys, environ).check()
    merged = [(index, merge(defaults, plugin)) for index, plugin in plugins]
    for index, keys in merged:
        _check_together(document, index, keys)
    _check_names(document, merged)
    _check_prefixes(document, merged)


def _check_trust(document: Document, trust: Mapping[str, Any]) -> None:
    for index, directory in _texts(trust.get("directories")):
        _check_text(document, ("trust", "directories", index), directory)
    for index, command in enumerate(trust.get("commands", [])):
        if isinstance(command, str):
            _check_text(document, ("trust", "commands", index), command)
        elif command is not None:
            for position, argument in _texts(command.get("argv")):
                _check_text(document, ("trust", "commands", index, "argv", position), argument)


def _texts(items: Optional[List[Any]]) -> Iterator[Tuple[int, str]]:
    """The elements of a list that the schema check left in it, with their places."""
    return ((index, item) for index, item in enumerate(items or ()) if item is not None)


def _check_text(document: Document, path: JsonPath, text: str) -> None:
    """What the operating system takes as path, argument or variable: no NUL, and characters it can encode."""
    if "\0" in text:
        document.fault(path, "found a NUL character, expected none")
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        document.fault(path, "found a character that the system's encoding does not have")


class _PluginRules:
    """The rules of one plugin's keys, or of `defaults`, each by itself."""

    def __init__(self, document: Document, path: JsonPath, keys: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        self._document = document
        self._path = path
        self._keys = keys
        self._environ = environ

    def check(self) -> None:
        self._check_command_line()
        self._check_environment()
        self._check_http(self._keys.get("http", {}))
        self._check_redaction(self._keys.get("logs", {}).get("redact"))
        self._check_routes()

    def _fault(self, path: JsonPath, text: str) -> None:
        self._document.fault((*self._path, *path), text)

    def _check_text(self, path: JsonPath, text: str) -> None:
        _check_text(self._document, (*self._path, *path), text)

    def _check_command_line(self) -> None:
        command = self._keys.get("command")
        if command is not None and "/" not in command and len(command.split()) > 1:
            self._fault(("command",), "found a command line, expected one program; put the rest into 'args'")
        for key in ("command", "cwd"):
            if self._keys.get(key) is not None:
                self._check_text((key,), self._keys[key])
        for key in ("args", "wrapper"):
            for index, argument in _texts(self._keys.get(key)):
                self._check_text((key, index), argument)

    def _check_environment(self) -> None:
        for name, given in self._keys.get("env", {}).items():
            value, problems = substitute(given, self._environ)
            for problem in problems:
                self._fault(("env", name), problem)
            self._check_text(("env", name), name)
            self._check_text(("env", name), value)

    def _check_http(self, http: Mapping[str, Any]) -> None:
        for key, is_refused in (("forwardHeaders", _is_never_forwarded), ("responseHeaders", _is_never_answered)):
            for index, header in _texts(http.get(key)):
                if is_refused(header.lower()):
                    self._fault(("http", key, index), f"found {header!r}, which is never passed on; remove it")
        for index, root in _texts(http.get("fileRoots")):
            self._check_text(("http", "fileRoots", index), root)

    def _check_redaction(self, patterns: Optional[List[Any]]) -> None:
        for index, pattern in _texts(patterns):
            try:
                re.compile(pattern)
            except (re.error, OverflowError, RecursionError) as error:
                self._fault(("logs", "redact", index), f"found no regular expression: {error}")

    def _check_routes(self) -> None:
        """Each route by itself; where all are good, what they are together."""
        routes = self._keys.get("routes", [])
        good = []
        for index, route in enumerate(routes):
            if not _is_whole(route):
                continue
            try:
                RouteDeclaration.parse(route)
                good.append(route)
            except InvalidMessage as error:
                self._fault(("routes", index), str(error))
        if len(good) == len(routes):
            try:
                parse_routes(routes)
            except InvalidMessage as error:
                self._fault(("routes",), str(error))


def _is_never_forwarded(header: str) -> bool:
    """Fields of one connection, identities that only the host states, and names that WSGI confuses with others."""
    return header in HOP_BY_HOP or header.startswith("x-plugin-") or "_" in header


def _is_never_answered(header: str) -> bool:
    return header in HOP_BY_HOP or header in SET_BY_HOST


def _is_whole(route: Optional[Mapping[str, Any]]) -> bool:
    """Whether the schema check took nothing out of a route that its meaning depends on."""
    return route is not None and "path" in route and "method" in route and None not in list(route["method"])


def _check_together(document: Document, index: int, keys: Mapping[str, Any]) -> None:
    """Rules over several keys of one plugin, `defaults` included."""
    if _is_known(document, index, "handshake"):
        _check_handshake(document, index, keys)
    restart = keys.get("restart", {})
    most = restart.get("maxBackoffMs", RestartPolicy.max_backoff_ms)
    if restart.get("backoffMs", 0) > most and _is_known(document, index, "restart", "maxBackoffMs"):
        document.fault(_origin(document, index, ("restart", "backoffMs")),
                       f"found {restart['backoffMs']}, expected at most maxBackoffMs, which is {most}; raise that, too")


def _check_handshake(document: Document, index: int, keys: Mapping[str, Any]) -> None:
    """Nothing may be configured that `handshake` then makes the host ignore."""
    if keys.get("handshake", "required") == "required":
        if keys.get("routes"):
            document.fault(_origin(document, index, ("routes",)),
                           "found routes, expected none: with handshake: required the plugin declares them; "
                           "remove them, or set handshake: none")
        return
    for key, wanted in keys.get("expect", {}).items():
        if wanted is not None:
            document.fault(_origin(document, index, ("expect", key)),
                           f"found {wanted!r}, expected null: without a handshake nothing can be compared with it")
    allow_patterns = keys.get("http", {}).get("schemaPatterns", False)
    for position, route in enumerate(keys.get("routes", ())):
        try:
            if route is not None and route.get("schema") is not None:
                check_body_schema(route["schema"], allow_patterns=allow_patterns)
        except InvalidMessage as error:
            document.fault(_origin(document, index, ("routes", position, "schema")), f"found no usable schema: {error}")


def _is_known(document: Document, index: int, *path: str) -> bool:
    """Whether the value a plugin has at `path` is its real one: nothing wrong was taken out there, or above."""
    return not any((*start, *path[:length]) in document.spoilt
                   for start in (("plugins", index), ("defaults",)) for length in range(len(path) + 1))


def _origin(document: Document, index: int, path: JsonPath) -> JsonPath:
    """Where a merged value of a plugin stands: with the plugin, or in `defaults`."""
    own: JsonPath = ("plugins", index)
    for start in (own, ("defaults",)):
        value = document.value
        for part in (*start, *path):
            if isinstance(value, list):
                value = value[int(part)]
            else:
                value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            return (*start, *path)
    return own


def _check_names(document: Document, plugins: List[Tuple[int, Dict[str, Any]]]) -> None:
    first: Dict[str, int] = {}
    for index, keys in plugins:
        name = keys.get("name")
        if name is not None and first.setdefault(name, index) != index:
            document.fault(("plugins", index, "name"),
                           f"found {name!r} again, expected a name of its own; it is that of /plugins/{first[name]}")


def _check_prefixes(document: Document, plugins: List[Tuple[int, Dict[str, Any]]]) -> None:
    """No prefix may equal or contain another, whatever the case of their letters: a request must have one owner."""
    owners: Dict[str, Tuple[int, Dict[str, Any]]] = {}
    for index, keys in plugins:
        prefix = _prefix(keys) if _is_known(document, index, "routePrefix") else None
        if prefix is None:
            continue
        other, others = owners.setdefault(prefix.casefold(), (index, keys))
        if other != index and keys.get("name") != others.get("name"):  # one name for two is a fault already
            _clash(document, index, keys, f"is also that of /plugins/{other}")
    for folded, (index, keys) in owners.items():
        for parent in (folded[:end] for end, character in enumerate(folded) if character == "/"):
            if parent in owners:
                other, others = owners[parent]
                _clash(document, index, keys, f"lies below {_prefix(others)!r} of /plugins/{other}")


def _prefix(keys: Mapping[str, Any]) -> Optional[str]:
    prefix: Optional[str] = keys.get("routePrefix")
    return f"{DEFAULT_MOUNT}/{keys['name']}" if prefix is None and "name" in keys else prefix


def _clash(document: Document, index: int, keys: Mapping[str, Any], how: str) -> None:
    default = "the default " if keys.get("routePrefix") is None else ""
    document.fault(_origin(document, index, ("routePrefix",)),
                   f"found {default}routePrefix {_prefix(keys)!r}, which {how}; expected prefixes that do not nest")
