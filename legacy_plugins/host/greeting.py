"""From a process's handshake to its being ready: what is asked, what the answer may be, how long it may take.

What the plugin declares is checked on its own reader thread: that may take a while, and holds up nobody else there.
Everything else runs on the supervising thread.
"""
from __future__ import annotations

from typing import Any, Callable, Optional

from legacy_plugins.config.model import PluginConfig
from legacy_plugins.errors import HandshakeFailed, PluginTimeout, RpcError
from legacy_plugins.host import declarations
from legacy_plugins.host.surroundings import Surroundings
from legacy_plugins.protocol.handshake import HANDSHAKE, HandshakeResult, handshake_params
from legacy_plugins.rpc.calls import Call
from legacy_plugins.rpc.connection import Connection
from legacy_plugins.rpc.reactor import Timer


class PassingFailure(HandshakeFailed):
    """A handshake that failed in a way that another try may mend."""


class Greeting:
    """One process's. `answered(answer)`: reader thread, before the plugin's next message is handled.

    Then one of `ready(metadata)` and `failed(error)` is called, unless `stop` comes first. `post(step, *args)` and
    `later(delay, step)` take a step on the supervising thread; `blame(error)` is told there of a defect of ours.
    `clean(text)`: a text with parts of the plugin's as it may be logged.
    """

    def __init__(self, config: PluginConfig, connection: Connection, *, post: Callable[..., None],
                 later: Callable[[float, Callable[[], None]], Timer], answered: Callable[[Any], None],
                 ready: Callable[[HandshakeResult], None], failed: Callable[[HandshakeFailed], None],
                 blame: Callable[[Exception], None], clean: Callable[[str], str]) -> None:
        self._config = config
        self._connection = connection
        self._post = post
        self._later = later
        self._answered = answered
        self._ready = ready
        self._failed = failed
        self._blame = blame
        self._clean = clean
        self._declared: Optional[HandshakeResult] = None  # the reader thread's
        self._timer: Optional[Timer] = None
        self._over = False
        #: The handshake was answered well: the plugin knows what `plugin/shutdown` is.
        self.done = False

    def begin(self, around: Surroundings) -> None:
        """Ask, where the configuration wants a handshake."""
        if self._config.handshake == "none":
            try:
                metadata = declarations.configured(self._config)
            except HandshakeFailed as error:
                self._fail(error)
            else:
                self._become_ready(metadata)
            return
        params = handshake_params(self._config.name, around.host_name, around.host_version,
                                  reverse_rpc=self._config.allow_reverse_rpc,
                                  max_frame_bytes=self._config.limits.max_frame_bytes)
        call = self._connection.submit(HANDSHAKE, params, self._config.handshake_timeout_ms / 1000)
        call.add_internal_callback(lambda _: self._call_ended(call))

    def stop(self) -> None:
        """It does not matter any more."""
        self._over = True
        if self._timer is not None:
            self._timer.cancel()

    def ready_declared(self, params: Any) -> None:
        """`plugin/ready` came; on the reader thread."""
        declared = self._declared
        if declared is not None and not declared.ready and not self._over:
            self._check(lambda: declarations.check_ready(self._config, declared, params), self._become_ready)

    def _call_ended(self, call: Call) -> None:
        """On the thread that ends the call: the reader's where an answer came."""
        if call.cancelled():
            return
        error = call.exception(0)
        if error is not None:
            self._post(self._fail, self._explain(error))
            return
        answer = call.result(0)
        self._answered(answer)
        self._check(lambda: declarations.check_handshake(self._config, answer), self._greeted)

    def _check(self, check: Callable[[], HandshakeResult], passed: Callable[[HandshakeResult], None]) -> None:
        """On the reader thread: check a declaration, and go on with it on the supervising thread."""
        try:
            self._declared = declared = check()
        except HandshakeFailed as refused:
            self._post(self._fail, refused)
        except Exception as error:  # noqa: BLE001 - a defect of ours must not leave the plugin starting for ever
            self._post(self._blame, error)
        else:
            self._post(passed, declared)

    def _greeted(self, declared: HandshakeResult) -> None:
        self.done = True
        if declared.ready:
            self._become_ready(declared)
        elif not self._over:
            self._timer = self._later(self._config.ready_timeout_ms / 1000, self._never_ready)

    def _become_ready(self, metadata: HandshakeResult) -> None:
        if not self._over:
            self.stop()
            self._ready(metadata)

    def _fail(self, error: HandshakeFailed) -> None:
        if not self._over:
            self.stop()
            error.args = (self._clean(str(error)),)  # it quotes the plugin
            self._failed(error)

    def _never_ready(self) -> None:
        name, milliseconds = self._config.name, self._config.ready_timeout_ms
        self._fail(PassingFailure(name, message=f"plugin {name!r} answered the handshake with `ready: false` and sent "
                                  f"no plugin/ready within {milliseconds} ms (readyTimeoutMs)"))

    def _explain(self, error: BaseException) -> HandshakeFailed:
        """An error answer or a time-out; both may pass, so unlike a wrong answer they are worth another try."""
        name = self._config.name
        if isinstance(error, PluginTimeout):
            why = f"no answer within {self._config.handshake_timeout_ms} ms (handshakeTimeoutMs)"
        elif isinstance(error, RpcError):
            why = f"it answered with error {error.code}: {self._clean(error.message)[:200]}"
        else:
            why = str(error)
        return PassingFailure(name, message=f"the handshake of plugin {name!r} failed: {why}")
