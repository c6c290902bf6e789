"""Where a configuration comes in: a file, a mapping or a finished `HostConfig`; out comes a `HostConfig`.

Owns the order of the work: read, copy, check by schema, check by rules, and only where nothing at all is wrong, build.
Values of `env` are in no error, and neither is what they were made from. Calling thread only; no thread, lock or state.
"""
from __future__ import annotations

import dataclasses
import os
from typing import Any, Dict, Iterable, List, Mapping, Optional, Union

from legacy_plugins.config.builder import build_host
from legacy_plugins.config.document import Document
from legacy_plugins.config.file_reader import read_file
from legacy_plugins.config.model import HostConfig
from legacy_plugins.config.plain_values import plain
from legacy_plugins.config.rules import check_rules
from legacy_plugins.config.schema_check import check_schema
from legacy_plugins.errors import ConfigError

__all__ = ["TRUST_VARIABLE", "load_config"]

AnyPath = Union[str, "os.PathLike[str]"]

#: Environment variable with more trusted directories, separated as PATH is.
TRUST_VARIABLE = "LEGACY_PLUGINS_TRUST"


def load_config(
    source: Union[AnyPath, Mapping[str, Any], HostConfig], *, base_dir: Optional[AnyPath] = None,
    trust: Union[AnyPath, Iterable[AnyPath], None] = None, environ: Optional[Mapping[str, str]] = None,
) -> HostConfig:
    """The configuration that `source` means.

    `source`: the path of a `.json`, `.yaml` or `.yml` file; the same as a mapping, which is copied; or a `HostConfig`,
    which comes back as it is but for `trust`.
    `base_dir`: the folder that relative paths are relative to, instead of the file's folder or, for a mapping, the
    current folder.
    `trust`: directories that are trusted besides those of the configuration, relative to the same folder. The variable
    LEGACY_PLUGINS_TRUST adds more, relative to the current folder; not for a `HostConfig`.
    `environ`: the environment to look things up in, instead of `os.environ`.

    Raises `ConfigError` with all faults at once, and `TypeError` for arguments that make no sense.
    """
    if isinstance(source, HostConfig):
        if base_dir is not None:
            raise TypeError("base_dir has no effect on a HostConfig, whose paths are absolute already")
        return _with_trust(source, trust, {})
    if not isinstance(source, (str, os.PathLike, Mapping)):
        raise TypeError(f"a configuration is a path, a mapping or a HostConfig, not {type(source).__name__}")
    environ = os.environ if environ is None else environ
    name = None if isinstance(source, Mapping) else _file_name(source)
    value = _checked_value(source, name, environ)
    folder = base_dir if base_dir is not None else os.path.dirname(name or "")
    return _with_trust(build_host(value, os.path.abspath(folder), name, environ), trust, environ)


def _checked_value(source: Any, name: Optional[str], environ: Mapping[str, str]) -> Mapping[str, Any]:
    """The source's value, in which nothing is wrong; raises `ConfigError`."""
    document = Document(name)
    raw = source if name is None else read_file(document, name)
    if not document.readable:
        raise document.error()
    document.settle(plain(document, raw))
    check_schema(document)
    if document.readable:
        check_rules(document, environ)
    if document.faulty:
        raise document.error()
    checked: Mapping[str, Any] = document.value
    return checked


def _file_name(source: AnyPath) -> str:
    path = os.fspath(source)
    if path.lstrip().startswith("{") or "\n" in path:  # it may hold secrets, and an error would show it
        raise ConfigError("the configuration is the text of a document, not a path; parse it and pass the mapping")
    return os.path.abspath(path)


def _with_trust(config: HostConfig, trust: Union[AnyPath, Iterable[AnyPath], None],
                environ: Mapping[str, str]) -> HostConfig:
    """`config` with more trusted directories; the very same object where there are none."""
    more: List[str] = []
    for given in _directories(trust):
        more.append(os.path.normpath(os.path.join(config.base_dir, given)))
    for entry in environ.get(TRUST_VARIABLE, "").split(os.pathsep):
        if entry:  # an empty entry would be the current folder
            more.append(os.path.abspath(entry))
    if any("\0" in directory for directory in more):
        raise ConfigError("a directory to trust holds a NUL character")
    known: Dict[str, None] = dict.fromkeys(config.trust.directories)
    if all(directory in known for directory in more):
        return config
    directories = tuple(dict.fromkeys((*known, *more)))
    return dataclasses.replace(config, trust=dataclasses.replace(config.trust, directories=directories))


def _directories(trust: Union[AnyPath, Iterable[AnyPath], None]) -> List[str]:
    """`trust` as a list of paths; a single path is one directory, never a sequence of letters."""
    if trust is None:
        return []
    if isinstance(trust, (str, os.PathLike)):
        trust = [trust]
    directories = [os.fspath(directory) for directory in trust]
    if not all(directories):
        raise ConfigError("a directory to trust is empty")
    return directories
