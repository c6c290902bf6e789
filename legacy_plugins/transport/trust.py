"""Whether a command may run: inside a trusted directory, an allowed executable, or an exactly allowed command line.

`TrustPolicy.check` is called before every start, since links, files and modes change between two of them; it compares
real paths but gives back the path that was asked for, because an interpreter of a virtual environment is a link whose
place matters: Python loads the modules of the environment that it is called in, so that place must be allowed, too.
Wrappers (a sandbox in front of the command) are the operator's own and are not checked here. Reads the file system,
starts nothing, keeps nothing; any thread. It must not import `config`.
"""
from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from typing import Callable, Iterable, List, Optional, Protocol, Sequence, Tuple

from legacy_plugins.errors import PluginStartFailed, UntrustedCommand
from legacy_plugins.transport.interpreters import Reading, interpreter_script_index, read_command_line
from legacy_plugins.transport.permissions import foreign_writers

__all__ = ["AllowedCommand", "TrustPolicy", "TrustedProgram", "check_sha256", "file_sha256",
           "interpreter_script_index"]

_CHUNK = 1 << 20


class AllowedCommand(Protocol):
    """An entry of `trust.commands`: as given, its absolute path (None: not found on PATH), an exact command line."""

    @property
    def path(self) -> Optional[str]: ...
    @property
    def given(self) -> str: ...
    @property
    def argv(self) -> Optional[Tuple[str, ...]]: ...


@dataclass(frozen=True)
class TrustedProgram:
    """What may run.

    `argv`: what to execute, links not resolved. `file`: real path of the file whose code runs: the executable, or the
    interpreter's script; the one to hash. `script`: the script as it stands in `argv`, None where there is none.
    """

    argv: Tuple[str, ...]
    file: str
    script: Optional[str] = None


class TrustPolicy:
    """The configuration's `trust`. `directories`: absolute paths. `permissions`: standard, strict or off.

    Raises `ValueError` for a directory that is not absolute and for permissions of another name.
    """

    def __init__(self, directories: Iterable[str], commands: Iterable[AllowedCommand],
                 permissions: str = "standard") -> None:
        self.directories = tuple(directories)
        self.commands = tuple(commands)
        self.permissions = permissions
        for directory in self.directories:
            if not os.path.isabs(directory):
                raise ValueError(f"trusted directory {directory!r} is not an absolute path")
        if permissions not in ("standard", "strict", "off"):
            raise ValueError(f"trust.permissions is {permissions!r}; expected standard, strict or off")

    def check(self, executable: Optional[str], args: Sequence[str], *, plugin: str) -> TrustedProgram:
        """The program to run for `executable` (absolute; None: not found on PATH) and `args`.

        Raises `UntrustedCommand` with every reason at once, and `PluginStartFailed` where there is no such file or it
        cannot be executed. Nothing was run in either case.
        """
        if executable is None:
            raise _start_failure(plugin, "was not found on PATH", "give an absolute path")
        argv = (executable, *args)
        self._refuse(_malformed(argv), plugin)
        real = _real_file(executable, plugin, "command")
        if not os.access(real, os.X_OK):
            raise _start_failure(plugin, f"{executable!r} is not executable", "run chmod +x on it, or name another")
        reading = read_command_line(executable, args)
        if self._is_allowed_exactly(argv):
            script = _script_of(reading, args)
        else:
            foreign = self._foreign_executable(executable, real, reading)
            self._refuse(foreign + self._foreign_script(reading, args), plugin)
            script = None if reading is None or reading.script is None else args[reading.script]
        file = real if script is None else _real_file(script, plugin, "args")
        self._refuse(self._changeable(executable, script), plugin)
        return TrustedProgram(argv, file, script)

    def _is_allowed_exactly(self, argv: Tuple[str, ...]) -> bool:
        """Compared as given: a link to the same interpreter elsewhere belongs to another environment, other modules."""
        return any(command.argv is not None and argv == (command.path, *command.argv[1:]) for command in self.commands)

    def _foreign_executable(self, executable: str, real: str, reading: Optional[Reading]) -> List[str]:
        allowed = [command.path for command in self.commands if command.argv is None and command.path is not None
                   and os.path.realpath(command.path) == real]
        if not allowed and not self._contains(real):
            where = f"neither inside a trusted directory ({self._listed()}) nor an allowed command"
            remedy = "add its folder to trust.directories, or the program itself to trust.commands"
            if reading is not None:  # its folder is full of other programs
                remedy = f"if it may run scripts of trusted directories, add {executable!r} to trust.commands"
            return [f"{_shown(executable, real)} is {where}; {remedy}"]
        if reading is None or self._contains(os.path.realpath(os.path.dirname(executable))) or any(
                _same_environment(executable, known) for known in (real, *allowed)):
            return []
        where = f"in a place that is neither inside a trusted directory ({self._listed()}) nor an allowed command's"
        why = f"{reading.interpreter} loads code from where it is called"
        remedy = f"if that is meant, add {executable!r} to trust.commands"
        return [f"{_shown(executable, real)} is a link {where}, and {why}; {remedy}"]

    def _foreign_script(self, reading: Optional[Reading], args: Sequence[str]) -> List[str]:
        if reading is None:
            return []
        faults = []
        if reading.fault is not None:
            faults.append(f"{reading.interpreter}: {reading.fault}; if that is meant, add the exact command line to "
                          "trust.commands, as {argv: [...]}")
        if reading.script is not None:
            faults += self._foreign_path(reading.interpreter, args[reading.script])
        return faults

    def _foreign_path(self, interpreter: str, script: str) -> List[str]:
        if not os.path.isabs(script):
            return [f"{interpreter}: its script {script!r} is not an absolute path; give one in `args`"]
        real = os.path.realpath(script)
        if self._contains(real):
            return []
        where = f"not inside a trusted directory ({self._listed()})"
        return [f"{interpreter}: its script {_shown(script, real)} is {where}; add its folder to trust.directories"]

    def _changeable(self, executable: str, script: Optional[str]) -> List[str]:
        if self.permissions == "off" or os.name != "posix":
            return []
        faults: List[str] = []
        for path in (executable,) if script is None else (executable, script):
            try:
                faults += foreign_writers(path, strict=self.permissions == "strict")
            except OSError as error:
                faults.append(f"who can write {path!r} cannot be told: {error}")
        return [f"{fault} (trust.permissions: {self.permissions})" for fault in dict.fromkeys(faults)]

    def _contains(self, real: str) -> bool:
        """By whole path components and real paths: /opt/plugins-evil is not inside /opt/plugins."""
        for directory in map(os.path.realpath, self.directories):
            try:
                if os.path.commonpath((directory, real)) == directory:
                    return True
            except ValueError:  # another drive
                continue
        return False

    def _listed(self) -> str:
        return ", ".join(map(repr, self.directories)) or "there is none"

    @staticmethod
    def _refuse(faults: List[str], plugin: str) -> None:
        if faults:
            raise UntrustedCommand([f"plugin {plugin!r}: {fault}" for fault in faults], plugin=plugin)


