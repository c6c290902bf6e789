"""What a plugin declares, checked: the handshake's answer and `plugin/ready` against schema, configuration and sense.

Pure but for the cached validators and the memory of schemas that were found good, and within bounded work. Every
refusal is a `HandshakeFailed` that says where and both values. Called on plugins' reader threads.
"""
from __future__ import annotations

import dataclasses
import hashlib
from typing import Any, Dict, Mapping, Sequence, Tuple

from legacy_plugins.config.model import PluginConfig
from legacy_plugins.errors import HandshakeFailed, InvalidMessage
from legacy_plugins.protocol.codec import JsonCodec
from legacy_plugins.protocol.handshake import HandshakeResult, RouteDeclaration, parse_routes
from legacy_plugins.protocol.patterns import globs
from legacy_plugins.schemas.bodies import check_body_schema
from legacy_plugins.schemas.compiler import misfits

_MAX_TOLD = 5
_MAX_FOUND = 50
#: JSON text of all routes' schemas together. Checking it takes up to a quarter of a minute of the plugin's own start.
MAX_SCHEMA_CHARACTERS = 1024 * 1024
#: Segments of all routes' paths together: 2,000 routes of five, or 1,000 of ten. A request may look at each.
MAX_SEGMENTS = 10_000
# So many good schemas are remembered: a restart declares the same again, and many routes of a plugin take one body.
_MAX_REMEMBERED = 10_000
_good: Dict[Tuple[bytes, bool], None] = {}  # by digest of the text and whether patterns are allowed; no lock is needed
_codec = JsonCodec()


def check_handshake(config: PluginConfig, answer: Any) -> HandshakeResult:
    """The plugin's metadata; raises `HandshakeFailed`."""
    _check_shape(config, "handshake-result", "the answer to plugin/handshake", answer)
    _check_segments(config, answer.get("routes") or ())
    try:
        result = HandshakeResult.parse(answer)
    except InvalidMessage as error:
        raise _failed(config, str(error)) from None
    for key, given in (("name", result.name), ("version", result.version)):
        expected = getattr(config.expect, key)
        if expected is not None and not (given == expected or (key == "version" and given.startswith(expected))):
            raise _failed(config, f"its {key} is {given!r}, the configuration expects {expected!r} (expect.{key})")
    _check_bodies(config, result.routes)
    globs(result.events)  # made ready here, once, since this thread is the plugin's own
    return result


def check_ready(config: PluginConfig, result: HandshakeResult, params: Any) -> HandshakeResult:
    """The metadata after `plugin/ready`, whose declarations replace the handshake's; raises `HandshakeFailed`."""
    _check_shape(config, "ready-params", "plugin/ready", params)
    params = params or {}
    changes: Any = {}
    if params.get("routes") is not None:
        changes["routes"] = _routes(config, params["routes"])
    if params.get("events") is not None:
        changes["events"] = tuple(params["events"])
        globs(changes["events"])
    return dataclasses.replace(result, **changes)


def configured(config: PluginConfig) -> HandshakeResult:
    """The metadata of a program with `handshake: none`: what the configuration says of it."""
    return HandshakeResult(config.name, "", routes=_routes(config, config.routes))


def _routes(config: PluginConfig, declared: Any) -> Tuple[RouteDeclaration, ...]:
    _check_segments(config, declared)
    try:
        routes = parse_routes(declared)
    except InvalidMessage as error:
        raise _failed(config, str(error)) from None
    _check_bodies(config, routes)
    return routes


def _check_shape(config: PluginConfig, schema: str, what: str, value: Any) -> None:
    faults = misfits(schema, value, most=_MAX_FOUND)
    if faults:
        more = f" (and {len(faults) - _MAX_TOLD} more)" if len(faults) > _MAX_TOLD else ""
        raise _failed(config, f"{what} does not fit its schema: {'; '.join(faults[:_MAX_TOLD])}{more}")


def _check_segments(config: PluginConfig, declared: Sequence[Mapping[str, Any]]) -> None:
    segments = sum(route["path"].count("/") for route in declared)
    if segments > MAX_SEGMENTS:
        raise _failed(config, f"the paths of its {len(declared)} routes have {segments} segments together, the most is "
                      f"{MAX_SEGMENTS}")


def _check_bodies(config: PluginConfig, routes: Tuple[RouteDeclaration, ...]) -> None:
    characters = 0
    for route in routes:
        if route.schema is None:
            continue
        text = _codec.encode(route.schema)
        characters += len(text)
        if characters > MAX_SCHEMA_CHARACTERS:
            raise _failed(config, f"the schemas of its routes have more than {MAX_SCHEMA_CHARACTERS} characters")
        try:
            _check_schema(route.schema, text, config.http.schema_patterns)
        except InvalidMessage as error:
            raise _failed(config, f"route {route.path!r}: its schema is refused: {error}") from None


def _check_schema(schema: Mapping[str, Any], text: str, allow_patterns: bool) -> None:
    """Check a schema, unless one of the same text was found good before; raises `InvalidMessage`."""
    key = (hashlib.sha256(text.encode()).digest(), allow_patterns)
    if key in _good:
        return
    check_body_schema(schema, allow_patterns=allow_patterns)
    if len(_good) >= _MAX_REMEMBERED:
        _good.clear()
    _good[key] = None


def _failed(config: PluginConfig, reason: str) -> HandshakeFailed:
    return HandshakeFailed(config.name, message=f"the handshake of plugin {config.name!r} failed: {reason}")
