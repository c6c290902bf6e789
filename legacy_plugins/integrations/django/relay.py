"""The way from an application's signal, blinker's or Django's, to the plugins.

Owns when the payload is taken and when the event leaves: both at the send, or the latter when the transaction commits.
Runs on the thread that sends; never raises into it, whatever is wrong with plugins, settings or database.
"""
from __future__ import annotations

import logging
from typing import Any, Callable, Dict, Optional, Sequence

from blinker import Signal
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.dispatch import Signal as DjangoSignal

from legacy_plugins.host import PluginHost
from legacy_plugins.host.subscriptions import broadcast, chosen
from legacy_plugins.protocol.codec import JsonCodec

_codec = JsonCodec()
_log = logging.getLogger("legacy_plugins.host")


class SignalRelay:
    """Broadcasts each send of `signal` through the host that `host()` gives; connected for good.

    `sender`: whose sends alone; None for anybody's.
    """

    def __init__(self, signal: Any, event_type: Optional[str], fields: Optional[Sequence[str]],
                 payload: Optional[Callable[..., Any]], sender: Any, on_commit: bool,
                 host: Callable[[], PluginHost]) -> None:
        own_name = _name(signal)
        name = event_type or own_name
        if not name:
            kind = "Django's signals have no name" if isinstance(signal, DjangoSignal) else "the signal has no name"
            raise ValueError(f"{kind}; give `event_type`")
        if fields is not None and payload is not None:
            raise ValueError("give `fields` or `payload`, not both")
        self._event_type = name
        self._fields = None if fields is None else tuple(fields)
        self._payload = payload
        self._on_commit = on_commit
        self._host = host

        def receive(*given: Any, **facts: Any) -> None:  # no name of its own that a keyword argument could take
            if isinstance(signal, DjangoSignal):  # it sends itself along, and its sender by name
                del facts["signal"]
                given = (facts.pop("sender", None),)
            self._receive(given[0] if given else None, facts)

        signal.connect(receive, weak=False, **({} if sender is None else {"sender": sender}))

    def _receive(self, sender: Any, facts: Dict[str, Any]) -> None:
        """The signal is sent."""
        if self._on_commit:
            self._send_on_commit(sender, facts)
        else:
            self._send(lambda: self._chosen(sender, facts))

    def _send_on_commit(self, sender: Any, facts: Dict[str, Any]) -> None:
        try:
            # As it is now: what was sent may change until the end of the transaction.
            taken = _codec.encode(self._chosen(sender, facts)).encode("utf-8")
            _at_commit(lambda: self._send(lambda: _codec.decode(taken)), facts.get("using"))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told like a payload that is not JSON
            self._send(_raising(error))

    def _chosen(self, sender: Any, facts: Dict[str, Any]) -> Any:
        return chosen(sender, facts, self._fields, self._payload)

    def _send(self, payload: Callable[[], Any]) -> None:
        try:
            host = self._host()
        except Exception:  # noqa: BLE001 - the application's send must not fail for a faulty configuration
            _log.exception("the event %r could not be sent to plugins", self._event_type)
        else:
            broadcast(host, self._event_type, payload)


def _at_commit(send: Callable[[], None], using: Any) -> None:
    """Send when the transaction of this thread commits; at once where there is none.

    `using`: the database, as model signals name it; anything else means the default one.
    """
    alias = using if isinstance(using, str) and using in connections else DEFAULT_DB_ALIAS
    connection = connections[alias]
    if connection.in_atomic_block or connection.connection is not None:
        transaction.on_commit(send, using=alias)
    else:  # asking the database whether there is one would open a connection
        send()


def _name(signal: Any) -> Optional[str]:
    """A blinker signal's name; None where a signal has none. Raises `TypeError` for what is no signal."""
    if not isinstance(signal, (Signal, DjangoSignal)):
        raise TypeError(f"{signal!r} is neither a blinker signal nor a Django signal")
    return getattr(signal, "name", None)


def _raising(error: Exception) -> Callable[[], Any]:
    def raise_it() -> Any:
        raise error

    return raise_it
