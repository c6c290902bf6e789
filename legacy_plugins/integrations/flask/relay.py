"""The way from an application's blinker signal to its own plugins.

A signal is one for the whole process; applications may be several (a factory called twice, tests). Owns the filter
between them: a send in the context of one application, or with one as its sender, reaches that one's plugins alone.
Runs on the thread that sends.
"""
from __future__ import annotations

import weakref
from typing import Any

from blinker import NamedSignal, Signal
from flask import Flask, has_app_context

from legacy_plugins.integrations.flask.context import is_current


class SignalRelay:
    """Repeats the sends of `source` that concern `app` on `target`, a signal of its own, for as long as it is held."""

    def __init__(self, app: Flask, source: Signal) -> None:
        name = getattr(source, "name", None)
        self.target: Signal = NamedSignal(name) if name is not None else Signal()
        self._app = weakref.ref(app)
        source.connect(self._receive)  # weakly, as blinker does by default: `source` outlives applications

    def _receive(self, sender: Any, **values: Any) -> None:
        app = self._app()
        if app is None:
            return
        if is_current(app) or (not has_app_context() and (sender is app or not isinstance(sender, Flask))):
            self.target.send(sender, **values)
