"""`Plugin`: what a plugin's author writes against.

Decorators declare, while the module is loaded; `run` serves until the host is done with the plugin. Making a `Plugin`
and decorating start nothing, so a plugin's module can be imported by its tests, and decorated functions stay the plain
functions that they are.
"""
from __future__ import annotations

from typing import Any, Callable, Mapping, Optional, Sequence, TypeVar, Union

from legacy_plugins.protocol.handshake import PROGRESS, PUBLISH_EVENT
from legacy_plugins.rpc.connection import Connection
from legacy_plugins.sdk.declarations import Declarations, checked
from legacy_plugins.sdk.error import Error
from legacy_plugins.sdk.host_proxy import HostProxy
from legacy_plugins.sdk.jobs import CURRENT
from legacy_plugins.sdk.runtime import Runtime

F = TypeVar("F", bound=Callable[..., Any])


class Plugin:
    """A plugin of the name `name`; see `run`.

    `version`: the plugin's own. `capabilities`: strings for the application's use. `reverse_rpc`: the plugin may call
    `plugin.host`; the operator decides what of it is granted. `ready` False: the handshake is answered before the
    `on_start` hooks run, and calls come only after `plugin.ready()`. `ack_events`: confirm each event when its handlers
    have returned, for hosts with `events.ack`.

    `max_workers`: how many calls run side by side, on threads; events run one after the other on one thread more. With
    1 everything runs on the main thread, in the order in which it came. `max_waiting`: how many calls may wait for a
    worker; the host is told "busy" (-32000) beyond that.
    """

    #: Raise `plugin.Error(code, message, data)` in a handler to answer with an error.
    Error = Error

    def __init__(self, name: str, version: str = "0.0.0", *, capabilities: Sequence[str] = (), reverse_rpc: bool = True,
                 ready: bool = True, ack_events: bool = False, max_workers: int = 8, max_waiting: int = 1024) -> None:
        self._declared = Declarations(name, version, capabilities=capabilities, reverse_rpc=reverse_rpc, ready=ready,
                                      ack_events=ack_events, max_workers=max_workers, max_waiting=max_waiting)
        self._runtime: Optional[Runtime] = None
        #: The host's services: `plugin.host.request(method, params, timeout=5.0)`.
        self.host = HostProxy(self._host_link)

    @property
    def name(self) -> str:
        """The plugin's name."""
        return self._declared.name

    @property
    def version(self) -> str:
        """The plugin's version."""
        return self._declared.version

    # ---- declaring

    def method(self, name: str) -> Callable[[F], F]:
        """Decorator: `fn(params)` answers calls of `name` with JSON. `params`: a dict or list, `{}` where none came.

        The function runs on a worker; a notification of that name runs it too. Raise `plugin.Error` for an error of the
        plugin's own; any other exception is answered as an internal error and logged with its traceback.
        """
        def register(function: F) -> F:
            self._declared.add_method(name, function)
            return function
        return register

    def on(self, pattern: str) -> Callable[[F], F]:
        """Decorator: `fn(event)` gets the events whose type matches the glob `pattern`, one after the other."""
        self._declared.check_untold(f"@plugin.on({pattern!r})")

        def register(function: F) -> F:
            self._declared.subscriptions.add(pattern, checked(function))
            return function
        return register

    def route(self, path: str, methods: Union[str, Sequence[str]] = ("GET",), auth: bool = False,
              schema: Optional[Mapping[str, Any]] = None, description: Optional[str] = None,
              name: Optional[str] = None) -> Callable[[F], F]:
        """Decorator: `fn(request)` answers HTTP requests below the host's prefix for this plugin.

        `path`: begins with `/`; a segment `{name}` is a parameter, `{name...}` at the end the rest of the path. `auth`:
        only for authenticated callers. `schema`: JSON Schema (2020-12) that the host checks bodies against.
        `description`: the docstring's first paragraph unless given. The function returns a `Response`, a body (JSON,
        text or bytes), or None for 204; `plugin.Error` with a code of 400 to 499 answers with that status.
        """
        self._declared.check_untold(f"@plugin.route({path!r})")

        def register(function: F) -> F:
            self._declared.routes.add(path, methods, checked(function), auth=auth, schema=schema,
                                      description=description, name=name)
            return function
        return register

    def health(self, function: F) -> F:
        """Decorator: `fn()` says how the plugin is: None, "ok", "degraded", "failing", or `{"status", "message",
        "details"}`. It runs on a thread of its own, also while all workers are busy."""
        if self._declared.health is not None:
            raise ValueError("@plugin.health was used twice")
        self._declared.health = checked(function)
        return function

    def on_start(self, function: F) -> F:
        """Decorator: `fn()` runs on the main thread before any handler. If it raises, the plugin does not start; with
        `SystemExit(78)` the host does not try again."""
        self._declared.start_hooks.append(checked(function))
        return function

    def on_shutdown(self, function: F) -> F:
        """Decorator: `fn()` runs on the main thread when the host stops the plugin, after the last handler.

        It has as long as the operator's `shutdownTimeoutMs` says; where stdin ended because the host was killed, less
        than two seconds. After SIGTERM or a crash it does not run.
        """
        self._declared.shutdown_hooks.append(checked(function))
        return function

    # ---- while serving

    def publish(self, event_type: str, payload: Any = None, metadata: Optional[Mapping[str, Any]] = None) -> None:
        """Send an event to the application (`plugin/publishEvent`); the operator lists what is let through.

        Any thread; waits only while the host does not read. Raises `TypeError` or `ValueError` for what is not JSON.
        """
        params = {"eventType": event_type, "payload": payload}
        if metadata is not None:
            params["metadata"] = dict(metadata)
        self._link().notify(PUBLISH_EVENT, params)

    def progress(self, value: Any) -> None:
        """Tell the caller how far the call is that runs in this context; does nothing where nobody waits for one."""
        job = CURRENT.get()
        if job is not None and job.request_id is not None and not (job.ended or job.cancelled):
            self._link().notify(PROGRESS, {"id": job.request_id, "value": value})

    def cancelled(self) -> bool:
        """Whether nobody waits any more for what runs in this context: its caller gave up, or the host is gone."""
        job = CURRENT.get()
        if job is not None and job.cancelled:
            return True
        return self._runtime is not None and self._runtime.host_gone

    def ready(self) -> None:
        """Tell the host that the plugin takes calls from now on, after a start with `ready=False`. Any thread."""
        self._running().ready()

    def run(self) -> None:
        """Serve until the host ends the plugin: by `plugin/shutdown`, or by closing stdin. On the main thread.

        Takes descriptors 0 and 1 for the conversation first: from then on `print`, C libraries and children write to
        stderr, which the host logs, and stdin reads as empty. Start children after this, in `on_start` or later. Sends
        log records to stderr as JSON lines unless logging is configured already.

        Returns after an orderly end; the process then has less than two seconds to exit. Raises `SystemExit` where
        the plugin could not start or the host broke the protocol. SIGTERM has its default action.
        """
        if self._runtime is not None:
            raise RuntimeError("plugin.run() was called twice")
        self._runtime = Runtime(self._declared)
        self._runtime.serve()

    def _running(self) -> Runtime:
        if self._runtime is None:
            raise RuntimeError("the plugin does not run yet: this works in handlers and in on_start")
        return self._runtime

    def _link(self) -> Connection:
        return self._running().link(_HANDSHAKE_SECONDS)

    def _host_link(self, timeout: float) -> Connection:
        if not self._declared.reverse_rpc:
            raise RuntimeError("this plugin was made with reverse_rpc=False and may not call its host")
        return self._running().link(timeout)


#: How long `publish` in an `on_start` hook waits for the handshake, in seconds.
_HANDSHAKE_SECONDS = 5.0
