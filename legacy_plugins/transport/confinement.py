"""What stands between the host and a plugin's program: resource limits, user and group, and the least environment.

Limits and identity are commands in front of the plugin's own, each of which replaces itself by the next (`exec`, so the
process id stays the same): no code of ours runs between fork and exec, and there is no moment without the limits.
Pure but for the look-up of `setpriv` and of a user's group; any thread. It must not start anything.
"""
from __future__ import annotations

import os
import shutil
from typing import Dict, Iterable, List, Mapping, Optional, Tuple

from legacy_plugins.errors import PluginStartFailed
from legacy_plugins.transport.guard import TOKEN_VARIABLE

__all__ = ["EX_CONFIG", "identity_prefix", "least_environment", "limits_prefix"]

#: What every plugin gets of the host's environment, besides the locale variables LC_*.
_ALWAYS_PASSED = ("PATH", "LANG", "TZ", "TMPDIR", "HOME")
#: `EX_CONFIG` of sysexits.h: the program says "my configuration is wrong; do not restart me".
EX_CONFIG = 78
_SYSTEM_PATH = "/usr/bin:/bin:/usr/sbin:/sbin"


def limits_prefix(open_files: Optional[int] = None, cpu_seconds: Optional[int] = None,
                  data_mb: Optional[int] = None) -> Tuple[str, ...]:
    """Command that sets limits and then becomes the command after it; empty without limits.

    `open_files`: descriptors (RLIMIT_NOFILE). `cpu_seconds`: seconds of CPU over the process's whole life (RLIMIT_CPU):
    SIGXCPU at the limit, SIGKILL a second later. `data_mb`: MiB of private memory (RLIMIT_DATA; the address space is
    not limited, which Node and Go do not bear). A limit that cannot be set ends the command with exit code 78, before
    the plugin runs. Raises `ValueError` for a limit that is not positive.
    """
    wanted = (("open_files", open_files), ("cpu_seconds", cpu_seconds), ("data_mb", data_mb))
    for name, value in wanted:
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}; a limit is at least 1")
    steps: List[str] = []
    if open_files is not None:
        steps.append(f"ulimit -n {open_files:d}")
    if cpu_seconds is not None:
        steps += [f"ulimit -S -t {cpu_seconds:d}", f"ulimit -H -t {cpu_seconds + 1:d}"]
    if data_mb is not None:
        steps.append(f"ulimit -d {data_mb * 1024:d}")
    if not steps:
        return ()
    listed = ", ".join(f"{name} {value}" for name, value in wanted if value is not None)
    failure = f"echo 'the limits ({listed}) cannot be set: the hard ones of the host are lower' >&2; exit {EX_CONFIG}"
    return "/bin/sh", "-c", f'{" && ".join(steps)} || {{ {failure}; }}; exec "$@"', "legacy-plugins-limits"


def identity_prefix(uid: Optional[int], gid: Optional[int], *, plugin: Optional[str] = None) -> Tuple[str, ...]:
    """Command that changes to user `uid` and group `gid`, then becomes the command after it; empty without either.

    With a group, the supplementary groups are dropped; with a user alone, group and supplementary groups are those of
    the system's user data base. Empty, too, for an unprivileged host that is this user and group already. Raises
    `PluginStartFailed` where the data base has no such user, or util-linux's `setpriv` is missing. Whether the host may
    change identity shows when the command runs: `setpriv` says so on stderr.
    """
    if (uid is None and gid is None) or _is_already(uid, gid):
        return ()
    options: List[str] = []
    if uid is not None:
        options.append(f"--reuid={uid:d}")
    if gid is not None:
        options += [f"--regid={gid:d}", "--clear-groups"]
    elif uid is not None:
        options += [f"--regid={_primary_group(uid, plugin):d}", "--init-groups"]
    return _setpriv(plugin), *options, "--"


def least_environment(env: Mapping[str, str], env_pass: Iterable[str], environ: Mapping[str, str],
                      token: str) -> Dict[str, str]:
    """The whole environment of a plugin: what is always passed, `env_pass`, `env` over both, and the guard's token.

    `environ`: the host's environment. Nothing else of it reaches the plugin: no LD_*, PYTHON*, NODE_OPTIONS, and no
    credential that was not named.
    """
    passed = {*_ALWAYS_PASSED, *env_pass}
    least = {name: value for name, value in environ.items() if name in passed or name.startswith("LC_")}
    least.update(env)
    least[TOKEN_VARIABLE] = token
    return least


def _is_already(uid: Optional[int], gid: Optional[int]) -> bool:
    """Whether a host that may not change its groups is what is asked for."""
    return os.geteuid() != 0 and uid in (None, os.geteuid()) and gid in (None, os.getegid())


def _setpriv(plugin: Optional[str]) -> str:
    found = shutil.which("setpriv", path=_SYSTEM_PATH)
    if found is not None and os.path.basename(os.path.realpath(found)) != "busybox":  # which cannot change users
        return found
    raise PluginStartFailed(plugin, message=(
        f"plugin {plugin!r}: `uid` and `gid` need the program setpriv of util-linux, which is not in {_SYSTEM_PATH}; "
        "install it (Debian: apt install util-linux; Alpine: apk add setpriv), or leave both out"))


def _primary_group(uid: int, plugin: Optional[str]) -> int:
    import pwd  # not on Windows, where this module must import

    try:
        return pwd.getpwuid(uid).pw_gid
    except KeyError:
        raise PluginStartFailed(plugin, message=(
            f"plugin {plugin!r}: `uid` {uid} is no user of this system, so its group is not known; set `gid` too"
        )) from None
