"""Plugins for the length of one command.

Owns their start and their end, in this process; a server that runs elsewhere is not touched. Runs on the thread of the
command.
"""
from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Iterator

if TYPE_CHECKING:
    from legacy_plugins.host import PluginHost


@contextmanager
def started(host: PluginHost) -> Iterator[PluginHost]:
    """The host with its plugins started, each ready or not coming; they are stopped whatever happens."""
    try:
        host.start(wait=True)
        yield host
    finally:
        host.stop()
