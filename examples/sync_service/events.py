"""What happens in this application, as blinker signals. Nobody here knows who listens.

The sender is the `Service`; all keyword arguments are JSON values (`fields` in `hosting.py` names those that leave the
process). Each is sent on the thread that synchronises.
"""
from __future__ import annotations

from blinker import Namespace

__all__ = ["SyncCompleted", "SyncFailed", "SyncStarted"]

_signals = Namespace()

SyncStarted = _signals.signal("SyncStarted", doc="id, source, target")
SyncCompleted = _signals.signal("SyncCompleted", doc="id, source, target, copied, skipped, deleted, bytes")
SyncFailed = _signals.signal("SyncFailed", doc="id, source, target, error")
