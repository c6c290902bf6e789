"""The guard leaves no orphans: real hosts are killed, and every process that they started is gone within two seconds.

Plugins and what they start hold the write end of a pipe, the witness: its EOF says that the last one is gone.
"""
from __future__ import annotations

import concurrent.futures
import os
import random
import secrets
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Tuple

import pytest

from legacy_plugins.transport import descriptors
from legacy_plugins.transport import guard as guard_module
from legacy_plugins.transport.guard import TOKEN_VARIABLE, Guard

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the tests read /proc")

ROOT = str(Path(__file__).resolve().parents[2])
PYTHON = (sys.executable, "-I", "-S", "-c")
GONE_WITHIN = 2.0  # seconds after the host's death

POLITE = "import os, sys; os.write(1, b'%d\\n' % os.getpid()); sys.stdin.read()"
STUBBORN = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.write(1, b'%d\\n' % os.getpid())
while True:
    signal.pause()
"""
HELD_TERM = """
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b'-1\\n'), os._exit(0)))
os.write(1, b'%d\\n' % os.getpid())
while True:
    signal.pause()
"""
LEAVER = f"""
import os, subprocess, sys
subprocess.Popen([sys.executable, '-I', '-S', '-c', {STUBBORN!r}], stdin=subprocess.DEVNULL, start_new_session=True)
os.write(1, b'%d\\n' % os.getpid())
sys.stdin.read()
"""
DAEMON = f"""
import os, subprocess, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, '-I', '-S', '-c', {STUBBORN!r}])
    os._exit(0)
os.wait()
"""
SCRUBBED = f"""
import os, sys
if os.fork() == 0:
    os.setsid()
    os.execve(sys.executable, [sys.executable, '-I', '-S', '-c', {STUBBORN!r}], {{}})
os.wait()
"""
HOST = f"""
import os, random, signal, subprocess, sys
sys.path.insert(0, {ROOT!r})
from legacy_plugins.transport.guard import TOKEN_VARIABLE, Guard
token, witness, churn, *programs = sys.argv[1:]
guard = Guard(token)
assert guard.start(), guard.reason
def spawn(program):
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", program], stdin=subprocess.PIPE, stdout=int(witness),
                             env={{**os.environ, TOKEN_VARIABLE: token}}, start_new_session=True)
    assert guard.add(child.pid)
    return child
children = [spawn(program) for program in programs]
print(guard.pid, flush=True)
while churn:
    child = children.pop(random.randrange(len(children)))
    assert guard.remove(child.pid)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    child.stdin.close()
    children.append(spawn(random.choice(programs)))
sys.stdin.read()
"""


class Witness:
    """The read end of the pipe that a host's plugins and their children hold."""

    def __init__(self) -> None:
        self.fd, self.held = os.pipe()
        self.pids: List[int] = []
        self._rest = b""

    def read(self, timeout: float) -> bool:
        """Take what was written, waiting up to `timeout` seconds for it; False at EOF."""
        if select.select([self.fd], [], [], max(timeout, 0))[0]:
            data = os.read(self.fd, 65536)
            *lines, self._rest = (self._rest + data).split(b"\n")
            self.pids += [int(line) for line in lines]
            return bool(data)
        return True

    def wait_for(self, count: int) -> None:
        """Until so many processes have said that they run."""
        deadline = time.monotonic() + 20
        while len(self.pids) < count and time.monotonic() < deadline:
            self.read(deadline - time.monotonic())
        assert len(self.pids) >= count

    def wait_for_end(self, timeout: float) -> bool:
        """Whether every holder is gone within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if not self.read(deadline - time.monotonic()):
                return True
        return False

    def close(self) -> None:
        os.close(self.fd)


class Host:
    """A host process with a guard and some plugins, which can be killed."""

    def __init__(self, *programs: str, churn: bool = False) -> None:
        self.witness = Witness()
        self._process = subprocess.Popen(
            [*PYTHON, HOST, secrets.token_hex(16), str(self.witness.held), "churn" if churn else "", *programs],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(self.witness.held,))
        os.close(self.witness.held)
        assert self._process.stdout is not None
        self.guard_pid = int(self._process.stdout.readline())

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def survivors(self) -> List[int]:
        """Who is left two seconds after the kill: process ids, -1 for one that did not even say its own."""
        deadline = time.monotonic() + GONE_WITHIN
        unknown = [] if self.witness.wait_for_end(GONE_WITHIN) else [-1]
        _wait_until(lambda: not any(map(_runs, self.witness.pids)), deadline - time.monotonic())
        return [pid for pid in self.witness.pids if _runs(pid)] or unknown

    def close(self) -> None:
        """End whatever a failed test left."""
        self.kill()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        for pid in self.witness.pids:
            if _runs(pid):
                os.kill(pid, signal.SIGKILL)
        self.witness.close()


def _state(pid: int) -> str:
    """The kernel's letter for what the process does; X when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def _runs(pid: int) -> bool:
    return pid > 1 and _state(pid) not in "XZ"


