"""What a command has to say: text, and an exit code. Owns the one form of tables. Any thread, no state."""
from __future__ import annotations

import json
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

#: A row of a listing; all rows of one have the same keys, in the same order.
Row = Dict[str, Any]


class Answer(NamedTuple):
    """The text to print, without a line end, and the code to end with."""

    text: str
    exit_code: int = 0


def listing(rows: Sequence[Row], as_json: bool) -> str:
    """Rows as JSON, or as a table with the keys for its head; `none` where there are none."""
    if as_json:
        return json.dumps(list(rows), indent=2)
    if not rows:
        return "none"
    table: List[Tuple[str, ...]] = [tuple(rows[0]), *(tuple(map(str, row.values())) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in table)
