"""Signals on their way to plugins: blinker's and Django's, at once or when the transaction commits."""
from __future__ import annotations

import logging
import threading
from typing import Any, Callable, Dict, List, Tuple

import pytest
from blinker import Namespace
from blinker import Signal as BlinkerSignal
from django.db import connection, connections, transaction
from django.db.models.signals import post_save
from django.dispatch import Signal

from legacy_plugins import PluginHost, signals
from legacy_plugins.errors import ConfigError
from legacy_plugins.integrations.django.extension import LegacyPlugins
from legacy_plugins.integrations.django.relay import SignalRelay

Heard = List[Tuple[str, Any]]


@pytest.fixture
def heard() -> Heard:
    """What was broadcast."""
    return []


@pytest.fixture
def relay(heard: Heard) -> Callable[..., SignalRelay]:
    """A relay to a host that notes what it is to broadcast."""
    host = PluginHost({"plugins": []})
    broadcast = host.broadcast

    def note(event_type: str, payload: Any = None, metadata: Any = None) -> Any:
        report = broadcast(event_type, payload, metadata)  # refuses what is not JSON
        heard.append((event_type, payload))
        return report

    host.broadcast = note  # type: ignore[method-assign]

    def make(signal: Any, event_type: Any = None, fields: Any = None, payload: Any = None, sender: Any = None,
             on_commit: bool = False) -> SignalRelay:
        return SignalRelay(signal, event_type, fields, payload, sender, on_commit, lambda: host)

    return make


@pytest.mark.req("D8", "R17")
@pytest.mark.parametrize(("more", "expected"), [
    ({}, {"a": 1, "b": 2}), ({"fields": ["b", "c"]}, {"b": 2}),
    ({"payload": lambda sender, a, **_: [sender, a]}, ["me", 1]),
])
@pytest.mark.parametrize("on_commit", [False, True])
def test_payloads(relay: Any, heard: Heard, more: Dict[str, Any], expected: Any, on_commit: bool) -> None:
    """All keyword arguments, those that are named, or what a function makes of them; alike for both kinds of signal."""
    blinker, django = Namespace().signal("Changed"), Signal()
    relay(blinker, **more, on_commit=on_commit)
    relay(django, "Changed", **more, on_commit=on_commit)
    blinker.send("me", a=1, b=2)
    django.send("me", a=1, b=2)
    assert heard == [("Changed", expected)] * 2


def test_any_keyword_argument_is_payload(relay: Any, heard: Heard) -> None:
    """Names that the relay or Django uses itself too: nothing is left out, and nothing raised into the send."""
    signal, facts = Namespace().signal("Changed"), {"signal": "red", "lane": 1, "given": 2}
    relay(signal)
    signal.send(None, **facts)
    signal.send(**facts)
    assert heard == [("Changed", facts)] * 2


def test_a_model_signal(relay: Any, heard: Heard) -> None:
    """`post_save` of one model tells its instance to the payload's function, without Django's own `signal`."""
    from django.contrib.auth.models import Group, Permission
    for number, sender in enumerate((Group, "auth.Group")):
        relay(post_save, f"GroupSaved{number}", sender=sender, payload=lambda sender, instance, created, **rest: [
            sender.__name__, instance.name, created, sorted(rest)])
    saved = {"created": True, "update_fields": None, "raw": False, "using": "default"}
    post_save.send(Group, instance=Group(name="editors"), **saved)
    post_save.send(Permission, instance=Permission(name="edit"), **saved)
    expected = ["Group", "editors", True, ["raw", "update_fields", "using"]]
    assert heard == [("GroupSaved0", expected), ("GroupSaved1", expected)]


def test_a_sender_of_a_blinker_signal(relay: Any, heard: Heard) -> None:
    """Only what the given one sends."""
    signal, sender = Namespace().signal("Changed"), object()
    relay(signal, sender=sender)
    signal.send(sender, n=1)
    signal.send(object(), n=2)
    assert heard == [("Changed", {"n": 1})]


def _roll_back(send: Callable[[], Any]) -> None:
    with transaction.atomic():
        send()
        raise ZeroDivisionError


