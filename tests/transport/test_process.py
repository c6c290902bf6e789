"""Child processes: what they get, how their end is seen, and that nothing is left behind."""
from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Iterator, List, Optional

import pytest

from legacy_plugins.transport import process as process_module
from legacy_plugins.transport.base import ExitStatus
from legacy_plugins.transport.process import KILL, ChildProcess, LaunchSpec, open_pidfd
from tests.plugins.programs import ROOT, SECONDS, children, descriptors, eventually, state

pytestmark = [pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the tests read /proc"),
              pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")]  # of fork, from Python 3.12 on

PYTHON = (sys.executable, "-I", "-S", "-c")


@pytest.fixture
def start() -> Iterator[Any]:
    """A function that starts a Python program; afterwards all are ended and given back, and nothing may be left."""
    before, mine = descriptors(), children()
    started: List[ChildProcess] = []

    def run(program: str, *args: str, **how: Any) -> ChildProcess:
        made = ChildProcess(LaunchSpec((*PYTHON, program, *args), how.pop("cwd", None), how.pop("env", None)), **how)
        started.append(made)
        return made
    yield run
    for made in started:
        made.send_signal(KILL)
        eventually(lambda: made.exit_status() is not None, "it ends")  # noqa: B023
        made.release()
        made.stream.close_write()
        for source in filter(None, (made.stream, made.log_stream)):
            source.interrupt()
            while source.read():
                pass
    assert descriptors() == before
    assert children() == mine


def _ended(made: ChildProcess) -> ExitStatus:
    eventually(lambda: made.exit_status() is not None, "it ends")
    status = made.exit_status()
    assert status is not None
    return status


def _says(made: ChildProcess) -> str:
    """All that a program says until it ends."""
    said = b""
    while True:
        data = made.stream.read()
        if not data:
            return said.decode()
        said += data


@pytest.mark.fault("T11", "H12")
@pytest.mark.req("R11", "R34")
def test_what_a_program_gets(start: Any, tmp_path: Path) -> None:
    """Three pipes and no other descriptor, its own session, exactly the environment and directory of the spec."""
    made = start("import json, os, sys; fds = os.listdir('/proc/self/fd'); print(json.dumps([sys.argv[1:], "
                 "dict(os.environ), os.getcwd(), os.getsid(0) == os.getpid(), "
                 "sorted(fd for fd in fds if os.path.exists('/proc/self/fd/' + fd))]))",
                 "a b", "$HOME", cwd=str(tmp_path), env={"ONE": "1", "LC_ALL": "C.UTF-8"})
    argv, env, cwd, leads, fds = json.loads(_says(made))
    assert (argv, cwd, leads, fds) == (["a b", "$HOME"], str(tmp_path), True, ["0", "1", "2"])
    assert env == {"ONE": "1", "LC_ALL": "C.UTF-8"}


def test_streams_are_separate(start: Any) -> None:
    """stdin, stdout and stderr are what they are called; EOF on stdin reaches the program."""
    made = start("import sys; sys.stderr.write('log ' + sys.stdin.read()); sys.stdout.write('out')")
    assert made.stream.write(memoryview(b"in")) == 2
    made.stream.close_write()
    assert (_says(made), made.log_stream.read()) == ("out", b"log in")
    assert _ended(made) == ExitStatus(code=0)


def test_without_a_log_stream_stderr_is_the_hosts(start: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """`capture_stderr=False` leaves the program our stderr."""
    made = start("import sys; sys.stderr.write('to the host')", capture_stderr=False)
    assert made.log_stream is None
    assert (_says(made), _ended(made)) == ("", ExitStatus(code=0))
    assert capfd.readouterr().err == "to the host"


@pytest.mark.fault("P5")
@pytest.mark.parametrize(("program", "status", "text"), [
    ("import os; os._exit(0)", ExitStatus(code=0), "exit code 0"),
    ("import os; os._exit(78)", ExitStatus(code=78), "exit code 78"),
    ("import os; os.kill(os.getpid(), 9)", ExitStatus(signal=9), "killed by SIGKILL"),
    ("import os; os.kill(os.getpid(), 11)", ExitStatus(signal=11), "killed by SIGSEGV"),
    ("import os; os.kill(os.getpid(), 40)", ExitStatus(signal=40), "killed by signal 40"),
])
def test_how_it_ended(start: Any, program: str, status: ExitStatus, text: str) -> None:
    """Exit codes and signals are told apart; the pidfd becomes readable; looking does not reap."""
    made = start(program)
    assert made.exit_fd is not None
    poll = select.poll()
    poll.register(made.exit_fd, select.POLLIN)
    assert poll.poll(SECONDS * 1000)
    assert made.exit_status() == status
    assert (str(status), str(made.exit_status())) == (text, text)
    assert state(made.pid) == "Z"
    made.release()
    assert state(made.pid) is None
    assert made.exit_status() == status


def test_a_running_program_has_no_status(start: Any) -> None:
    """None while it runs."""
    made = start("import sys; sys.stdin.read()")
    assert made.exit_status() is None


def test_platforms_without_pidfd_or_waitid(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end is seen by looking; the status is the same."""
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    monkeypatch.setattr(process_module, "_pidfd_by_number", lambda pid: _raise(OSError(errno.ENOSYS, "no pidfd")))
    monkeypatch.delattr(os, "waitid")
    made = start("import os, sys; sys.stdin.read(); os._exit(5)")
    assert made.exit_fd is None
    assert made.exit_status() is None
    made.stream.close_write()
    assert _ended(made) == ExitStatus(code=5)
    made = start("import os; os.kill(os.getpid(), 15)")
    assert _ended(made) == ExitStatus(signal=15)


def _raise(error: BaseException) -> None:
    raise error


def test_a_pidfd_by_number(start: Any) -> None:
    """The system call that Python 3.8 has no function for works, and reports errors."""
    made = start("import sys; sys.stdin.read()")
    fd = process_module._pidfd_by_number(made.pid)
    assert not os.get_inheritable(fd)
    os.close(fd)
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)) as caught:
        process_module._pidfd_by_number(-1)
    assert caught.value.errno == errno.EINVAL
    assert open_pidfd(-1) is None


# ---- starting it fails


@pytest.mark.fault("P1")
@pytest.mark.parametrize(("argv", "cwd", "number"), [
    (("/nowhere/program",), None, errno.ENOENT), ((str(ROOT),), None, errno.EACCES),
    ((sys.executable,), "/nowhere", errno.ENOENT)])
def test_a_failed_start_leaves_nothing(argv: Any, cwd: Optional[str], number: int) -> None:
    """An `OSError` that says why, no descriptor, no zombie."""
    before = descriptors(), children()
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number says which
        ChildProcess(LaunchSpec(argv, cwd, {}))
    assert caught.value.errno == number
    assert (descriptors(), children()) == before


@pytest.mark.fault("T13")
def test_a_nul_byte_leaves_nothing() -> None:
    """What no argument vector can hold is a `ValueError`."""
    before = descriptors(), children()
    with pytest.raises(ValueError, match="null byte"):
        ChildProcess(LaunchSpec((sys.executable, "a\0b"), None, {}))
    assert (descriptors(), children()) == before


@pytest.mark.fault("P21")
@pytest.mark.parametrize("spare", range(10))
def test_running_out_of_descriptors_leaves_nothing(spare: int) -> None:
    """With any number of descriptors left, starting a program works or raises, and leaves neither pipe nor process."""
    before, mine = descriptors(), children()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = [number for number in range(max(before) + spare + 2) if number not in before]
    limit = free[spare] if spare < len(free) else max(before) + spare
    made = None
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        with contextlib.suppress(OSError):
            made = ChildProcess(LaunchSpec((*PYTHON, "import sys; sys.stdin.read()"), None, {}))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (made is None) == (spare < 8)  # three pipes, and the one on which Popen hears of errors
    if made is not None:
        made.send_signal(KILL)
        _ended(made)
        made.release()
        made.stream.close_write()
        for source in filter(None, (made.stream, made.log_stream)):
            source.interrupt()
            source.read()
    assert descriptors() == before
    assert children() == mine


@pytest.mark.fault("P21")
def test_a_program_that_nobody_could_talk_to_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the readers cannot be made after the program was started, it is killed and reaped, the pipes closed."""
    before, mine = descriptors(), children()
    made: List[int] = []

    def fail(fd: int) -> Any:
        made.append(fd)
        raise OSError(errno.EMFILE, "no descriptor")
    monkeypatch.setattr(process_module, "PipeReader", fail)
    with pytest.raises(OSError, match="no descriptor"):
        ChildProcess(LaunchSpec((*PYTHON, "import signal; signal.pause()"), None, {}))
    assert made
    assert descriptors() == before
    assert children() == mine


# ---- signals


@pytest.mark.fault("P9", "P10")
def test_signals_go_to_the_group(start: Any) -> None:
    """What the program started in its group gets the signal too; a dead program is no error."""
    made = start("import os, signal; pid = os.fork(); pid and print(pid, flush=True); signal.pause()")
    child = int(made.stream.read())
    made.send_signal(KILL)
    assert _ended(made) == ExitStatus(signal=9)
    eventually(lambda: state(child) in (None, "Z"), "the child of the program ends")
    made.send_signal(signal.SIGTERM)
    made.release()
    made.send_signal(signal.SIGTERM)


@pytest.mark.fault("P18")
def test_a_reused_number_is_not_signalled(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the group is signalled, which keeps its number while anybody is in it; nothing is after `release`."""
    made = start("import os; os._exit(3)")
    assert _ended(made) == ExitStatus(code=3)
    signalled: List[Any] = []
    monkeypatch.setattr(os, "kill", lambda *args: signalled.append(("kill", args)))
    monkeypatch.setattr(os, "killpg", lambda *args: signalled.append(("killpg", args)))
    made.send_signal(KILL)
    assert signalled == [("killpg", (made.pid, KILL))]
    made.release()
    made.send_signal(KILL)
    assert len(signalled) == 1


@pytest.mark.fault("P19")
def test_something_else_reaps(start: Any) -> None:
    """The exit code is not known then, and never said to be 0."""
    made = start("import os; os._exit(3)")
    os.waitpid(made.pid, 0)
    status = _ended(made)
    assert (status, status.code, status.signal, status.signal_name) == (ExitStatus(), None, None, None)
    assert "unknown" in str(status)
    made.release()


@pytest.mark.fault("P19")
def test_sigchld_is_ignored() -> None:
    """In a host that ignores SIGCHLD the end is seen at once, with its status unknown."""
    script = f"""
import select, signal, sys
sys.path.insert(0, {str(ROOT)!r})
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
from legacy_plugins.transport.process import ChildProcess, LaunchSpec
made = ChildProcess(LaunchSpec((sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read(); sys.exit(3)")))
assert made.exit_status() is None
made.stream.close_write()
poll = select.poll()
poll.register(made.exit_fd, select.POLLIN)
assert poll.poll(10000)
print(made.exit_status())
made.release()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (done.stdout, done.stderr) == ("exit status unknown (reaped elsewhere)\n", "")


@pytest.mark.fault("P17")
def test_an_unkillable_program_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """`release` of a program that does not end returns at once; nothing is signalled afterwards."""
    made = ChildProcess(LaunchSpec((*PYTHON, "import sys; sys.stdin.read()"), None, {}))
    made.release()
    made.release()
    made.send_signal(KILL)
    assert made.exit_status() is None
    made.stream.close_write()
    assert made._popen.wait(SECONDS) == 0
    for source in filter(None, (made.stream, made.log_stream)):
        while source.read():
            pass


@pytest.mark.fault("H1", "H2")
def test_a_forked_child_forgets_it(start: Any) -> None:
    """In a forked child nothing of the process is looked after, signalled or waited for."""
    made = start("import sys; sys.stdin.read()")
    pid = os.fork()
    if not pid:
        code = 1
        try:
            made.send_signal(KILL)
            made.release()
            code = made._popen.poll()  # as if it had ended: `Popen` warns of nothing, and keeps nothing
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert made.exit_status() is None


@pytest.mark.fault("H1")
def test_no_fork_while_a_program_is_spawned(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forked child would hold the pipe on which `Popen` waits for the new program: forks wait until it is through."""
    spawning, forked, go = threading.Event(), threading.Event(), threading.Event()
    popen = subprocess.Popen
    seen: List[bool] = []

    def slow(*args: Any, **how: Any) -> Any:
        spawning.set()
        seen.append(forked.wait(0.1))
        return popen(*args, **how)

    def fork() -> None:
        go.wait(SECONDS)
        pid = os.fork()
        if not pid:
            os._exit(0)
        forked.set()
        os.waitpid(pid, 0)
    thread = threading.Thread(target=fork)
    thread.start()
    monkeypatch.setattr(subprocess, "Popen", slow)
    threading.Thread(target=lambda: (spawning.wait(SECONDS), go.set())).start()
    start("import sys; sys.stdin.read()")
    thread.join(SECONDS)
    assert seen == [False]
    assert forked.is_set()


def test_the_whole_environment_is_the_hosts_by_default(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`env=None` of the plain spec means the host's environment."""
    monkeypatch.setenv("LP_TEST_MARK", "here")
    made: ChildProcess = start("import os; print(os.environ['LP_TEST_MARK'])")
    assert _says(made) == "here\n"


# ---- signals


def _in_a_thread(work: Any) -> None:
    """Run `work()` in a thread that blocks every signal, as uWSGI's do; what it raises is raised here."""
    failed: List[BaseException] = []

    def run() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        try:
            work()
            assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the test's
            failed.append(error)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join(SECONDS)
    assert not thread.is_alive()
    if failed:
        raise failed[0]


_MASK = "import signal; print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())), flush=True); input()"


@pytest.mark.fault("P20")
def test_a_program_blocks_no_signals(start: Any) -> None:
    """Whatever the spawning thread blocks: SIGTERM reaches the program. The thread's own mask is as it was."""
    def work() -> None:
        made = start(_MASK)
        assert made.stream.read() == b"[]\n"
        made.send_signal(signal.SIGTERM)
        assert _ended(made) == ExitStatus(signal=signal.SIGTERM)
    _in_a_thread(work)


@pytest.mark.fault("P20")
def test_a_signal_that_waits_for_its_taker_strikes_nobody(start: Any) -> None:
    """One that is blocked and pending, for `sigwait`, is still there after a program was spawned."""
    def work() -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)  # unblocked it would end the tests
        made = start(_MASK)
        assert signal.sigwait({signal.SIGUSR1}) == signal.SIGUSR1
        assert made.stream.read() == f"[{signal.SIGUSR1!r}]\n".encode()
    _in_a_thread(work)
