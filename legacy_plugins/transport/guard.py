"""The guard: one small shell process that ends this host's plugins when the host dies without stopping them.

SIGKILL, `os._exit` and a crash leave the host no time. Plugins then see EOF on stdin, which well-behaved ones obey; the
guard sees EOF on its lifeline, a pipe whose only writer is the host, and ends the others: the process groups it was
told of, and whoever carries the host's token in its environment (processes that left their group by `setsid`).
What leaves its group and also drops its environment escapes it. While the host lives the guard blocks in one read.

Any thread, but `start` is called once, before the object is shared. It must not know plugins, only process groups.
"""
from __future__ import annotations

import os
import re
import signal
import subprocess
from typing import Optional

from legacy_plugins.transport import descriptors

__all__ = ["TOKEN_VARIABLE", "Guard"]

#: The environment variable by which the guard knows the processes of its host.
TOKEN_VARIABLE = "LEGACY_PLUGINS_TOKEN"  # noqa: S105 (a name, not a secret)

#: POSIX shell; `kill` is a builtin, so that groups end even where no process can be forked (the EXIT trap).
#: Groups and strays are ended side by side, since reading another process's environment can block in the kernel.
SCRIPT = r'''trap '' HUP INT QUIT TERM
unset LEGACY_PLUGINS_GUARD
mark=$1=$2 groups=' ' asked='' whole=''
pause() { # fractions of a second where the system knows them, else one second once
    [ -n "$whole" ] || sleep "$1" || { whole=1; sleep 1; }
}
strike() { # signal the groups that are left; those that are gone are not tried again
    left=''
    for group in $groups; do
        kill -"$1" -"$group" && left="$left $group"
    done
    groups=$left
}
find_strays() { # a list too long for one command line goes through xargs
    grep -lzxF -e "$mark" /proc/[0-9]*/environ || [ $? -lt 126 ] ||
        printf '%s\n' /proc/[0-9]*/environ | xargs grep -lzxF -e "$mark"
}
hunt() { # signal whoever carries the token; false when nobody does
    strays=$(find_strays)
    for file in $strays; do
        file=${file#/proc/}
        kill -"$1" "${file%/environ}"
    done
    [ -n "$strays" ]
}
trap 'strike KILL' EXIT
while read -r verb group; do
    case $verb in
    add) case $groups in *" $group "*) ;; *) groups="$groups$group " ;; esac ;;
    del) case $groups in *" $group "*) groups="${groups%%" $group "*} ${groups#*" $group "}" ;; esac ;;
    end) asked=1; break ;;
    esac
done
[ -n "$asked" ] || pause 0.3
{
    strike TERM
    [ -z "$groups" ] || { pause 0.5; strike KILL; }
} &
hunt TERM && pause 0.5
wait
groups='' rounds=5
while [ $rounds -gt 0 ] && hunt KILL; do
    rounds=$((rounds - 1))
done
'''

_SHELL = ("/bin/sh",)
_COMMAND = 'eval "$LEGACY_PLUGINS_GUARD"'  # the script's text is in the environment, so that `ps` shows one short line
_SYSTEM_PATH = "/usr/bin:/bin"  # before the host's own: sleep and grep are meant to be the system's
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,128}")


