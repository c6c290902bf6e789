"""What stands in front of a plugin: limits, identity and the least environment, shown by the programs that get them."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Dict, List, Optional

import pytest

from legacy_plugins.errors import PluginStartFailed
from legacy_plugins.transport.confinement import identity_prefix, least_environment, limits_prefix

TOKEN = "0123456789abcdef"
posix = pytest.mark.skipif(os.name != "posix", reason="limits and users are POSIX")
as_root = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0 or shutil.which("setpriv") is None,
                             reason="only root can become another user, by setpriv")
SHOW_LIMITS = """
import resource as r
print(r.getrlimit(r.RLIMIT_NOFILE), r.getrlimit(r.RLIMIT_CPU), r.getrlimit(r.RLIMIT_DATA))
"""


def _run(*argv: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=30)


@posix
def test_limits_hold_in_the_program() -> None:
    """The program that follows has the limits; CPU time warns by SIGXCPU a second before the end."""
    run = _run(*limits_prefix(64, 100, 512), sys.executable, "-c", SHOW_LIMITS)
    assert run.stdout.decode().strip() == f"(64, 64) (100, 101) ({512 << 20}, {512 << 20})"


@posix
@pytest.mark.parametrize(("limits", "shown"), [
    ({"open_files": 64}, "(64, 64)"), ({"cpu_seconds": 7}, "(7, 8)"), ({"data_mb": 300}, f"({300 << 20}, {300 << 20})"),
])
def test_each_limit_stands_alone(limits: Dict[str, int], shown: str) -> None:
    """One limit sets that and leaves the others as they are."""
    free = _run(sys.executable, "-c", SHOW_LIMITS).stdout.decode().strip()[1:-1].split(") (")
    bound = _run(*limits_prefix(**limits), sys.executable, "-c", SHOW_LIMITS).stdout.decode().strip()[1:-1].split(") (")
    assert [f"({new})" for old, new in zip(free, bound) if old != new] == [shown]


def test_no_limits_need_no_command() -> None:
    """Without a limit nothing stands in front of the plugin."""
    assert limits_prefix() == ()
    assert limits_prefix(None, None, None) == ()


@posix
@pytest.mark.fault("T1")
def test_arguments_pass_the_shell_untouched() -> None:
    """Arguments with quotes, globs and shell syntax reach the program as they are; the process stays the same."""
    hostile = ["a b", "'\"", "*", "$(id)", "`id`", ";id", "", "-n", "\n", "--"]
    program = "import os, sys; print([os.getpid(), *sys.argv[1:]])"
    child = subprocess.Popen([*limits_prefix(open_files=64), sys.executable, "-c", program, *hostile],
                             stdout=subprocess.PIPE)
    out, _ = child.communicate(timeout=30)
    assert out.decode().strip() == repr([child.pid, *hostile])


@posix
def test_a_limit_that_cannot_be_set_ends_before_the_plugin() -> None:
    """Above the hard limit nothing runs: exit code 78 says that a restart will not help, stderr says which limits."""
    prefix = limits_prefix(open_files=1 << 40)
    run = _run(*limits_prefix(open_files=64), *prefix, sys.executable, "-c", "print('ran')")
    assert (run.returncode, run.stdout) == (78, b"")
    assert b"open_files 1099511627776" in run.stderr


@pytest.mark.parametrize("limits", [(0, None, None), (None, -1, None), (None, None, 0)])
def test_a_limit_is_positive(limits: List[Optional[int]]) -> None:
    """Zero and less are programming errors."""
    with pytest.raises(ValueError, match="at least 1"):
        limits_prefix(*limits)


@posix
def test_no_identity_needs_no_command() -> None:
    """Without uid and gid nothing stands in front of the plugin."""
    assert identity_prefix(None, None) == ()


@as_root
def test_user_and_group_are_changed() -> None:
    """With both, the program runs as exactly that user and group, without supplementary groups."""
    run = _run(*identity_prefix(65534, 65534), "/bin/sh", "-c", "id -u; id -g; id -G")
    assert run.stdout.split() == [b"65534", b"65534", b"65534"]


@as_root
def test_a_group_alone_is_changed() -> None:
    """With a group alone, the user stays, and the supplementary groups go."""
    run = _run(*identity_prefix(None, 65534), "/bin/sh", "-c", "id -u; id -g; id -G")
    assert run.stdout.split() == [b"0", b"65534", b"65534"]


@as_root
def test_a_user_alone_brings_its_groups() -> None:
    """With a user alone, the group is that of the system's user data base, and root's groups are left behind."""
    import pwd

    user = next(entry for entry in pwd.getpwall() if entry.pw_uid not in (0, 65534) and entry.pw_gid)
    run = _run(*identity_prefix(user.pw_uid, None), "/bin/sh", "-c", "id -u; id -g")
    assert run.stdout.split() == [str(user.pw_uid).encode(), str(user.pw_gid).encode()]
    groups = _run(*identity_prefix(user.pw_uid, None), "/bin/sh", "-c", "id -G").stdout.split()
    assert sorted(map(int, groups)) == sorted(os.getgrouplist(user.pw_name, user.pw_gid))


@as_root
def test_the_plugins_arguments_are_not_setprivs() -> None:
    """What follows the prefix is the program, whatever its arguments are; limits and identity can stand together."""
    shell = ("/bin/sh", "-c", 'id -u; ulimit -n; echo "$@"', "x", "--reuid=0")
    run = _run(*limits_prefix(64), *identity_prefix(65534, 65534), *shell)
    assert run.stdout.split() == [b"65534", b"64", b"--reuid=0"]


@posix
def test_an_unknown_user_needs_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user id that the system does not know has no group, so one must be named."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(PluginStartFailed, match=r"'backup'.*4294967000.*`gid`"):
        identity_prefix(4294967000, None, plugin="backup")


@posix
@pytest.mark.parametrize("found", [None, "/lib/busybox"])
def test_without_setpriv_the_error_says_what_to_install(found: Optional[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing setpriv, or busybox's, which cannot change users, is a failed start that names the package."""
    monkeypatch.setattr(shutil, "which", lambda name, path: found)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(PluginStartFailed, match=r"'backup'.*apt install util-linux"):
        identity_prefix(65534, 65534, plugin="backup")


