"""What a WSGI environ says of a request (PEP 3333), read in one way for every framework on WSGI.

Frameworks differ in what they make of the same bytes: one hides a doubled slash, another escapes a broken one again, a
third knows no body without a length. Owns the reading that plugins' requests are made from, so that they do not. Runs
on the web server's thread. Must not import a framework.
"""
from __future__ import annotations

import sys
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple
from urllib.parse import parse_qs

from legacy_plugins.http.disconnection import client_watch
from legacy_plugins.http.messages import HttpRequest

# Where servers keep the request target as it was sent: gunicorn and werkzeug, then uWSGI, mod_wsgi and waitress.
_TARGETS = ("RAW_URI", "REQUEST_URI")
# Which fields the test client of werkzeug 2.0 states twice.
_TWICE = ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH")
_LONGEST_NUMBER = 18


def wsgi_request(environ: Mapping[str, Any], *, method: str, path: str, script_root: str, scheme: str, host: str,
                 read_body: Callable[[int], bytes], native: Any) -> HttpRequest:
    """The request of an environ. The parameters are the framework's to say; they are those of `HttpRequest`.

    `method` too: a middleware may override it, and hooks and checks for forged requests have seen the framework's.
    """
    return HttpRequest(
        method=method.upper(),
        path=path,
        raw_path=request_target(environ),
        script_root=script_root.rstrip("/"),
        headers=header_fields(environ),
        query=query(environ),
        content_type=environ.get("CONTENT_TYPE"),
        content_length=content_length(environ),
        read_body=read_body,
        client_address=environ.get("REMOTE_ADDR"),
        scheme=scheme,
        host=host,
        native=native,
        request_id=environ.get("HTTP_X_REQUEST_ID"),
        client_gone=client_watch(environ),
    )


def text(value: str) -> str:
    """An environ's string, which stands for bytes, as the UTF-8 text that it means; U+FFFD for what is none."""
    return value.encode("latin-1").decode("utf-8", "replace")


def request_target(environ: Mapping[str, Any]) -> Optional[str]:
    """The request target as the client sent it, where the server keeps it."""
    return next((environ[key] for key in _TARGETS if environ.get(key)), None)


def header_fields(environ: Mapping[str, Any]) -> List[Tuple[str, str]]:
    """The request's header fields, with names in upper case, as WSGI has them."""
    fields = [(key[5:].replace("_", "-"), value) for key, value in environ.items()
              if key.startswith("HTTP_") and not (key in _TWICE and value == environ.get(key[5:]))]
    for key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(key):
            fields.append((key.replace("_", "-"), environ[key]))
    return fields


def query(environ: Mapping[str, Any]) -> Dict[str, List[str]]:
    """The values of each query parameter, blank ones too, in their order."""
    return parse_qs(text(environ.get("QUERY_STRING", "")), keep_blank_values=True)


def content_length(environ: Mapping[str, Any]) -> Optional[int]:
    """The body's length in bytes; without a stated one there is no body, unless the server ends the stream (None)."""
    stated = environ.get("CONTENT_LENGTH") or ""
    if not stated or environ.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked":
        return None if environ.get("wsgi.input_terminated") else 0
    if not (stated.isascii() and stated.isdigit()):
        return 0
    return int(stated) if len(stated) <= _LONGEST_NUMBER else sys.maxsize
