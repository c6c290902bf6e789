"""report: draws the application's history, which it asks its host for by reverse RPC (`host/history`).

Standard library and `legacy_plugins.sdk` alone: it needs nothing of the application that it reports on.
"""
from __future__ import annotations

from typing import Any, Dict, List
from xml.sax.saxutils import escape, quoteattr

from legacy_plugins.sdk import Plugin, Response

WIDTH, ROW, LABEL, TOP, BOTTOM = 720, 26, 190, 56, 16
COLOURS = {"completed": "#2f7d5b", "failed": "#b3402f", "running": "#8a8f98"}

plugin = Plugin("report", version="1.0.0")


def history(request: Any) -> List[Dict[str, Any]]:
    """The newest synchronisations, newest first, as many as `?limit=` says (1 to 100, 20 by default)."""
    asked = (request.query.get("limit") or ["20"])[0]
    if not (asked.isascii() and asked.isdigit() and 1 <= int(asked[:4]) <= 100):
        raise plugin.Error(400, f"limit={asked[:20]} is not a number from 1 to 100")
    rows: List[Dict[str, Any]] = plugin.host.request("host/history", {"limit": int(asked)})
    return rows


def size(count: int) -> str:
    """A number of bytes as people read it."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def bar(row: Dict[str, Any], index: int, most_files: int, most_bytes: int) -> str:
    """One synchronisation: its label, a bar for the files copied and a thinner one for their bytes."""
    top, room = TOP + index * ROW, WIDTH - LABEL - 150
    files, count = int(row["copied"]), int(row["bytes"])
    colour = COLOURS.get(row["outcome"], COLOURS["running"])
    label = "#{} {}".format(row["id"], row["started"][:19].replace("T", " "))
    said = f"{files} files, {size(count)}" if row["outcome"] == "completed" else str(row["outcome"])
    title = f"Synchronisation {row['id']}: {row['source']} to {row['target']}, {row['outcome']}, {said}"
    return (
        f'<g class="sync" id={quoteattr("sync-" + str(row["id"]))}><title>{text(title)}</title>'
        f'<text x="12" y="{top + 15}">{text(label)}</text>'
        f'<rect x="{LABEL}" y="{top + 3}" width="{2 + room * files / most_files:.1f}" height="10" fill="{colour}"/>'
        f'<rect x="{LABEL}" y="{top + 15}" width="{2 + room * count / most_bytes:.1f}" height="4" fill="{colour}" '
        f'opacity="0.5"/><text x="{WIDTH - 136}" y="{top + 15}" fill="{colour}">{text(said)}</text></g>'
    )


def text(value: str) -> str:
    """Escaped for XML, which has no place for most control characters."""
    return escape("".join(c if c >= " " and c not in "\ufffe\uffff" else "?" for c in value))


def chart(rows: List[Dict[str, Any]]) -> str:
    """The whole picture; a row for each synchronisation, newest first."""
    height = TOP + max(len(rows), 1) * ROW + BOTTOM
    most_files = max([int(row["copied"]) for row in rows] + [1])
    most_bytes = max([int(row["bytes"]) for row in rows] + [1])
    bars = "\n".join(bar(row, index, most_files, most_bytes) for index, row in enumerate(rows))
    nothing = f'<text x="12" y="{TOP + 15}">Nothing has been synchronised yet.</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="12" fill="#333">\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n'
        f'<text x="12" y="24" font-size="16">Files copied (thick) and bytes (thin) by synchronisation</text>\n'
        f"{bars or nothing}\n</svg>\n"
    )


@plugin.route("/report.svg", methods=["GET"])
def report(request: Any) -> Response:
    return Response(chart(history(request)), 200, {"content-type": "image/svg+xml", "cache-control": "no-store"})


@plugin.route("/summary", methods=["GET"])
def summary(request: Any) -> Dict[str, Any]:
    rows = history(request)
    outcomes = [row["outcome"] for row in rows]
    return {
        "synchronisations": len(rows),
        "outcomes": {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))},
        "copied": sum(int(row["copied"]) for row in rows),
        "bytes": sum(int(row["bytes"]) for row in rows),
        "newest": rows[0]["id"] if rows else None,
    }


if __name__ == "__main__":
    plugin.run()