def _wait_until(condition: Callable[[], bool], timeout: float = 10.0) -> bool:
    """Look again and again, briefly, until the condition holds or `timeout` seconds are over."""
    deadline, tick = time.monotonic() + timeout, threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            return False
        tick.wait(0.005)
    return True


@pytest.fixture(name="guard")
def make_guard() -> Iterator[Guard]:
    """A guard of this process."""
    guard = Guard(secrets.token_hex(16))
    assert guard.start()
    yield guard
    guard.lost = True  # whatever the test did with it: no sweep, no waiting
    guard.close()


class Children:
    """Processes of this process, each in its own group, ended after the test."""

    def __init__(self) -> None:
        self._all: List[subprocess.Popen[bytes]] = []

    def start(self, program: str = STUBBORN, env: Optional[Dict[str, str]] = None) -> subprocess.Popen[bytes]:
        child = subprocess.Popen([*PYTHON, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env or {},
                                 start_new_session=True)
        self._all.append(child)
        assert child.stdout is not None
        assert child.stdout.readline()
        return child

    def end(self) -> None:
        for child in self._all:
            child.kill()
            child.wait()
            for stream in (child.stdin, child.stdout):
                assert stream is not None
                stream.close()


@pytest.fixture(name="children")
def make_children() -> Iterator[Children]:
    children = Children()
    yield children
    children.end()


def _lose_lifeline(guard: Guard) -> None:
    """What the guard sees when this process dies."""
    descriptors.close(guard.lifeline_fd)


@pytest.mark.fault("H5", "P9", "P11", "G4")
@pytest.mark.parametrize(("programs", "count"), [
    ([POLITE], 1), ([STUBBORN], 1), ([LEAVER], 2), ([DAEMON], 1), ([POLITE, STUBBORN, LEAVER, DAEMON, STUBBORN], 6),
], ids=["polite", "ignores EOF and SIGTERM", "grandchild in its own session", "double fork", "all together"])
def test_a_killed_host_leaves_nothing(programs: List[str], count: int) -> None:
    """Two seconds after SIGKILL of the host, its plugins, what they started, and the guard itself are gone."""
    host = Host(*programs)
    try:
        host.witness.wait_for(count)
        host.kill()
        assert host.survivors() == []
        assert _wait_until(lambda: not _runs(host.guard_pid), GONE_WITHIN)
    finally:
        host.close()


def _kill_at_random(seed: int) -> List[int]:
    """One host that starts and ends plugins all the time, killed at a random moment: who is left after two seconds."""
    chance = random.Random(seed)
    host = Host(POLITE, STUBBORN, LEAVER, DAEMON, churn=True)
    try:
        host.witness.wait_for(1)
        deadline = time.monotonic() + chance.uniform(0, 0.5)
        while time.monotonic() < deadline:
            host.witness.read(deadline - time.monotonic())
        host.kill()
        return host.survivors()
    finally:
        host.close()


@pytest.mark.fault("G4", "H5")
def test_random_kills_under_churn_leave_nothing() -> None:
    """Ten hosts that are killed at random moments, among starts and ends of plugins, leave no process behind."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(_kill_at_random, range(10))) == [[]] * 10


@pytest.mark.fault("P12")
def test_what_leaves_group_and_environment_escapes() -> None:
    """The documented limit: a process that left its group and dropped its environment is not known, and lives on."""
    host = Host(POLITE, SCRUBBED)
    try:
        host.witness.wait_for(2)
        host.kill()
        assert _wait_until(lambda: not _runs(host.guard_pid), GONE_WITHIN)
        assert [_state(pid) for pid in host.witness.pids if _runs(pid)] == ["S"]
    finally:
        host.close()


@pytest.mark.fault("P9")
def test_sigterm_comes_before_sigkill(guard: Guard, children: Children) -> None:
    """A plugin that ignores EOF has a chance to clean up on SIGTERM."""
    child = children.start(HELD_TERM)
    assert guard.add(child.pid)
    _lose_lifeline(guard)
    assert child.wait(GONE_WITHIN) == 0
    assert child.stdout is not None
    assert child.stdout.readline() == b"-1\n"


@pytest.mark.fault("P18")
def test_a_removed_group_is_never_signalled(guard: Guard, children: Children) -> None:
    """A group that was removed is forgotten, whatever else is added and removed; the others are not."""
    kept, removed, twice = (children.start() for _ in range(3))
    for child in (kept, removed, twice, twice):
        assert guard.add(child.pid)
    for number in (removed.pid, twice.pid, int(f"{kept.pid}0"), int(f"1{kept.pid}"), kept.pid // 10):
        assert guard.remove(number)
    _lose_lifeline(guard)
    assert kept.wait(GONE_WITHIN) == -signal.SIGKILL
    assert guard.pid is not None
    assert _wait_until(lambda: not guard.alive(), GONE_WITHIN)
    assert (removed.poll(), twice.poll()) == (None, None)


def test_the_token_is_compared_whole(guard: Guard, children: Children) -> None:
    """Only processes with exactly this token are ended, wherever in the environment it stands."""
    ours = children.start(env={"A": "x", TOKEN_VARIABLE: guard.token, "Z": "x"})
    others = [children.start(env=env) for env in (
        {TOKEN_VARIABLE: guard.token + "0"}, {TOKEN_VARIABLE: secrets.token_hex(16)},
        {"X": f"{TOKEN_VARIABLE}={guard.token}"}, {f"X_{TOKEN_VARIABLE}": guard.token})]
    _lose_lifeline(guard)
    assert ours.wait(GONE_WITHIN) == -signal.SIGKILL
    assert _wait_until(lambda: not guard.alive(), GONE_WITHIN)
    assert [child.poll() for child in others] == [None] * 4


@pytest.mark.parametrize("shell", [("dash",), ("bash",), ("busybox", "sh"), ("mksh",), ("yash",)])
def test_any_posix_shell_will_do(shell: Tuple[str, ...], children: Children, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever /bin/sh is, a group and a stray are ended, and a process that is neither is not."""
    found = shutil.which(shell[0])
    if found is None:
        pytest.skip(f"no {shell[0]} on this machine")
    monkeypatch.setattr(guard_module, "_SHELL", (found, *shell[1:]))
    guard = Guard(secrets.token_hex(16))
    assert guard.start()
    group, other, stray = children.start(), children.start(), children.start(env={TOKEN_VARIABLE: guard.token})
    assert guard.add(other.pid)
    assert guard.add(group.pid)
    assert guard.remove(other.pid)
    assert guard.close(GONE_WITHIN)
    assert (group.wait(5), stray.wait(5), other.poll()) == (-signal.SIGKILL, -signal.SIGKILL, None)


def test_a_close_ends_what_is_left(guard: Guard, children: Children) -> None:
    """A graceful close still ends a stray that nobody registered, and a group that nobody removed."""
    stray = children.start(env={TOKEN_VARIABLE: guard.token})
    group = children.start()
    assert guard.add(group.pid)
    assert guard.close(GONE_WITHIN)
    assert (stray.wait(5), group.wait(5)) == (-signal.SIGKILL, -signal.SIGKILL)
    assert not guard.alive()
    assert guard.lifeline_fd == -1
    assert guard.close(), "a second close has nothing to do"


def test_a_close_with_nothing_left_is_quick(guard: Guard) -> None:
    """When all plugins have ended, the guard ends without its waiting times."""
    before = time.monotonic()
    assert guard.close(0.25)
    assert time.monotonic() - before < 0.25


def test_a_close_does_not_wait_for_ever(guard: Guard, children: Children) -> None:
    """A guard that is still at work at the end of the time is left to it, and finishes."""
    child = children.start(env={TOKEN_VARIABLE: guard.token})
    assert not guard.close(0)
    assert child.wait(GONE_WITHIN) == -signal.SIGKILL
    assert _wait_until(lambda: not guard.alive(), GONE_WITHIN)


@pytest.mark.fault("G12", "G13")
def test_the_guard_is_small_and_idle(guard: Guard) -> None:
    """At most 2 MB; three descriptors; no token in its environment; a session of its own; blocked in one read.

    And one short line in `ps`, which says what it is.
    """
    pid = guard.pid
    assert guard.remove(12345)
    assert _wait_until(lambda: Path(f"/proc/{pid}/wchan").read_text() in ("pipe_read", "anon_pipe_read", "0")
                       and _state(int(pid or 0)) == "S")
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    shell = os.path.basename(os.path.realpath("/bin/sh"))
    assert int(fields["VmRSS"].split()[0]) <= (2048 if shell in ("dash", "busybox") else 4096)
    ignored = int(fields["SigIgn"], 16)
    assert all(ignored >> (number - 1) & 1 for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM))
    assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"]
    assert guard.token.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    assert b"legacy-plugins-guard" in command
    assert len(command) < 160
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert os.getsid(int(pid or 0)) == pid


