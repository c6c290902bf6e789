"""Arguments that are a text at the command line and a value to a command. Owns the refusal of those that are none."""
from __future__ import annotations

import json
import re
from typing import Any, List, Optional, Sequence, Tuple

# RFC 9110, sections 5.6.2 and 5.5.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*\Z")


class WrongUsage(ValueError):
    """An argument makes no sense. `argument`: which; the message says what is wrong with it."""

    def __init__(self, argument: str, message: str) -> None:
        super().__init__(message)
        self.argument = argument


def json_value(argument: str, text: str) -> Any:
    """The value of a JSON text; raises `WrongUsage`."""
    try:
        return json.loads(text, parse_constant=_no_json)
    except (ValueError, RecursionError) as error:
        raise WrongUsage(argument, f"not JSON: {error}") from None


def call_params(argument: str, text: str) -> Any:
    """The params of a call, an array, an object or null as JSON (JSON-RPC 2.0, 4.2); raises `WrongUsage`."""
    value = json_value(argument, text)
    if value is not None and not isinstance(value, (list, dict)):
        raise WrongUsage(argument, "params are an array, an object or null")
    return value


def check_seconds(argument: str, value: Optional[float]) -> None:
    """Raise `WrongUsage` for a time-out that is none."""
    if value is not None and not 0 < value < float("inf"):
        raise WrongUsage(argument, f"{value} is no number of seconds")


def encoded(argument: str, text: str) -> bytes:
    """The text's bytes; raises `WrongUsage` where the terminal gave bytes that are no text."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise WrongUsage(argument, "it is not UTF-8") from None


def rpc_method(argument: str, text: str) -> str:
    """A method of a plugin; raises `WrongUsage`."""
    if not encoded(argument, text):
        raise WrongUsage(argument, "it is empty")
    return text


def http_method(argument: str, text: str) -> str:
    """A method in upper case; raises `WrongUsage`."""
    if not _TOKEN.match(text):
        raise WrongUsage(argument, f"{text!r} is no HTTP method")
    return text.upper()


def http_path(argument: str, text: str) -> str:
    """A path, with a query or not; raises `WrongUsage` for a URL with a host, which would be ignored."""
    if not text.startswith("/") or text.startswith("//"):
        raise WrongUsage(argument, f"{text!r} is no path: it begins with one slash, and names no host")
    encoded(argument, text)
    return text


def header_fields(argument: str, texts: Sequence[str]) -> List[Tuple[str, str]]:
    """Header fields from texts such as `Accept: text/plain`; raises `WrongUsage`."""
    fields = []
    for text in texts:
        name, colon, value = (part.strip() for part in text.partition(":"))
        if not colon or not _TOKEN.match(name) or not _VALUE.match(value):
            raise WrongUsage(argument, f"{text!r} is not NAME:VALUE")
        if name.lower() in ("content-length", "transfer-encoding"):
            raise WrongUsage(argument, f"{name} follows from the data")
        fields.append((name, value))
    return fields


def _no_json(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")
