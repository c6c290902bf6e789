"""Arguments that are a text at the command line and a value to a command. Owns the refusal of those that are none."""
from __future__ import annotations

import json
from typing import Any, List, Sequence, Tuple


class WrongUsage(ValueError):
    """An argument makes no sense. `argument`: which; the message says what is wrong with it."""

    def __init__(self, argument: str, message: str) -> None:
        super().__init__(message)
        self.argument = argument


def json_value(argument: str, text: str) -> Any:
    """The value of a JSON text; raises `WrongUsage`."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise WrongUsage(argument, f"not JSON: {error}") from None


def header_fields(argument: str, texts: Sequence[str]) -> List[Tuple[str, str]]:
    """Header fields from texts such as `Accept: text/plain`; raises `WrongUsage`."""
    fields = []
    for text in texts:
        name, colon, value = text.partition(":")
        if not colon or not name.strip():
            raise WrongUsage(argument, f"{text!r} is not NAME:VALUE")
        fields.append((name.strip(), value.strip()))
    return fields