@pytest.mark.fault("T11")
def test_the_guard_inherits_nothing(guard: Guard) -> None:
    """Descriptors that the host left inheritable do not reach the guard, whose stdin is the lifeline alone."""
    ends = os.pipe()
    try:
        for end in ends:
            os.set_inheritable(end, True)
        second = Guard(secrets.token_hex(16))
        assert second.start()
        held = f"/proc/{second.pid}/fd"
        assert _wait_until(lambda: sorted(os.listdir(held)) == ["0", "1", "2"])  # the loader may have libc open yet
        assert os.readlink(f"/proc/{second.pid}/fd/0") == os.readlink(f"/proc/self/fd/{second.lifeline_fd}")
        assert not os.get_inheritable(second.lifeline_fd)
        assert second.close()
    finally:
        for end in ends:
            os.close(end)


@pytest.mark.fault("H13")
def test_a_killed_guard_is_noticed(children: Children) -> None:
    """After the guard's death the next line is not told, and says so; the groups that it knew are left alone."""
    guard, child = Guard(secrets.token_hex(16)), children.start()
    assert guard.start()
    assert guard.add(child.pid)
    assert guard.alive()
    assert guard.pid is not None
    os.kill(guard.pid, signal.SIGKILL)
    assert os.waitid(os.P_PID, guard.pid, os.WEXITED | os.WNOWAIT) is not None
    assert not guard.lost
    assert not guard.add(child.pid)
    assert guard.lost
    assert not guard.remove(child.pid)
    assert not guard.alive()
    assert guard.close()
    successor = Guard(guard.token)
    assert successor.start()
    assert successor.add(child.pid)
    _lose_lifeline(successor)
    assert child.wait(GONE_WITHIN) == -signal.SIGKILL
    assert _wait_until(lambda: not successor.alive())
    assert successor.close()


