"""The record of all synchronisations, in SQLite.

Each call opens a connection of its own, so the record may be used from any thread and from several worker processes;
write-ahead logging lets them read while one writes. Times are RFC 3339 in UTC.
"""
from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

_TABLE = """
CREATE TABLE IF NOT EXISTS synchronisations (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    started  TEXT NOT NULL,
    finished TEXT,
    source   TEXT NOT NULL,
    target   TEXT NOT NULL,
    copied   INTEGER NOT NULL DEFAULT 0,
    skipped  INTEGER NOT NULL DEFAULT 0,
    deleted  INTEGER NOT NULL DEFAULT 0,
    bytes    INTEGER NOT NULL DEFAULT 0,
    outcome  TEXT NOT NULL DEFAULT 'running' CHECK (outcome IN ('running', 'completed', 'failed')),
    error    TEXT,
    pid      INTEGER NOT NULL
)
"""
_SELECT = """
SELECT id, started, finished, source, target, copied, skipped, deleted, bytes, outcome, error FROM synchronisations
"""
_BEGIN = "INSERT INTO synchronisations (started, source, target, pid) VALUES (?, ?, ?, ?)"
_COMPLETE = """
UPDATE synchronisations
SET finished = ?, outcome = 'completed', copied = ?, skipped = ?, deleted = ?, bytes = ? WHERE id = ?
"""
_FAIL = "UPDATE synchronisations SET finished = ?, outcome = 'failed', error = ? WHERE id = ?"
_BUSY_SECONDS = 10.0


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class History:
    """The table of synchronisations in the database file `path`, which is made where it is missing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        # Changing to write-ahead logging does not wait for others who do the same: workers that start side by side
        # would find the database locked.
        with path.with_name(path.name + ".lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with self._connection() as connection:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute(_TABLE)

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(str(self.path), timeout=_BUSY_SECONDS)) as connection:
            connection.row_factory = sqlite3.Row
            with connection:  # commits, or rolls back on an error
                yield connection

    def begin(self, source: str, target: str) -> int:
        """Record that a synchronisation has started; its id."""
        with self._connection() as connection:
            cursor = connection.execute(_BEGIN, (_now(), source, target, os.getpid()))
            return int(cursor.lastrowid or 0)

    def complete(self, sync_id: int, *, copied: int, skipped: int, deleted: int, size: int) -> None:
        """Record that it has succeeded; `size` is the number of bytes copied."""
        with self._connection() as connection:
            connection.execute(_COMPLETE, (_now(), copied, skipped, deleted, size, sync_id))

    def fail(self, sync_id: int, error: str) -> None:
        """Record that it has failed, and why."""
        with self._connection() as connection:
            connection.execute(_FAIL, (_now(), error, sync_id))

    def get(self, sync_id: int) -> Optional[Dict[str, Any]]:
        """One synchronisation, or None."""
        with self._connection() as connection:
            row = connection.execute(_SELECT + "WHERE id = ?", (sync_id,)).fetchone()
            return dict(row) if row else None

    def recent(self, limit: int = 50) -> List[Dict[str, Any]]:
        """The newest synchronisations, newest first."""
        with self._connection() as connection:
            rows = connection.execute(_SELECT + "ORDER BY id DESC LIMIT ?", (limit,))
            return [dict(row) for row in rows]

    def close_interrupted(self) -> int:
        """Record as failed what the processes that are gone had under way; how many those were."""
        with self._connection() as connection:
            running = connection.execute("SELECT id, pid FROM synchronisations WHERE outcome = 'running'").fetchall()
            dead = [row["id"] for row in running if not _is_alive(row["pid"])]
            reason = "interrupted: the process that ran it ended"
            connection.executemany(_FAIL, [(_now(), reason, sync_id) for sync_id in dead])
            return len(dead)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
