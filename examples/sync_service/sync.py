"""The engine: makes one folder a copy of another. It knows nothing of the web, the history or plugins.

Files are compared by size and SHA-256. A file appears in the target whole or not at all: it is copied under a
temporary name and renamed. Symbolic links are neither followed nor copied, on either side: those in the source are
counted, and one that stands in the way in the target is an error, so that nothing is ever written elsewhere.
"""
from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Dict, Iterator, List, Optional

_CHUNK = 1 << 20
_TEMPORARY = ".sync-"


class SyncError(Exception):
    """The folders cannot be synchronised; the message says why."""


@dataclass
class SyncResult:
    """What was done: numbers of files, and `size`, the bytes copied. `links`: what is neither file nor folder."""

    copied: int = 0
    skipped: int = 0
    deleted: int = 0
    links: int = 0
    size: int = 0


def check_folders(source: Path, target: Path) -> None:
    """Raise `SyncError` unless `source` is a folder and neither lies in the other. Links on the way are resolved."""
    if not source.is_dir():
        raise SyncError(f"the source {source} is not a folder")
    if target.exists() and not target.is_dir():
        raise SyncError(f"the target {target} is not a folder")
    real_source, real_target = source.resolve(), target.resolve()
    if real_source == real_target:
        raise SyncError(f"source and target are the same folder, {real_source}")
    if real_source in real_target.parents or real_target in real_source.parents:
        raise SyncError(f"one folder lies in the other: {real_source}, {real_target}")


def folder_size(folder: Path) -> int:
    """The bytes of all regular files below a folder."""
    total = 0
    for entry in _entries(folder).values():
        if entry.is_dir(follow_symlinks=False):
            total += folder_size(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            total += entry.stat(follow_symlinks=False).st_size
    return total


def synchronise(source: Path, target: Path, *, delete: bool = False) -> SyncResult:
    """Make `target` a copy of `source`. With `delete`, what only the target has is removed.

    Raises `SyncError` for folders that do not fit and `OSError` where the system refuses; what was copied until then
    stays, so that a second run has less to do.
    """
    check_folders(source, target)
    source, target = source.resolve(), target.resolve()
    target.mkdir(parents=True, exist_ok=True)
    result = SyncResult()
    folders = [Path()]
    while folders:
        folder = folders.pop()
        folders.extend(_synchronise_folder(source / folder, target / folder, folder, delete, result))
    return result


def _synchronise_folder(source: Path, target: Path, name: Path, delete: bool, result: SyncResult) -> List[Path]:
    """Synchronise the entries of one folder; the folders in it, which are left to do."""
    wanted, present = _entries(source), _entries(target)
    folders: List[Path] = []
    if delete:
        for extra in sorted(set(present) - set(wanted)):
            result.deleted += _remove(present[extra])
    for entry_name, entry in sorted(wanted.items()):
        there = present.get(entry_name)
        if entry.is_dir(follow_symlinks=False):
            _make_folder(target / entry_name, there, delete, result)
            folders.append(name / entry_name)
        elif entry.is_file(follow_symlinks=False):
            _synchronise_file(Path(entry.path), target / entry_name, there, delete, result)
        else:
            result.links += 1
    return folders


def _entries(folder: Path) -> Dict[str, os.DirEntry[str]]:
    with os.scandir(str(folder)) as entries:
        return {entry.name: entry for entry in entries}


def _make_folder(target: Path, there: Optional[os.DirEntry[str]], delete: bool, result: SyncResult) -> None:
    if there is not None and there.is_dir(follow_symlinks=False):
        return
    if there is not None:
        _clear(target, there, delete, result, "a folder")
    target.mkdir()


def _synchronise_file(source: Path, target: Path, there: Optional[os.DirEntry[str]], delete: bool,
                      result: SyncResult) -> None:
    if there is not None and not there.is_file(follow_symlinks=False):
        _clear(target, there, delete, result, "a file")
    elif there is not None and _same_content(source, target):
        result.skipped += 1
        return
    result.size += _copy(source, target)
    result.copied += 1


def _clear(target: Path, there: os.DirEntry[str], delete: bool, result: SyncResult, wanted: str) -> None:
    """Make way for something of another kind, which is a deletion and must have been asked for."""
    if not delete:
        raise SyncError(f"{target} stands where {wanted} belongs; remove it, or synchronise with deletion")
    result.deleted += _remove(there)


def _remove(entry: os.DirEntry[str]) -> int:
    """Remove a file, a link itself, or a folder with all that is in it; the number of files and links."""
    if not entry.is_dir(follow_symlinks=False):
        os.unlink(entry.path)
        return 1
    count = sum(len(files) for _, _, files in os.walk(entry.path))
    shutil.rmtree(entry.path)
    return count


def _same_content(source: Path, target: Path) -> bool:
    if source.stat().st_size != target.stat().st_size:
        return False
    return _digest(source) == _digest(target)


def _digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in _chunks(file):
            digest.update(chunk)
    return digest.digest()


def _copy(source: Path, target: Path) -> int:
    """Copy a file, its mode and its times, and put it in place at once; the number of bytes."""
    descriptor, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=str(target.parent))
    try:
        size = 0
        with os.fdopen(descriptor, "wb") as written, source.open("rb") as read:
            for chunk in _chunks(read):
                size += written.write(chunk)
            written.flush()
            os.fsync(written.fileno())
        shutil.copystat(str(source), temporary)
        os.replace(temporary, str(target))
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    return size


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: file.read(_CHUNK), b"")
