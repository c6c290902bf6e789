"""Who else can change what runs when a path is executed: modes and owners along the whole way to the file.

Whoever can write the file, or replace an entry on the way to it (a directory, a link), decides what runs, whatever was
checked before. So every step that the kernel takes is looked at, links included. POSIX systems; access control lists
show in the group's bits, which only `strict` looks at. Reads the file system; any thread.
"""
from __future__ import annotations

import errno
import os
import stat
from typing import Dict, List, Tuple

_MOST_LINKS = 40  # as the Linux kernel has it (path_resolution(7))


def foreign_writers(path: str, *, strict: bool = False) -> List[str]:
    """Why users other than us and root could change what runs at the absolute `path`; empty when they cannot.

    Standard: others may not write the file, its directory or an ancestor. A sticky ancestor such as /tmp is fine when
    the entry below it is ours or root's, since only its owner can rename it. `strict`: nor the group, and the owner is
    us or root. Raises `OSError` where a step cannot be read.
    """
    steps = _steps(path)
    real = os.path.realpath(path)
    holders = (os.path.dirname(real), os.path.realpath(os.path.dirname(path)))
    faults: Dict[str, str] = {}  # one for each place, in the order of the way
    for entry, status in steps:
        directory = os.path.dirname(entry)
        holder = os.stat(directory)
        if directory not in holders and _is_sticky(holder, strict):
            if not _is_ours(status):
                faults.setdefault(entry, f"{entry!r} belongs to uid {status.st_uid}, in a directory that others write")
        else:
            faults.update(_judge(directory, holder, strict))
    faults.update(_judge(real, os.stat(real), strict))
    return list(faults.values())


def _steps(path: str) -> List[Tuple[str, os.stat_result]]:
    """Every entry that resolving `path` goes through, with its own status; the directories before each are resolved."""
    steps: List[Tuple[str, os.stat_result]] = []
    pending = path.split("/")[::-1]
    current, links = "/", 0
    while pending:
        part = pending.pop()
        if part in ("", "."):
            continue
        if part == "..":
            current = os.path.dirname(current)
            continue
        entry = os.path.join(current, part)
        status = os.lstat(entry)
        steps.append((entry, status))
        if not stat.S_ISLNK(status.st_mode):
            current = entry
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        target = os.readlink(entry)
        current = "/" if target.startswith("/") else current
        pending.extend(target.split("/")[::-1])
    return steps


def _is_sticky(directory: os.stat_result, strict: bool) -> bool:
    """Others may add entries but touch only their own; the directory's owner, whom strict wants to be us, may more."""
    return bool(directory.st_mode & stat.S_ISVTX) and (_is_ours(directory) or not strict)


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid in (0, os.geteuid())


def _judge(place: str, status: os.stat_result, strict: bool) -> Dict[str, str]:
    """The fault of one file or directory, by its path; empty when it has none."""
    mode = f"mode {stat.S_IMODE(status.st_mode):04o}"
    if status.st_mode & stat.S_IWOTH:
        return {place: f"{place!r} can be written by everybody ({mode}); run chmod o-w on it"}
    if strict and status.st_mode & stat.S_IWGRP:
        return {place: f"{place!r} can be written by its group {status.st_gid} ({mode}); run chmod g-w on it"}
    if strict and not _is_ours(status):
        return {place: f"{place!r} belongs to uid {status.st_uid}, neither to uid {os.geteuid()} nor to root"}
    return {}
