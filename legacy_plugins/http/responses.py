"""A plugin's answer as an HTTP response, or the refusal of it.

Owns the check of every part of a `plugin/handleRequest` result, since no framework checks them all: a status that is a
bool, a header with a line break, a length that is not the body's have each come out of a real server as they went in.
A refused answer is the plugin's fault (502), with the reason in the log. Any thread, no state.
"""
from __future__ import annotations

import base64
import binascii
import re
from typing import Any, List, Mapping, Optional, Tuple

from legacy_plugins.config.policies import HttpPolicy
from legacy_plugins.http.files import checked_file, guessed_type
from legacy_plugins.http.headers import answered
from legacy_plugins.http.messages import HttpResponse
from legacy_plugins.http.problems import bad_answer
from legacy_plugins.protocol.codec import JsonCodec

_codec = JsonCodec()
_Fields = List[Tuple[str, str]]

_DEFAULT_TYPES = {
    "json": "application/json", "utf-8": "text/plain; charset=utf-8", "base64": "application/octet-stream",
}
# One media type with parameters (RFC 9110, section 8.3.1). Not a list: browsers take the last of one.
_NAME = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MEDIA_TYPE = re.compile(
    rf"""({_NAME}/{_NAME})(?:[ \t]*;(?:[ \t]*{_NAME}=(?:{_NAME}|"(?:[^"\\]|\\.)*"))?)*\Z""")
# What browsers run scripts in; the rest of XML by its suffix.
_ACTIVE = frozenset({"text/html", "text/xml", "text/xsl", "application/xml", "application/xhtml+xml", "image/svg+xml",
                     "multipart/x-mixed-replace"})
_URI = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+\Z")  # RFC 3986, section 2
_SCHEME = re.compile(r"[^/?#]*:")
# What the framework says about a file itself, after it has looked at the request's conditions and ranges.
_OF_FILES = frozenset({"etag", "last-modified", "accept-ranges", "content-range"})


def response_of(result: Any, policy: HttpPolicy) -> HttpResponse:
    """The HTTP response of a plugin's result; raises `HttpProblem` 502 for one that is none.

    `policy`: the plugin's; it says which header fields and files may leave.
    """
    if not isinstance(result, Mapping):
        raise bad_answer(f"the result is a {type(result).__name__}, not an object")
    status = _status(result.get("status", 200))
    fields = answered(result.get("headers", {}), policy.response_headers)
    _check_location(fields)
    if "bodyFile" in result:
        if "body" in result:
            raise bad_answer("the answer has both `body` and `bodyFile`")
        return _file_response(status, fields, result["bodyFile"], policy)
    if "body" not in result:
        return HttpResponse(status, _protected(fields, None, policy))
    encoding = result.get("bodyEncoding", "json")
    body = _body(result["body"], encoding)
    return HttpResponse(status, _protected(fields, _DEFAULT_TYPES[encoding], policy), body)


def _status(status: Any) -> int:
    if type(status) is not int or not 200 <= status <= 599:
        raise bad_answer(f"`status` is {status!r:.80}, not an integer from 200 to 599")
    return status


def _body(body: Any, encoding: Any) -> bytes:
    if encoding == "json":
        return _json(body)
    if encoding not in ("utf-8", "base64"):
        raise bad_answer(f"`bodyEncoding` is {encoding!r:.80}, not json, utf-8 or base64")
    if not isinstance(body, str):
        raise bad_answer(f"`body` is a {type(body).__name__}; with bodyEncoding {encoding} it is a string")
    try:
        return body.encode("utf-8") if encoding == "utf-8" else base64.b64decode(body, validate=True)
    except UnicodeEncodeError:
        raise bad_answer("`body` has half of a surrogate pair") from None
    except (binascii.Error, ValueError) as error:
        raise bad_answer(f"`body` is not base64: {error}") from None


def _json(body: Any) -> bytes:
    try:
        return _codec.encode(body).encode("utf-8")
    except (TypeError, ValueError) as error:
        raise bad_answer(f"`body` is not JSON that can be sent: {error!s:.200}") from None


def _file_response(status: int, fields: _Fields, path: Any, policy: HttpPolicy) -> HttpResponse:
    real = checked_file(path, policy.file_roots)
    kept = [(name, value) for name, value in fields if name not in _OF_FILES]
    return HttpResponse(status, _protected(kept, guessed_type(real), policy), file=real)


def _check_location(fields: _Fields) -> None:
    """Refuse a Location that could lead to another origin; browsers take `\\` for `/`, and skip controls."""
    location = next((value for name, value in fields if name == "location"), None)
    if location is not None and (not _URI.match(location) or _SCHEME.match(location) or location.startswith("//")):
        raise bad_answer(f"`location` is {location!r:.200}, not a relative reference such as '/items/1'")


def _protected(fields: _Fields, default_type: Optional[str], policy: HttpPolicy) -> _Fields:
    """The fields with a content type where there is a body, and with what keeps browsers from running the answer."""
    declared = next((value for name, value in fields if name == "content-type"), None)
    content_type = declared if declared is not None else default_type
    if declared is None and default_type is not None:
        fields = [*fields, ("content-type", default_type)]
    fields = [*fields, ("x-content-type-options", "nosniff")]
    if content_type is not None and _is_active(content_type) and policy.html_sandbox:
        fields.append(("content-security-policy", "sandbox"))
    return fields


def _is_active(content_type: str) -> bool:
    """Whether browsers would run scripts in this; raises `HttpProblem` 502 for what is no media type."""
    match = _MEDIA_TYPE.match(content_type)
    if match is None:
        raise bad_answer(f"`content-type` is {content_type!r:.200}, not one media type")
    essence = match.group(1).lower()
    return essence in _ACTIVE or essence.endswith("+xml")
