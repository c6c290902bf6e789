"""A program as a child process with three pipes: how it is spawned, watched, signalled and reaped.

Spawning uses plain `subprocess.Popen` with an argument vector, a new session and the least environment: never a
shell, never `preexec_fn` (it runs Python in a forked child whose locks may be held), never a parent-death signal (it
fires when the spawning thread ends). The pipes are raw descriptors, since buffered file objects hang when they are
closed from another thread or in a forked child. `subprocess.Popen` is looked up at call time, since gevent replaces it.

All methods: the supervising thread.
"""
from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, List, Mapping, Optional, Sequence, Tuple

from legacy_plugins.transport import descriptors
from legacy_plugins.transport.base import ExitStatus, Process
from legacy_plugins.transport.greenlets import cooperative
from legacy_plugins.transport.stdio import PipeReader, PipeStream

_KILL_SECONDS = 1.0
_PIDFD_OPEN = 434  # the system call's number on every Linux architecture; `os.pidfd_open` came with Python 3.9


@dataclass(frozen=True)
class LaunchSpec:
    """What to execute: the argument vector, the working directory (None: the host's) and the whole environment."""

    argv: Tuple[str, ...]
    cwd: Optional[str] = None
    env: Optional[Mapping[str, str]] = None


class ChildProcess(Process):
    """A program that was started. Raises `OSError` when it cannot be, with nothing left behind."""

    def __init__(self, spec: LaunchSpec, *, capture_stderr: bool = True) -> None:
        self._status: Optional[ExitStatus] = None
        self._owner = os.getpid()
        self._released = False
        ends: List[int] = []  # of the pipes: (read, write) for each of stdin, stdout, stderr
        try:
            for _ in range(3 if capture_stderr else 2):
                ends.extend(descriptors.open_pipe())
            theirs = [ends[0], ends[3], *ends[5:]]
            self._popen = _spawn(spec, *theirs)
        except BaseException:
            _close_all(ends)
            raise
        _close_all(theirs)
        self.pid: Optional[int] = self._popen.pid
        self.exit_fd = open_pidfd(self._popen.pid)
        try:
            self.stream = PipeStream(ends[2], ends[1])
            self.log_stream = PipeReader(ends[4]) if capture_stderr else None
        except BaseException:  # no descriptor is left for what waking a reader may need
            self._undo(ends)
            raise

    def _undo(self, ends: List[int]) -> None:
        """The program runs, but nobody could talk to it."""
        stream = getattr(self, "stream", None)
        if stream is not None:
            stream.interrupt()
            stream.read()  # closes what belongs to it
        self.send_signal(KILL)
        try:
            self._popen.wait(_KILL_SECONDS)
        except subprocess.TimeoutExpired:
            pass  # in the kernel's hands; `subprocess` reaps it some day
        self.release()
        _close_all(ends)

    def exit_status(self) -> Optional[ExitStatus]:
        if self._status is None:
            self._status = self._look()
        return self._status

    def send_signal(self, number: int) -> None:
        if self._released or self.pid is None or self._owner != os.getpid():  # of a forked child it is none
            return
        try:  # its group, which the leader of a session cannot leave; a group keeps its number while anybody is in it
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            pass

    def release(self) -> None:
        if self._released or self._owner != os.getpid():
            return
        self._released = True
        if self.exit_status() is not None:
            self._popen.poll()  # reaps; its idea of the status is wrong where something else reaped
        if self.exit_fd is not None:
            descriptors.close(self.exit_fd)

    def _look(self) -> Optional[ExitStatus]:
        if not hasattr(os, "waitid"):
            return _from_returncode(self._popen.poll())
        try:
            info = os.waitid(os.P_PID, self._popen.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # gevent reaps its children itself; SIGCHLD may be ignored; an arbiter may reap all
            return _from_returncode(self._popen.poll()) if cooperative() else ExitStatus()
        if info is None:
            return None
        if info.si_code == os.CLD_EXITED:
            return ExitStatus(code=info.si_status)
        return ExitStatus(signal=info.si_status)


def _spawn(spec: LaunchSpec, stdin: int, stdout: int, stderr: Optional[int] = None) -> subprocess.Popen[bytes]:
    with descriptors.spawning(stdin, stdout, *(() if stderr is None else (stderr,))):
        program = subprocess.Popen(
            list(spec.argv), bufsize=0, stdin=stdin, stdout=stdout, stderr=stderr, cwd=spec.cwd,
            env=None if spec.env is None else dict(spec.env), start_new_session=True, close_fds=True)
        descriptors.enter_program(program)
    return program


def _close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        descriptors.close(fd)


def _from_returncode(code: Optional[int]) -> Optional[ExitStatus]:
    if code is None:
        return None
    return ExitStatus(signal=-code) if code < 0 else ExitStatus(code=code)


def open_pidfd(pid: int) -> Optional[int]:
    """A descriptor that becomes readable when the process ends, None where the system has no such thing."""
    if not sys.platform.startswith("linux"):
        return None
    with descriptors.lock():
        try:
            return descriptors.enter(os.pidfd_open(pid) if hasattr(os, "pidfd_open") else _pidfd_by_number(pid))
        except OSError:
            return None


def _pidfd_by_number(pid: int) -> int:
    libc: Any = ctypes.CDLL(None, use_errno=True)
    fd = int(libc.syscall(_PIDFD_OPEN, pid, 0))
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return fd


#: SIGKILL where the platform has it.
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