def file_sha256(path: str) -> str:
    """The SHA-256 of the file at `path`, hexadecimal. Reads all of it. Raises `OSError`."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def check_sha256(path: str, expected: str, *, plugin: str, digest: Callable[[str], str] = file_sha256) -> None:
    """Compare the SHA-256 of the file at `path` (hexadecimal, in either case) with the configured one.

    `digest(path)` gives it. Raises `UntrustedCommand` with both values where they differ, `PluginStartFailed` where the
    file cannot be read.
    """
    try:
        found = digest(path)
    except OSError as error:
        raise _start_failure(plugin, f"{path!r} cannot be read for its sha256: {error.strerror}", "check it") from error
    if found != expected.lower():
        fault = f"the sha256 of {path!r} is {found}, `sha256` expects {expected.lower()}; check who changed the file"
        raise UntrustedCommand([f"plugin {plugin!r}: {fault}"], plugin=plugin)


def _same_environment(executable: str, known: str) -> bool:
    """Whether Python finds the same `pyvenv.cfg`, if any: beside the executable's path as given, or a folder above."""
    folder, home = os.path.dirname(executable), os.path.realpath(os.path.dirname(known))
    above = os.path.realpath(os.path.dirname(folder))
    return os.path.realpath(folder) == home and os.path.commonpath((above, home)) == above


def _start_failure(plugin: str, what: str, remedy: str, key: str = "command") -> PluginStartFailed:
    return PluginStartFailed(plugin, message=f"plugin {plugin!r}: its `{key}` {what}; {remedy}")


def _malformed(argv: Tuple[str, ...]) -> List[str]:
    faults = [] if os.path.isabs(argv[0]) else [f"its command {argv[0]!r} is not an absolute path; give one"]
    for place, value in enumerate(argv):
        if "\0" in value:
            faults.append(f"its {'command' if place == 0 else f'args[{place - 1}]'} holds a NUL character; remove it")
    return faults


def _real_file(path: str, plugin: str, key: str) -> str:
    """Real path of the regular file at `path`; raises `PluginStartFailed` where there is none."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise _start_failure(plugin, f"names {path!r}: no such file", f"check `{key}`", key) from None
    except OSError as error:
        raise _start_failure(plugin, f"names {path!r}: {error.strerror}", f"check `{key}`", key) from error
    if not stat.S_ISREG(mode):
        kind = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
        raise _start_failure(plugin, f"names {path!r}, which is {kind}", "name the file itself", key)
    return os.path.realpath(path)


def _script_of(reading: Optional[Reading], args: Sequence[str]) -> Optional[str]:
    """The script of an exactly allowed command line, where it has one (`java -cp x Main` names no file)."""
    if reading is None or reading.script is None:
        return None
    script = args[reading.script]
    return script if os.path.isabs(script) and os.path.isfile(script) else None


def _shown(path: str, real: str) -> str:
    return repr(path) if path == real else f"{path!r} (really {real!r})"
