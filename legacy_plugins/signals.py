"""The facts that leave the library: blinker signals, for alarms, metrics and the application's own bookkeeping.

Sender is the `PluginHost`; every signal has `plugin=name` and the keyword arguments listed with it. Receivers should
take `**extra`, since later versions may add some. They run on the dispatch thread, one after the other, never on a
thread that reads from a plugin; one that raises is logged and hurts nobody else.
"""
from __future__ import annotations

from blinker import Namespace

__all__ = [
    "event_acknowledged", "event_dropped", "plugin_crashed", "plugin_event", "plugin_gave_up", "plugin_log",
    "plugin_ready", "plugin_restarting", "plugin_state_changed", "plugin_unavailable", "request_finished",
]

_signals = Namespace()

plugin_state_changed = _signals.signal("plugin-state-changed", "old, new: PluginState; reason: text.")
plugin_ready = _signals.signal("plugin-ready", "metadata: what the plugin said of itself in the handshake.")
plugin_unavailable = _signals.signal(
    "plugin-unavailable", "The alarm: the plugin cannot be used. reason: text; error: what callers get.")
plugin_crashed = _signals.signal("plugin-crashed", "crash: CrashReport.")
plugin_restarting = _signals.signal("plugin-restarting", "attempt: from 1; delay: seconds until the next start.")
plugin_gave_up = _signals.signal("plugin-gave-up", "attempts: restarts tried; crash: CrashReport or None.")
plugin_log = _signals.signal("plugin-log", "A line of the plugin's stderr. level: logging level; message; pid.")
event_dropped = _signals.signal(
    "event-dropped", "An event will not reach the plugin (plugin None: any plugin). event_type; reason.")
event_acknowledged = _signals.signal("event-acknowledged", "The plugin confirmed an event. event_id.")
plugin_event = _signals.signal("plugin-event", "The plugin published an event. event_type; payload; metadata.")
request_finished = _signals.signal(
    "request-finished", "A call has ended. method; outcome: answered, failed, timed_out, cancelled or crashed; "
    "duration: seconds.")