class Guard:
    """The guard of this process. Single use: a lost one is closed, and a new one is started and told the groups again.

    `token`: random, 16 to 128 letters, digits, `-` or `_`; new in every host process, and never in `os.environ`. Every
    plugin gets it in its environment as `TOKEN_VARIABLE`. `lost`: the guard no longer knows what it was told (it died,
    or does not read). `reason`: why `start` returned False.
    """

    def __init__(self, token: str) -> None:
        if not _TOKEN.fullmatch(token):
            raise ValueError("the guard's token is 16 to 128 letters, digits, '-' or '_'")
        self.token = token
        self.lost = False
        self.reason: Optional[str] = None
        self._lifeline = -1  # guarded by descriptors.lock(), so that nothing is written to a descriptor reused
        self._owner = os.getpid()
        self._process: Optional[subprocess.Popen[bytes]] = None

    def start(self) -> bool:
        """Start the guard process. False where that is not possible, with `reason`; it never raises for it."""
        try:
            if os.name != "posix":
                raise OSError(f"there is no POSIX shell on {os.name!r}")
            read_end, self._lifeline = descriptors.open_pipe()
            try:
                os.set_blocking(self._lifeline, False)
                self._process = _spawn(self.token, read_end)
            finally:
                descriptors.close(read_end)
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:  # RuntimeError: the interpreter is ending
            self.reason = f"the guard did not start ({error}); plugins that ignore EOF may outlive a killed host"
            self.lost = True
            self._drop_lifeline()
        return not self.lost

    @property
    def pid(self) -> Optional[int]:
        """The guard's process id, None when it was never started."""
        return None if self._process is None else self._process.pid

    @property
    def lifeline_fd(self) -> int:
        """The write end of the lifeline, which forked children have closed; -1 when it is closed."""
        return self._lifeline if self._owner == os.getpid() else -1

    def alive(self) -> bool:
        """Whether the guard process runs; reaps it when it does not."""
        return self._process is not None and self._owner == os.getpid() and self._process.poll() is None

    def add(self, pgid: int) -> bool:
        """Have process group `pgid` ended when this process dies. Never blocks, never raises; False: not told."""
        return pgid > 1 and self._tell(f"add {pgid}\n")  # a signal to "group" 1 would go to everybody

    def remove(self, pgid: int) -> bool:
        """Forget a group. Called before its leader is reaped: from then on the number may belong to somebody else."""
        return self._tell(f"del {pgid}\n")

    def close(self, timeout: float = 2.0) -> bool:
        """End the guard when the host ends: it ends the groups and strays that are left, then itself.

        Waits at most `timeout` seconds; False when the guard is still at work then, which it finishes without us. A
        lost guard is killed instead, since what it believes to be the plugins' groups may be out of date.
        """
        if self._owner != os.getpid():  # a forked child: it is the parent's
            return True
        if self._process is None or self._process.returncode is not None:
            self._drop_lifeline()
            return True
        if not self._tell("end\n"):  # it is lost
            self._process.kill()
        self._drop_lifeline()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _tell(self, line: str) -> bool:
        with descriptors.lock():
            if self._lifeline < 0 or self.lost or self._owner != os.getpid():
                return False
            try:
                _write(self._lifeline, line.encode("ascii"))
            except OSError:  # EPIPE: it died; EAGAIN: it does not read; either way it misses this line
                self.lost = True
            return not self.lost

    def _drop_lifeline(self) -> None:
        with descriptors.lock():
            fd, self._lifeline = self._lifeline, -1
            descriptors.close(fd)


def _spawn(token: str, lifeline: int) -> subprocess.Popen[bytes]:
    """The guard process: a session of its own, no inherited descriptor, and no token in its own environment."""
    with descriptors.spawning(lifeline):
        guard = subprocess.Popen(
            [*_SHELL, "-c", _COMMAND, "legacy-plugins-guard", TOKEN_VARIABLE, token], stdin=lifeline,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, close_fds=True, cwd="/",
            env={"PATH": f"{_SYSTEM_PATH}:{os.environ.get('PATH', '')}", "LC_ALL": "C", "LEGACY_PLUGINS_GUARD": SCRIPT})
        descriptors.enter_program(guard)
    return guard


def _write(fd: int, line: bytes) -> None:
    """One atomic write (far below PIPE_BUF). SIGPIPE is held back: a host may have restored its deadly default."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
    try:
        os.write(fd, line)
    except BrokenPipeError:
        if signal.SIGPIPE in signal.sigpending():
            signal.sigwait({signal.SIGPIPE})
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
