"""What command lines and paths of a configuration mean: absolute, once, when it is loaded.

Relative paths belong to the configuration file's folder, bare names to PATH; neither ever depends on the folder that
the host happens to run in. Links are kept: a virtual environment's interpreter is one, and what is executed is what was
written. Looks at the file system, runs nothing, decides nothing about trust. Calling thread only.
"""
from __future__ import annotations

import os
import shutil
import sys
from typing import Mapping, Optional, Sequence, Tuple

from legacy_plugins.transport.trust import interpreter_script_index

#: Stands for the interpreter that the host itself runs on.
HOST_PYTHON = "python"


class CommandResolver:
    """Resolves for one configuration.

    `base_dir`: absolute folder that relative paths are relative to. `environ`: where PATH is taken from.
    """

    def __init__(self, base_dir: str, environ: Mapping[str, str]) -> None:
        self._base_dir = base_dir
        self._search_path = _search_path(environ.get("PATH", ""))

    def path(self, path: str) -> str:
        """`path` absolute; one that is absolute already stays as it is."""
        return path if os.path.isabs(path) else os.path.normpath(os.path.join(self._base_dir, path))

    def executable(self, command: str) -> Optional[str]:
        """What a command means, absolute; None for a bare name that is not found."""
        if os.path.isabs(command) or "/" in command or os.sep in command:
            return self.path(command)
        if command == HOST_PYTHON:
            return host_python()
        return shutil.which(command, path=self._search_path) if self._search_path else None

    def arguments(self, executable: str, args: Sequence[str]) -> Tuple[str, ...]:
        """`args` with the interpreter's script, and what begins with `./` or `../`, made absolute."""
        script = interpreter_script_index(executable, args)
        return tuple(self.path(argument) if index == script or _is_relative(argument) else argument
                     for index, argument in enumerate(args))

    def vector(self, argv: Sequence[str]) -> Tuple[str, ...]:
        """A whole command line; its first element stays as given where it is a bare name that is not found."""
        executable = self.executable(argv[0]) or argv[0]
        return (executable, *self.arguments(executable, argv[1:]))


def host_python() -> Optional[str]:
    """The interpreter that the host runs on, links kept.

    Inside a server that embeds Python `sys.executable` is the server, or empty, or (pyuwsgi) the interpreter that the
    server's virtual environment was made from; then it is the interpreter of the installation or virtual environment
    that the server was given. None where there is none.
    """
    own = sys.executable or ""
    candidates = [os.path.join(sys.prefix, "bin", name)
                  for name in (f"python{sys.version_info[0]}.{sys.version_info[1]}", "python3", "python")]
    if os.path.basename(own).lower().startswith(("python", "pypy")):
        candidates.insert(len(candidates) if _outside_its_environment(own) else 0, own)
    return next((path for path in candidates if os.path.isfile(path)), None)


def _outside_its_environment(executable: str) -> bool:
    """Whether this process has a virtual environment, and the interpreter (a link in there, usually) is not of it."""
    prefix = os.path.realpath(sys.prefix)
    folder = os.path.realpath(os.path.dirname(executable))
    return sys.prefix != sys.base_prefix and not (folder + os.sep).startswith(prefix + os.sep)


def _is_relative(argument: str) -> bool:
    return argument.startswith(("./", "../"))


def _search_path(path: str) -> str:
    """PATH without the current folder and anything relative to it: an empty entry or `.` would run what lies there."""
    return os.pathsep.join(entry for entry in path.split(os.pathsep) if os.path.isabs(entry))
