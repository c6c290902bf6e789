"""What a command has to say: text, and an exit code.

Owns the one form of tables, and that nothing of a plugin's moves the terminal's cursor. Any thread, no state.
"""
from __future__ import annotations

import json
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

from legacy_plugins.host.log_lines import escape

#: A row of a listing; all rows of one have the same keys, in the same order.
Row = Dict[str, Any]


def printable(text: str) -> str:
    """A text of many lines that a plugin may have written, as a terminal may have it."""
    return "\n".join(escape(line) for line in text.split("\n"))


class Answer(NamedTuple):
    """The text to print, without a line end, and the code to end with."""

    text: str
    exit_code: int = 0


def listing(rows: Sequence[Row], as_json: bool) -> str:
    """Rows as JSON, or as a table with the keys for its head; `none` where there are none.

    What plugins say of themselves is in them: nothing of it reaches the terminal as a control sequence, or as a line.
    """
    if as_json:
        return json.dumps(list(rows), indent=2)
    if not rows:
        return "none"
    table: List[Tuple[str, ...]] = [tuple(rows[0])]
    table += [tuple(escape(str(value)) for value in row.values()) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in table)