@pytest.mark.fault("H13")
def test_a_write_to_a_dead_guard_raises_no_signal(guard: Guard) -> None:
    """A host that restored the default action of SIGPIPE survives the guard's death."""
    program = f"""
import os, signal, sys
sys.path.insert(0, {ROOT!r})
from legacy_plugins.transport.guard import Guard
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
guard = Guard('0123456789abcdef')
assert guard.start()
os.kill(guard.pid, signal.SIGKILL)
os.waitid(os.P_PID, guard.pid, os.WEXITED | os.WNOWAIT)
print(guard.add(os.getpid()), guard.lost, guard.close(), signal.SIGPIPE in signal.pthread_sigmask(signal.SIG_BLOCK, ()))
"""
    run = subprocess.run([*PYTHON, program], capture_output=True, check=False, timeout=30)
    assert (run.returncode, run.stdout, run.stderr) == (0, b"False True True False\n", b"")


@pytest.mark.fault("H13")
def test_a_guard_that_does_not_read_is_lost(children: Children) -> None:
    """A stopped guard blocks nobody: its pipe fills up, it is lost, and closing it signals no group it once knew."""
    guard, child = Guard(secrets.token_hex(16)), children.start()
    assert guard.start()
    assert guard.pid is not None
    assert guard.add(child.pid)
    os.kill(guard.pid, signal.SIGSTOP)
    told = 0
    while guard.remove(child.pid) and guard.add(child.pid) and told < 100_000:
        told += 1
    assert guard.lost
    assert 0 < told < 100_000
    assert guard.close()
    assert not guard.alive()
    assert child.poll() is None


