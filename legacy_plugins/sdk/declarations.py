"""What a plugin's author declared: methods, routes, subscriptions, hooks and options.

Filled by the decorators of `Plugin` while the plugin's module is loaded; read by the runtime on its threads afterwards.
Must not import what serves.
"""
from __future__ import annotations

import inspect
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from legacy_plugins.sdk.events import Subscriptions
from legacy_plugins.sdk.routes import RouteTable

_RESERVED = ("plugin/", "$/", "rpc.")


class Declarations:
    """See the file's first paragraph. The options are those of `Plugin`, which explains them."""

    def __init__(self, name: str, version: str, *, capabilities: Sequence[str], reverse_rpc: bool, ack_events: bool,
                 ready: bool, max_workers: int, max_waiting: int) -> None:
        for what, text in (("name", name), ("version", version)):
            if not isinstance(text, str) or not text:
                raise TypeError(f"a plugin's {what} is a text that is not empty, not {text!r}")
        if isinstance(capabilities, str) or not all(isinstance(capability, str) for capability in capabilities):
            raise TypeError(f"capabilities are a list of strings, not {capabilities!r}")
        if max_workers < 1 or max_waiting < 0:
            raise ValueError(f"max_workers is {max_workers}, at least 1; max_waiting is {max_waiting}, at least 0")
        self.name = name
        self.version = version
        self.capabilities: Tuple[str, ...] = tuple(capabilities)
        self.reverse_rpc = reverse_rpc
        self.ack_events = ack_events
        self.ready = ready
        self.max_workers = max_workers
        self.max_waiting = max_waiting
        self.methods: Dict[str, Callable[[Any], Any]] = {}
        self.routes = RouteTable()
        self.subscriptions = Subscriptions()
        self.health: Optional[Callable[[], Any]] = None
        self.start_hooks: List[Callable[[], Any]] = []
        self.shutdown_hooks: List[Callable[[], Any]] = []
        #: Set once the host was told; routes and patterns that are added later would never be known to it.
        self.told = False

    def add_method(self, name: str, function: Callable[[Any], Any]) -> None:
        """`function(params)` answers calls of `name`. Raises `ValueError` for a name that is reserved or taken."""
        if not isinstance(name, str) or not name:
            raise TypeError(f'@plugin.method takes the method\'s name, such as "report/build", not {name!r}')
        if name.startswith(_RESERVED):
            raise ValueError(f"the method name {name!r} is reserved: names beginning {', '.join(_RESERVED)} are not "
                             "the plugin's; use a prefix of your own, such as 'report/'")
        if name in self.methods:
            raise ValueError(f"the method {name!r} is declared twice")
        self.methods[name] = checked(function)

    def check_untold(self, what: str) -> None:
        """Raise `RuntimeError` where it is too late to declare `what`."""
        if self.told:
            raise RuntimeError(f"{what} must be declared before the plugin is ready: the host has been told what there "
                               "is. Declare it where the module is loaded, or in on_start")

    def announcement(self) -> Dict[str, Any]:
        """Routes and events, as `plugin/handshake` and `plugin/ready` tell them."""
        announced: Dict[str, Any] = {}
        if len(self.routes):
            announced["routes"] = self.routes.to_wire()
        if self.subscriptions.patterns:
            announced["events"] = self.subscriptions.patterns
        return announced


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function; raises `TypeError` for what cannot be called, or would return a coroutine that nobody awaits."""
    if not callable(function):
        raise TypeError(f"{function!r} is not a function")
    if inspect.iscoroutinefunction(function):
        raise TypeError(f"{function.__name__!r} is a coroutine function; handlers are plain functions, run by threads: "
                        "call asyncio.run() inside of one")
    return function