@pytest.mark.req("D8")
def test_on_commit(relay: Any, heard: Heard) -> None:
    """Nothing before the commit, the payload of the time of the send after it, nothing after a roll-back."""
    signal = Signal()
    relay(signal, "Saved", on_commit=True)
    rows = [1]
    with transaction.atomic():
        signal.send(None, rows=rows)
        rows.append(2)
        with pytest.raises(ZeroDivisionError):
            _roll_back(lambda: signal.send(None, rows="rolled back to the savepoint"))
        assert heard == []
    assert heard == [("Saved", {"rows": [1]})]
    with pytest.raises(ZeroDivisionError):
        _roll_back(lambda: signal.send(None, rows="rolled back"))
    signal.send(None, rows="no transaction")
    assert heard[1:] == [("Saved", {"rows": "no transaction"})]


def test_on_commit_of_the_database_that_is_meant(relay: Any, heard: Heard) -> None:
    """Model signals name theirs; `using` of another kind is just a word."""
    signal = Signal()
    relay(signal, "Saved", on_commit=True)
    with transaction.atomic(using="other"):
        signal.send(None, using="other")
        signal.send(None, using="default")
        signal.send(None, using="a hammer")
        assert [payload["using"] for _, payload in heard] == ["default", "a hammer"]
    assert [payload["using"] for _, payload in heard][2:] == ["other"]


def test_no_connection_is_opened_to_ask_for_a_transaction(relay: Any, heard: Heard) -> None:
    """A send on a thread without a connection leaves it without one."""
    connections.close_all()
    connections["default"].connection = None
    signal = Signal()
    relay(signal, "Saved", on_commit=True)
    signal.send(None)
    assert heard
    assert connection.connection is None


def test_manual_transactions_cannot_be_waited_for(relay: Any, heard: Heard, caplog: pytest.LogCaptureFixture) -> None:
    """Without autocommit Django has no commit to wait for: the event is dropped and logged, the send goes on."""
    signal = Signal()
    relay(signal, "Saved", on_commit=True)
    with connection.cursor():
        pass
    transaction.set_autocommit(False)
    try:
        signal.send(None)
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    assert heard == []
    assert "'Saved' could not be sent" in caplog.text


@pytest.mark.parametrize("on_commit", [False, True])
def test_nothing_is_raised_into_a_send(relay: Any, heard: Heard, caplog: pytest.LogCaptureFixture,
                                       on_commit: bool) -> None:
    """A payload that is not JSON or whose function fails, and faulty settings, are logged; the sender sees nothing."""
    signal = Signal()
    relay(signal, "NotJson", on_commit=on_commit)
    relay(signal, "Fails", payload=lambda sender, **_: 1 / 0, on_commit=on_commit)

    def faulty() -> Any:
        raise ConfigError("the settings are faulty")

    SignalRelay(signal, "Faulty", None, None, None, on_commit, faulty)
    relay(signal, "Good", fields=["n"], on_commit=on_commit)
    with caplog.at_level(logging.ERROR), transaction.atomic():
        signal.send(None, value=object(), n=1)
    for name in ("NotJson", "Fails", "Faulty"):
        assert f"the event {name!r} could not be sent" in caplog.text
    assert heard == [("Good", {"n": 1})]


@pytest.mark.req("R17")
def test_an_event_that_is_lost_is_announced(relay: Any) -> None:
    """`event_dropped` says which, and why."""
    dropped: List[Any] = []
    told = threading.Event()

    def note(host: Any, plugin: Any, event_type: str, reason: str, **_: Any) -> None:
        dropped.append((event_type, reason))
        told.set()

    signal = Signal()
    relay(signal, "Saved", on_commit=True)
    with signals.event_dropped.connected_to(note):
        signal.send(None, value=object())
        assert told.wait(20)
    assert dropped[0][0] == "Saved"


@pytest.mark.parametrize(("signal", "more", "error", "word"), [
    (Signal(), {}, ValueError, "Django's signals have no name"), (BlinkerSignal(), {}, ValueError, "event_type"),
    (Signal(), {"fields": ["a"], "payload": print, "event_type": "X"}, ValueError, "not both"),
    ("post_save", {}, TypeError, "neither a blinker signal"),
    ("post_save", {"event_type": "X"}, TypeError, "neither a blinker signal"),
])
def test_connections_that_make_no_sense(signal: Any, more: Any, error: Any, word: str) -> None:
    """They are refused where they are made, with what to do."""
    with pytest.raises(error, match=word):
        LegacyPlugins().connect(signal, **more)