@posix
def test_an_identity_that_is_ours_already(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unprivileged host needs nothing to be itself; for anybody else it tries."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: 100)
    monkeypatch.setattr(shutil, "which", lambda name, path: "/usr/bin/setpriv")
    assert identity_prefix(1000, 100) == identity_prefix(None, 100) == ()
    assert identity_prefix(1000, 101) == (
        "/usr/bin/setpriv", "--reuid=1000", "--regid=101", "--clear-groups", "--")


@pytest.mark.req("R28", "R34")
@pytest.mark.fault("T9")
def test_the_environment_is_the_least() -> None:
    """Of the host's environment only harmless names pass: no loader or language settings, and no credentials."""
    environ = {
        "PATH": "/bin", "LANG": "C", "LC_ALL": "C", "LC_TIME": "C", "TZ": "UTC", "TMPDIR": "/t", "HOME": "/h",
        "LD_PRELOAD": "x", "LD_LIBRARY_PATH": "x", "PYTHONPATH": "x", "PYTHONSTARTUP": "x", "NODE_OPTIONS": "x",
        "BASH_ENV": "x", "ENV": "x", "GIT_SSH_COMMAND": "x", "npm_config_registry": "x", "AWS_SECRET_ACCESS_KEY": "x",
        "DATABASE_URL": "x", "VIRTUAL_ENV": "x", "USER": "x", "LCX": "x", "path": "x", "LEGACY_PLUGINS_TOKEN": "outer",
    }
    assert least_environment({}, [], environ, TOKEN) == {
        "PATH": "/bin", "LANG": "C", "LC_ALL": "C", "LC_TIME": "C", "TZ": "UTC", "TMPDIR": "/t", "HOME": "/h",
        "LEGACY_PLUGINS_TOKEN": TOKEN}


@pytest.mark.req("R28", "R34")
def test_the_environment_takes_what_is_named() -> None:
    """Names in envPass pass where the host has them, `env` wins over both, and the token over all."""
    environ = {"PATH": "/bin", "HTTPS_PROXY": "proxy", "SECRET": "s"}
    env = {"PATH": "/opt", "PLUGIN_TOKEN": "restricted", "LEGACY_PLUGINS_TOKEN": "forged"}
    assert least_environment(env, ["HTTPS_PROXY", "ABSENT", "LEGACY_PLUGINS_TOKEN"], environ, TOKEN) == {
        "PATH": "/opt", "HTTPS_PROXY": "proxy", "PLUGIN_TOKEN": "restricted", "LEGACY_PLUGINS_TOKEN": TOKEN}
    assert env["LEGACY_PLUGINS_TOKEN"] == "forged", "what was given is not changed"
