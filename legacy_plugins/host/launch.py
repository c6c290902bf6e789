"""From a plugin's configuration to its running process: trust, checksum, environment, limits, spawn.

Every check is made anew at every start, since files change. Nothing is executed before all of them have passed.
Supervising thread, but for the reading of a whole file for its checksum, which may take long: `beforehand`.
"""
from __future__ import annotations

import errno
import os
from typing import Callable, Dict, Optional, Protocol, Tuple

from legacy_plugins.config.model import PluginConfig, TrustConfig
from legacy_plugins.errors import PluginError, PluginStartFailed
from legacy_plugins.rpc.crash import explain_spawn_error
from legacy_plugins.transport.base import Process
from legacy_plugins.transport.confinement import identity_prefix, least_environment, limits_prefix
from legacy_plugins.transport.process import ChildProcess, LaunchSpec
from legacy_plugins.transport.trust import TrustPolicy, check_sha256, file_sha256

#: Want of resources, or a file that is just being written: the next try may succeed.
_PASSING = frozenset((errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.ETXTBSY, errno.EINTR))


class StartDelayed(PluginStartFailed):
    """The program could not be started just now; unlike other failed starts, this one is worth another try."""


_Identity = Tuple[int, ...]


class Launcher(Protocol):
    """What starts a plugin: its program, or a double in tests."""

    def __call__(self, plugin: PluginConfig) -> Process:
        """Start it. Raises `UntrustedCommand`, `PluginStartFailed`; `StartDelayed` where another try may succeed."""


class ProgramLauncher:
    """Starts programs as child processes. `token` marks them for the guard."""

    def __init__(self, trust: TrustConfig, token: str) -> None:
        self._trust = TrustPolicy(trust.directories, trust.commands, trust.permissions)
        self._token = token
        self._digests: Dict[str, Tuple[str, _Identity, str]] = {}  # by plugin: path, which file that was, its sha256

    def __call__(self, plugin: PluginConfig) -> Process:
        spec = self.check(plugin)
        try:
            return ChildProcess(spec)
        except OSError as error:
            kind = StartDelayed if error.errno in _PASSING else PluginStartFailed
            raise kind(plugin.name, message=f"plugin {plugin.name!r} cannot be started: "
                       f"{explain_spawn_error(error, spec.argv, spec.cwd)}") from None
        except ValueError as error:  # a NUL byte where a configuration was made by hand
            raise PluginStartFailed(plugin.name, message=f"plugin {plugin.name!r} cannot be started: {error}") from None

    def check(self, plugin: PluginConfig) -> LaunchSpec:
        """What to start for a plugin, after all that can be told without starting it; raises as a start does."""
        program = self._trust.check(plugin.executable, plugin.args, plugin=plugin.name)
        if plugin.sha256 is not None:
            check_sha256(program.script or program.file, plugin.sha256, plugin=plugin.name,
                         digest=lambda path: self._digest(plugin.name, path))
        if plugin.wrapper and not os.path.isabs(plugin.wrapper[0]):
            raise PluginStartFailed(plugin.name, message=f"plugin {plugin.name!r}: its `wrapper` {plugin.wrapper[0]!r} "
                                    "was not found on PATH; install it, or give an absolute path")
        limits = plugin.limits
        argv = (*limits_prefix(limits.open_files, limits.cpu_seconds, limits.data_mb),
                *identity_prefix(plugin.uid, plugin.gid, plugin=plugin.name),
                *plugin.wrapper, *program.argv)
        env = least_environment(plugin.env, plugin.env_pass, os.environ, self._token)
        return LaunchSpec(argv, plugin.cwd or os.path.dirname(program.file), env)

    def read(self, plugin: PluginConfig) -> None:
        """Any thread: read the file for its checksum, for the start that follows; what is wrong is told by that."""
        try:
            program = self._trust.check(plugin.executable, plugin.args, plugin=plugin.name)
            path = program.script or program.file
            self._digests[plugin.name] = (path, _identity(path), file_sha256(path))
        except (OSError, PluginError):
            pass

    def _digest(self, plugin: str, path: str) -> str:
        """What was read beforehand counts once, and only for a file that has not been touched since."""
        known = self._digests.pop(plugin, None)
        if known is not None and known[:2] == (path, _identity(path)):
            return known[2]
        return file_sha256(path)


def beforehand(launcher: Launcher, plugin: PluginConfig) -> Optional[Callable[[], None]]:
    """What of a start may take long, to be called on another thread before it; None where nothing does."""
    if plugin.sha256 is None or not isinstance(launcher, ProgramLauncher):
        return None
    return lambda: launcher.read(plugin)


def _identity(path: str) -> _Identity:
    """Which file it is, in which version: nobody can set a file's ctime back."""
    found = os.stat(path)
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
