"""Why a program ended, or did not start, in words that help."""
from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path
from typing import Optional, Sequence

import pytest

from legacy_plugins.rpc.conversation import EndReason
from legacy_plugins.rpc.crash import CrashReport, explain_spawn_error
from legacy_plugins.transport.base import ExitStatus
from legacy_plugins.transport.confinement import EX_CONFIG

ENDED = EndReason("its stdout ended")


def _report(status: Optional[ExitStatus], reason: EndReason = ENDED, tail: Sequence[str] = ()) -> CrashReport:
    return CrashReport.of("p", status, reason, stderr_tail=tail, last_method="m", uptime=1.5, pid=7)


@pytest.mark.fault("P5", "P19", "L5")
@pytest.mark.parametrize(("status", "tail", "summary"), [
    (ExitStatus(code=1), (), "exit code 1"),
    (ExitStatus(code=1), ("Traceback (most recent call last):", '  File "x.py", line 1', "KeyError: 'a'", ""),
     "exit code 1 (its last words: KeyError: 'a')"),
    (ExitStatus(code=1), ("  only indented",), "exit code 1"),
    (ExitStatus(code=1), ("x" * 300,), "exit code 1 (its last words: " + "x" * 200 + ")"),
    (ExitStatus(code=0), ("chatter",), "exit code 0 (it ended by itself, without being asked to)"),
    (ExitStatus(code=126), (), "exit code 126 (the command was found but is not executable)"),
    (ExitStatus(code=127), (), "exit code 127 (the command was not found)"),
    (ExitStatus(code=127), ("sh: foo: not found",), "exit code 127 (its last words: sh: foo: not found)"),
    (ExitStatus(signal=9), (),
     "killed by SIGKILL (killed from outside: by an operator, or by the kernel for want of memory)"),
    (ExitStatus(signal=11), ("noise",), "killed by SIGSEGV (a crash in native code)"),
    (ExitStatus(signal=15), (), "killed by SIGTERM"),
    (ExitStatus(signal=40), (), "killed by signal 40"),
    (ExitStatus(), (), "exit status unknown"),
    (None, (), "exit status unknown (it closed its stdout but kept running)"),
])
def test_the_summary(status: Optional[ExitStatus], tail: Sequence[str], summary: str) -> None:
    """One line: how it ended, and what an operator would say to that."""
    assert _report(status, tail=tail).summary == summary


def test_a_wrong_configuration_is_named() -> None:
    """EX_CONFIG says that another start is no use."""
    assert "is not restarted" in _report(ExitStatus(code=EX_CONFIG)).summary


def test_a_fault_comes_first() -> None:
    """A process that was ended for a fault was killed by us: the fault is what counts."""
    report = _report(ExitStatus(signal=9), EndReason("a bare LF in the header", "protocol error"), ("chatter",))
    assert report.summary == report.fault == "protocol error: a bare LF in the header"
    assert (report.signal, report.exit_code, report.diagnosis) == ("SIGKILL", None, "")


@pytest.mark.fault("L5")
def test_all_that_is_known_is_there() -> None:
    """Exit code, last method, uptime, pid, the stderr tail as a tuple; the report survives pickling."""
    report = _report(ExitStatus(code=3), tail=["one", "two"])
    assert report == CrashReport("p", 3, None, None, ("one", "two"), "m", 1.5, "its last words: two", 7)
    assert pickle.loads(pickle.dumps(report)) == report


# ---- what could not be started


@pytest.mark.fault("P1")
def test_what_is_missing_is_named(tmp_path: Path) -> None:
    """The working directory, the program, or the interpreter of a script: whichever it is, with what to check."""
    missing = FileNotFoundError(errno.ENOENT, "No such file or directory")
    script = tmp_path / "script"
    script.write_bytes(b"#!/nowhere/python -u\nprint()\n")
    known = tmp_path / "known"
    known.write_bytes(b"#!/bin/sh\n")
    assert "check `cwd`" in explain_spawn_error(missing, ["/bin/true"], str(tmp_path / "no"))
    assert "'/nowhere/x' does not exist; check `command`" in explain_spawn_error(missing, ["/nowhere/x"], None)
    assert "needs the interpreter '/nowhere/python'" in explain_spawn_error(missing, [str(script)], str(tmp_path))
    plain = tmp_path / "plain"
    plain.write_bytes(b"\x7fELF")
    for fine in (known, plain, tmp_path):
        assert "does not exist; check `command`" in explain_spawn_error(missing, [str(fine)], None)


@pytest.mark.fault("P1", "P21")
@pytest.mark.parametrize(("number", "words"), [
    (errno.EACCES, "chmod +x"), (errno.ENOEXEC, "wrong architecture"), (errno.EMFILE, "out of resources"),
    (errno.EAGAIN, "out of resources"), (errno.ENOMEM, "out of resources"), (errno.ELOOP, os.strerror(errno.ELOOP))])
def test_other_errors(number: int, words: str) -> None:
    """Each says what to do, or at least what the system said."""
    assert words in explain_spawn_error(OSError(number, os.strerror(number)), ["/bin/x"], None)
    assert explain_spawn_error(OSError("odd"), ["/bin/x"], None) == "'/bin/x': odd"
