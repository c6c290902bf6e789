"""Who may write into a folder: one synchronisation at a time, across all worker processes.

A lock is a `flock` on a file in the application's own folder. A dead process holds none.
"""
from __future__ import annotations

import contextlib
import fcntl
import hashlib
from pathlib import Path
from typing import Iterator


class FolderBusy(Exception):
    """Another synchronisation is writing into this folder, into one inside it, or into one around it."""


@contextlib.contextmanager
def folder_lock(directory: Path, folder: Path) -> Iterator[None]:
    """Hold `folder`, a resolved path, with lock files in `directory`; raises `FolderBusy` at once where it is taken.

    The folders around it are held together with others who only hold something inside them.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        for parent in reversed(folder.parents):
            stack.enter_context(_lock(directory, parent, fcntl.LOCK_SH, folder))
        stack.enter_context(_lock(directory, folder, fcntl.LOCK_EX, folder))
        yield


@contextlib.contextmanager
def _lock(directory: Path, folder: Path, kind: int, wanted: Path) -> Iterator[None]:
    name = hashlib.sha256(str(folder).encode("utf-8", "surrogateescape")).hexdigest()
    with (directory / name).open("ab") as file:  # closing it releases the lock
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderBusy(f"another synchronisation is writing into {wanted} or around it") from None
        yield
