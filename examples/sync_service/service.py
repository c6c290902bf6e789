"""What this application does, without the web: a synchronisation with its record and its events.

Any thread of any worker process may call it. Plugins learn of everything through the signals of `events.py` and are
not known here.
"""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Sequence, Tuple

from .events import SyncCompleted, SyncFailed, SyncStarted
from .history import History
from .locks import folder_lock
from .sync import SyncError, check_folders, synchronise


class OutsideRoots(SyncError):
    """A folder lies outside the folders that the operator allows."""


class Service:
    """Synchronises folders below `roots` and keeps the record in `history`; `locks` is a folder of its own."""

    def __init__(self, history: History, roots: Sequence[Path], locks: Path) -> None:
        self.history = history
        self.roots: Tuple[Path, ...] = tuple(root.resolve() for root in roots)
        self._locks = locks

    def folders(self, source: str, target: str) -> Tuple[Path, Path]:
        """The two folders, resolved and allowed. A relative path is meant below the first root."""
        resolved = self._allowed(source), self._allowed(target)
        check_folders(*resolved)
        return resolved

    def _allowed(self, given: str) -> Path:
        if not given or not given.isprintable():
            raise SyncError(f"{given!r} is not the path of a folder")
        path = (self.roots[0] / given).resolve()  # an absolute path replaces the root
        if not any(root == path or root in path.parents for root in self.roots):
            allowed = ", ".join(map(str, self.roots))
            raise OutsideRoots(f"{path} is outside the folders that may be synchronised ({allowed}); "
                               "the operator sets them in SYNC_ROOTS")
        return path

    def run(self, source: Path, target: Path, *, delete: bool = False) -> Dict[str, Any]:
        """Synchronise, and return the record. What goes wrong is recorded, sent as `SyncFailed`, and in the record.

        Raises `FolderBusy`, before anything is recorded, where the target is being written to.
        """
        with folder_lock(self._locks, target):
            sync_id = self.history.begin(str(source), str(target))
            facts: Dict[str, Any] = {"id": sync_id, "source": str(source), "target": str(target)}
            SyncStarted.send(self, **facts)
            try:
                result = synchronise(source, target, delete=delete)
            except (SyncError, OSError) as error:
                self.history.fail(sync_id, str(error))
                SyncFailed.send(self, error=str(error), **facts)
            else:
                done: Dict[str, Any] = {"copied": result.copied, "skipped": result.skipped, "deleted": result.deleted}
                self.history.complete(sync_id, size=result.size, **done)
                SyncCompleted.send(self, bytes=result.size, **done, **facts)
        record = self.history.get(sync_id)
        assert record is not None, "a row that was just written"
        return record
