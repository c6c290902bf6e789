"""Files that a plugin asks the web server to send.

Owns the one check between a path that a plugin named and a file that leaves the machine: inside the operator's
`http.fileRoots` by its real path, and a regular file. Runs on the web server's thread. The framework opens the file by
the path again, so whoever can rename entries inside a file root chooses what is sent: roots are for directories that
only trusted users write.
"""
from __future__ import annotations

import mimetypes
import os
import stat
from typing import Any, Sequence

from legacy_plugins.http.problems import bad_answer

# Should the file be swapped for something else meanwhile: do not wait for the other end of a fifo, follow a link, take
# a terminal, or leak to children.
_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOFOLLOW", "O_NOCTTY", "O_CLOEXEC"))


def checked_file(path: Any, roots: Sequence[str]) -> str:
    """The real path of a regular file inside one of the roots; raises `HttpProblem` 502 for anything else.

    `path`: the answer's `bodyFile`, which must be absolute. `roots`: absolute directories.
    """
    if not isinstance(path, str) or not os.path.isabs(path):
        raise bad_answer(f"`bodyFile` is {path!r:.200}, not an absolute path")
    try:
        real = os.path.realpath(path)
        if not any(_inside(real, os.path.realpath(root)) for root in roots):
            raise bad_answer(f"`bodyFile` {path!r:.200} is not inside http.fileRoots ({', '.join(roots) or 'empty'})")
        if not stat.S_ISREG(os.lstat(real).st_mode):  # opening a fifo or a device is an act of its own
            raise bad_answer(f"`bodyFile` {path!r:.200} is not a regular file")
        os.close(os.open(real, _FLAGS))
    except (OSError, ValueError) as error:
        raise bad_answer(f"`bodyFile` {path!r:.200} cannot be opened: {error}") from None
    return real


def _inside(real: str, root: str) -> bool:
    return real != root and os.path.commonpath([real, root]) == root


def guessed_type(path: str) -> str:
    """The media type by the file's name, text being UTF-8; plain bytes where it is unknown or compressed."""
    media_type, coding = mimetypes.guess_type(path)
    if media_type is None or coding is not None:
        return "application/octet-stream"
    return f"{media_type}; charset=utf-8" if media_type.startswith("text/") else media_type
