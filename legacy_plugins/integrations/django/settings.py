"""The setting LEGACY_PLUGINS: read, checked, and made into a host.

Owns its keys. All faults are told at once, together with those of the configuration that CONFIG names. Starts nothing.
Any thread.
"""
from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from typing import Any, List, Mapping, Optional, Tuple, Union

from django.conf import settings
from django.utils.module_loading import import_string

from legacy_plugins.config.loader import load_config
from legacy_plugins.config.model import HostConfig
from legacy_plugins.errors import ConfigError
from legacy_plugins.host import PluginHost
from legacy_plugins.http import Authorize

#: The setting's name.
NAME = "LEGACY_PLUGINS"

#: Its keys.
KEYS = ("CONFIG", "TRUST", "AUTHORIZE", "START", "CSRF")
_START = ("lazy", "eager")
_CSRF = ("always", "browsers")
_PATHS = (str, os.PathLike)


@dataclass(frozen=True)
class PluginSettings:
    """The setting's values. Paths are absolute; `faults` says what is wrong, and then the other values mean nothing."""

    config: Union[str, Mapping[str, Any], HostConfig] = ""
    base_dir: Optional[str] = None
    trust: Tuple[str, ...] = ()
    authorize: Optional[str] = None
    start: str = "lazy"
    csrf: str = "always"
    faults: Tuple[str, ...] = ()


def read_settings() -> PluginSettings:
    """What the project's settings say."""
    given = getattr(settings, NAME, None)
    if not isinstance(given, Mapping):
        found = "is missing" if given is None else f"is {_shown(given)}"
        return PluginSettings(faults=(f"{NAME} {found}; it is a dict with the key 'CONFIG'",))
    reader = _Reader(given)
    config, trust = reader.config(), reader.trust()
    return PluginSettings(
        config=config, trust=trust, base_dir=reader.base_dir if isinstance(config, Mapping) else None,
        authorize=reader.authorize(), start=reader.choice("START", _START), csrf=reader.choice("CSRF", _CSRF),
        faults=tuple(reader.faults))


def make_host(given: PluginSettings) -> PluginHost:
    """The host of the settings. Raises `ConfigError` with all faults, theirs and the configuration's."""
    faults = all_faults(given)
    if faults:
        raise ConfigError(faults)
    return PluginHost(given.config, base_dir=given.base_dir, trust=given.trust)


def all_faults(given: PluginSettings) -> List[str]:
    """What is wrong with the settings and, as far as it can be read, with the configuration."""
    return [*given.faults, *config_faults(given)]


def config_faults(given: PluginSettings) -> Tuple[str, ...]:
    """What is wrong with the configuration that CONFIG gives."""
    if not given.config:
        return ()
    try:
        load_config(given.config, base_dir=given.base_dir, trust=given.trust)
    except ConfigError as error:
        return error.faults
    return ()


def named_hook(path: str) -> Authorize:
    """The function that AUTHORIZE names; raises `ConfigError`."""
    try:
        hook: Authorize = import_string(path)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{NAME}['AUTHORIZE'] names {path!r}, which cannot be imported: {why}") from error
    if not callable(hook):
        raise ConfigError(f"{NAME}['AUTHORIZE'] names {path!r}, which is no function but {_shown(hook)}")
    return hook


class _Reader:
    """Reads one value after the other, and collects faults."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given
        base = getattr(settings, "BASE_DIR", None)
        self.base_dir = os.fspath(base) if isinstance(base, _PATHS) else None
        self.faults = [self._unknown(key) for key in given if key not in KEYS]

    @staticmethod
    def _unknown(key: Any) -> str:
        nearest = difflib.get_close_matches(str(key).upper(), KEYS, 1)
        known = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(KEYS)}"
        return f"{NAME} has an unknown key {key!r}; {known}"

    def config(self) -> Any:
        """A path, a mapping or a `HostConfig`."""
        value = self._given.get("CONFIG")
        if isinstance(value, (Mapping, HostConfig)):
            return value
        if isinstance(value, _PATHS) and os.fspath(value):
            return self._absolute("CONFIG", value)
        found = f"is {_shown(value)}" if value is not None else "is missing"
        self.faults.append(f"{NAME}['CONFIG'] {found}; it is the path of a file, or its contents as a dict")
        return ""

    def trust(self) -> Tuple[str, ...]:
        """Directories, or one of them."""
        value = self._given.get("TRUST", ())
        directories = [value] if isinstance(value, _PATHS) else value
        if isinstance(directories, (list, tuple)) and all(isinstance(one, _PATHS) and os.fspath(one)
                                                          for one in directories):
            return tuple(self._absolute("TRUST", one) for one in directories)
        self.faults.append(f"{NAME}['TRUST'] is {_shown(value)}; it is a list of directories")
        return ()

    def authorize(self) -> Optional[str]:
        """A dotted path, not imported yet: settings are read when the project may be half imported."""
        value = self._given.get("AUTHORIZE")
        if value is None or (isinstance(value, str) and "." in value):
            return value
        self.faults.append(f"{NAME}['AUTHORIZE'] is {_shown(value)}; it is the dotted path of a function, such as "
                           "'shop.plugins.authorize'")
        return None

    def choice(self, key: str, allowed: Tuple[str, ...]) -> str:
        """One of some words; the first is the default."""
        value = self._given.get(key, allowed[0])
        if value in allowed:
            return str(value)
        self.faults.append(f"{NAME}[{key!r}] is {_shown(value)}; it is {' or '.join(map(repr, allowed))}")
        return allowed[0]

    def _absolute(self, key: str, path: Any) -> str:
        joined = os.path.join(self.base_dir or "", os.fspath(path))
        if not os.path.isabs(joined):
            self.faults.append(f"{NAME}[{key!r}]: {_shown(path)} is a relative path, and the settings have no absolute "
                               "BASE_DIR that it could be relative to; give an absolute one")
        return joined


def _shown(value: Any) -> str:
    return f"{value!r:.200}"
