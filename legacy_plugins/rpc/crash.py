"""Why a program ended, or could not be started, in words that help: `CrashReport`.

Pure data and pure functions over it, but for looking at the file that could not be executed. Any thread.
"""
from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import Optional, Sequence, Tuple

from legacy_plugins.rpc.conversation import EndReason
from legacy_plugins.transport.base import ExitStatus
from legacy_plugins.transport.confinement import EX_CONFIG

_SHELL_CODES = {126: "the command was found but is not executable", 127: "the command was not found"}


@dataclass(frozen=True)
class CrashReport:
    """What is known of a program's end. `uptime`: seconds. `stderr_tail`: its last lines, redacted as logs are."""

    plugin: str
    exit_code: Optional[int] = None
    signal: Optional[str] = None
    fault: Optional[str] = None
    stderr_tail: Tuple[str, ...] = ()
    last_method: Optional[str] = None
    uptime: Optional[float] = None
    diagnosis: str = ""
    pid: Optional[int] = None

    @classmethod
    def of(cls, plugin: str, status: Optional[ExitStatus], reason: EndReason, *, stderr_tail: Sequence[str] = (),
           last_method: Optional[str] = None, uptime: Optional[float] = None, pid: Optional[int] = None) -> CrashReport:
        """The report for a process with this exit status (None: it still ran) and this end of its conversation."""
        code = status.code if status else None
        signal = status.signal_name if status else None
        fault = f"{reason.fault}: {reason.text}" if reason.fault else None
        return cls(plugin, code, signal, fault, tuple(stderr_tail), last_method, uptime,
                   _diagnose(status, reason, stderr_tail), pid)

    @property
    def summary(self) -> str:
        """One line: fault or exit status, and the diagnosis where there is one."""
        if self.fault is not None:
            what = self.fault
        elif self.signal is not None:
            what = f"killed by {self.signal}"
        else:
            what = "exit status unknown" if self.exit_code is None else f"exit code {self.exit_code}"
        return f"{what} ({self.diagnosis})" if self.diagnosis and self.diagnosis not in what else what


def _diagnose(status: Optional[ExitStatus], reason: EndReason, tail: Sequence[str]) -> str:
    """What an experienced operator would say."""
    if reason.fault is not None:
        return ""
    if status is None or status.code == 0:
        if reason.error is not None:  # its last message is cut off
            return str(reason.error)
    if status is None:
        return "it closed its stdout but kept running"
    if status.signal_name == "SIGKILL":
        return "killed from outside: by an operator, or by the kernel for want of memory"
    if status.signal_name in ("SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT"):
        return "a crash in native code"
    if status.code == EX_CONFIG:
        return "the program says that its configuration is wrong (EX_CONFIG); it is not restarted"
    if status.code == 0:
        return "it ended by itself, without being asked to"
    for line in reversed(tail):
        if line.strip() and not line.startswith((" ", "\t")):
            return f"its last words: {line.strip()[:200]}"
    return _SHELL_CODES.get(status.code or 0, "")


def explain_spawn_error(error: OSError, argv: Sequence[str], cwd: Optional[str]) -> str:
    """Why the operating system would not start `argv` in `cwd`, and what to do."""
    program = argv[0]
    if cwd is not None and not os.path.isdir(cwd):
        return f"its working directory {cwd!r} does not exist; check `cwd`"
    if error.errno == errno.ENOENT:
        interpreter = _missing_interpreter(program)
        if interpreter is not None:
            return f"{program!r} needs the interpreter {interpreter!r} (its first line names it), which does not exist"
        return f"{program!r} does not exist; check `command`"
    if error.errno == errno.EACCES:
        return f"{program!r} is not executable by this user; try `chmod +x`"
    if error.errno == errno.ENOEXEC:
        return f"{program!r} is not a program for this machine: wrong architecture, or a script without a `#!` line"
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM):
        return f"the system is out of resources: {os.strerror(error.errno)}"
    return f"{program!r}: {error.strerror or error}"


def _missing_interpreter(program: str) -> Optional[str]:
    """The interpreter that a script's `#!` line names, when it is not there."""
    try:
        with open(program, "rb") as file:
            first = file.readline(256)
    except OSError:
        return None
    if not first.startswith(b"#!"):
        return None
    words = first[2:].decode("utf-8", "backslashreplace").split()
    return words[0] if words and not os.path.exists(words[0]) else None
