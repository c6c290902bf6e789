"""What a host gives to each of its plugins: the shared threads, the doors to the outside, the guard."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict

from legacy_plugins.host.launch import Launcher
from legacy_plugins.host.notices import Notices
from legacy_plugins.host.orphans import OrphanGuard
from legacy_plugins.host.services import Service
from legacy_plugins.rpc.dispatcher import Dispatcher
from legacy_plugins.rpc.reactor import Reactor


@dataclass
class Surroundings:
    """`launcher(name)`: what starts the plugin of that name. `guarded()`: whether the guard is wanted.
    `routes_changed()`: the declared routes are others now."""

    host_name: str
    host_version: str
    reactor: Reactor
    dispatcher: Dispatcher
    notices: Notices
    services: Dict[str, Service]
    guard: OrphanGuard
    launcher: Callable[[str], Launcher]
    guarded: Callable[[], bool]
    routes_changed: Callable[[], None]