@pytest.mark.fault("H14")
def test_without_a_shell_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """No /bin/sh: start says False and why, nothing raises, nothing leaks."""
    monkeypatch.setattr(guard_module, "_SHELL", ("/nowhere/sh",))
    before = os.listdir("/proc/self/fd")
    guard = Guard(secrets.token_hex(16))
    assert not guard.start()
    assert guard.reason is not None
    assert "/nowhere/sh" in guard.reason
    assert guard.lost
    assert (guard.pid, guard.alive(), guard.lifeline_fd) == (None, False, -1)
    assert not guard.add(12345)
    assert not guard.remove(12345)
    assert guard.close()
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.fault("H14")
def test_without_other_programs_the_groups_still_end(monkeypatch: pytest.MonkeyPatch, children: Children,
                                                     tmp_path: Path) -> None:
    """Where sleep, grep and xargs are missing, groups are ended all the same, by the shell alone."""
    monkeypatch.setattr(guard_module, "_SYSTEM_PATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    guard, child = Guard(secrets.token_hex(16)), children.start()
    assert guard.start()
    assert guard.add(child.pid)
    _lose_lifeline(guard)
    assert child.wait(GONE_WITHIN) == -signal.SIGKILL
    assert _wait_until(lambda: not guard.alive(), GONE_WITHIN)


@pytest.mark.fault("H14")
@pytest.mark.skipif(not sys.platform.startswith("linux") or os.geteuid() != 0 or shutil.which("dash") is None,
                    reason="only root can become a user that may have no processes; other shells try for seconds")
def test_without_a_process_to_spare_the_groups_still_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the guard cannot fork (the user's limit of processes is reached), groups are ended by the shell alone."""
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    with subprocess.Popen([*nobody, "sleep", "1000"], start_new_session=True) as child:
        try:
            monkeypatch.setattr(guard_module, "_SHELL", (*nobody, "prlimit", "--nproc=0", "dash"))
            guard = Guard(secrets.token_hex(16))
            assert guard.start()
            assert guard.add(child.pid)
            _lose_lifeline(guard)
            assert child.wait(GONE_WITHIN) == -signal.SIGKILL
            assert _wait_until(lambda: not guard.alive(), GONE_WITHIN)
        finally:
            child.kill()


@pytest.mark.fault("H2", "H3")
def test_a_forked_child_lets_go(guard: Guard, children: Children) -> None:
    """A forked child has no lifeline and tells the parent's guard nothing; the parent's death is seen past it."""
    child = children.start()
    assert guard.add(child.pid)
    number = guard.lifeline_fd
    lifeline = os.stat(number).st_ino
    ready, go = os.pipe(), os.pipe()
    forked = os.fork()
    if forked == 0:
        try:
            reused = os.dup2(ready[1], number)  # the number may be anything by now
            told = [guard.add(os.getpid()), guard.remove(child.pid), guard.alive(), not guard.close()]
            held = [fd for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")
                    and os.stat(f"/proc/self/fd/{fd}").st_ino == lifeline]
            os.write(reused, b"ok" if not any(told) and not held and guard.lifeline_fd == -1 else b"no")
            os.read(go[0], 1)
        finally:
            os._exit(0)
    try:
        assert os.read(ready[0], 2) == b"ok"
        assert guard.alive()
        assert child.poll() is None
        _lose_lifeline(guard)
        assert child.wait(GONE_WITHIN) == -signal.SIGKILL
    finally:
        os.write(go[1], b"x")
        os.waitpid(forked, 0)
        for fd in (*ready, *go):
            os.close(fd)


@pytest.mark.parametrize("pgid", [1, 0, -1, -5])
def test_no_group_means_everybody(guard: Guard, pgid: int) -> None:
    """Numbers with which `kill` would mean more than one group are not told."""
    assert not guard.add(pgid)
    assert not guard.lost


@pytest.mark.parametrize("token", ["", "short", "x" * 129, "0123456789abcdef\n", "0123456789abcde ", "$(id)" * 4])
def test_a_token_is_plain_and_long(token: str) -> None:
    """A token that is guessable, or that a shell or grep could misread, is a programming error."""
    with pytest.raises(ValueError, match="16 to 128"):
        Guard(token)


@pytest.mark.fault("P20")
def test_a_guard_that_is_started_where_signals_are_blocked_ends(children: Children) -> None:
    """Threads that block every signal (uWSGI's) may start it: told to end, it ends what is left, and then itself."""
    made = Guard(secrets.token_hex(16))

    def start() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        assert made.start()
    thread = threading.Thread(target=start)
    thread.start()
    thread.join(GONE_WITHIN)
    child = children.start()
    assert made.add(child.pid)
    try:
        assert made.close(GONE_WITHIN)
        assert child.wait(GONE_WITHIN) == -signal.SIGKILL
    finally:
        if made.alive() and made.pid is not None:
            os.kill(made.pid, signal.SIGKILL)
