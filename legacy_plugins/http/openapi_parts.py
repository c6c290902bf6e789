"""The parts of an OpenAPI document that routes refer to: how requests are refused, and what their bodies must be.

Owns the shared responses, which are the status table of the wire contract, and the way in which a route's JSON Schema
gets into the document: OpenAPI 3.1 takes JSON Schema 2020-12 as it is, but for references, which are relative to the
document there. Pure. Any thread.
"""
from __future__ import annotations

import copy
from typing import Any, Dict, Mapping
from urllib.parse import quote, unquote

from legacy_plugins.http.problems import PROBLEM_JSON
from legacy_plugins.schemas.bodies import subschemas

#: Where routes' schemas stand in a document.
SCHEMAS = "#/components/schemas/"
_PROBLEM = "Problem"
# What may stand unencoded in the fragment of a URI (RFC 3986, section 3.5), and is not `%`.
_IN_FRAGMENT = "/~!$&'()*+,;=:@?"

_RETRY = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}
_REFUSALS = {
    "400": "The path or the body is malformed, or the body is not what the schema asks for; `errors` says where.",
    "401": "The application wants to know who calls. It answers in its own way.",
    "403": "The caller may not use this route.",
    "404": "There is no such route, or the plugin has nothing there.",
    "413": "The body is larger than the operator allows.",
    "415": "The body's media type, charset or content coding is not taken.",
    "429": "Too many requests.",
    "502": "The plugin failed, or its answer was not valid.",
    "503": "The plugin is not available, or has too much to do.",
    "504": "The plugin did not answer in time.",
}
# A plugin may have problems of its own, which RFC 9457 allows to leave any member out: so none is required.
_PROBLEM_SCHEMA: Dict[str, Any] = {
    "description": "Problem details (RFC 9457). Where the host refuses a request all members are there but `plugin` "
                   "(no plugin is concerned) and `errors` (the body is not concerned).",
    "type": "object",
    "properties": {
        "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
        "detail": {"type": "string"}, "plugin": {"type": "string"},
        "requestId": {"type": "string", "description": "The request's id, also in X-Request-ID."},
        "errors": {"type": "array", "items": {
            "type": "object", "required": ["pointer", "detail"],
            "properties": {"pointer": {"type": "string", "description": "JSON pointer (RFC 6901) into the body."},
                           "detail": {"type": "string"}}}},
    },
}


def shared_components() -> Dict[str, Any]:
    """The components that every document has: the refusals, and their schema."""
    return {"schemas": {_PROBLEM: _PROBLEM_SCHEMA},
            "responses": {_refusal(status): _response(status, text) for status, text in _REFUSALS.items()}}


def refusals(*statuses: str) -> Dict[str, Any]:
    """References to the shared responses of these statuses."""
    return {status: {"$ref": f"#/components/responses/{_refusal(status)}"} for status in statuses}


def _refusal(status: str) -> str:
    return f"Refused{status}"


def _response(status: str, text: str) -> Dict[str, Any]:
    """A shared response. The plugin may answer with the status too, in a media type of its own."""
    content = {PROBLEM_JSON: {"schema": {"$ref": SCHEMAS + _PROBLEM}}, "*/*": {}}
    return {"description": text, **({"headers": _RETRY} if status in ("429", "503") else {}), "content": content}


def embedded_schema(schema: Mapping[str, Any], key: str) -> Dict[str, Any]:
    """A route's schema as the component `key`, its references following it there.

    Anchors become pointers, since all schemas of the document share one space of names. Within one schema resource, and
    `$id` is refused, `$dynamicRef` means what `$ref` means.
    """
    root: Dict[str, Any] = copy.deepcopy(dict(schema))
    found = [(pointer, part) for pointer, part in subschemas(root)[0].items() if isinstance(part, dict)]
    anchors = {part[keyword]: pointer for pointer, part in found
               for keyword in ("$anchor", "$dynamicAnchor") if keyword in part}
    for _, part in found:
        targets = [_target(part.pop(keyword), anchors, key) for keyword in ("$ref", "$dynamicRef") if keyword in part]
        if targets:
            part["$ref"] = targets[0]
        if len(targets) > 1:
            part["allOf"] = [*part.get("allOf", ()), {"$ref": targets[1]}]
        part.pop("$anchor", None)
        part.pop("$dynamicAnchor", None)
    root.pop("$schema", None)
    return root


def _target(reference: str, anchors: Mapping[str, str], key: str) -> str:
    fragment = unquote(reference[1:])
    pointer = fragment if not fragment or fragment.startswith("/") else anchors[fragment]
    return SCHEMAS + key + quote(pointer, safe=_IN_FRAGMENT)
