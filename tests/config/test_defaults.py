"""Merging `defaults` with a plugin's own keys."""
from __future__ import annotations

import pytest

from legacy_plugins.config import load_config
from legacy_plugins.config.defaults import merge


def test_own_values_win_at_any_depth() -> None:
    """Mappings are merged key by key; lists, scalars and null replace."""
    defaults = {"a": {"x": 1, "y": {"z": 2, "w": 3}}, "list": [1, 2], "scalar": 1, "kept": True, "cleared": {"a": 1}}
    own = {"a": {"y": {"z": 9}}, "list": [3], "scalar": {"now": "a mapping"}, "cleared": None}
    assert merge(defaults, own) == {
        "a": {"x": 1, "y": {"z": 9, "w": 3}}, "list": [3], "scalar": {"now": "a mapping"}, "kept": True,
        "cleared": None,
    }
    assert defaults["a"] == {"x": 1, "y": {"z": 2, "w": 3}}, "the defaults of the next plugin are untouched"


@pytest.mark.req("R27")
def test_defaults_apply_to_every_plugin() -> None:
    """A plugin without a key has the default's, one with it its own; `command` may be shared, too."""
    config = load_config({
        "defaults": {"command": "/opt/all", "env": {"A": "1", "B": "2"}, "restart": {"maxRetries": 9, "backoffMs": 7},
                     "http": {"rateLimit": {"requests": 5, "perSeconds": 2}}, "events": {"include": ["A", "B"]}},
        "plugins": [
            {"name": "one"},
            {"name": "two", "command": "/opt/two", "env": {"B": "3"}, "restart": {"backoffMs": 8},
             "http": {"rateLimit": None}, "events": {"include": ["C"]}},
            {"name": "three", "http": {"rateLimit": {"requests": 6}}},
        ],
    }, environ={})
    one, two, three = config.plugins
    assert (one.command, two.command) == ("/opt/all", "/opt/two")
    assert (one.env, two.env) == ({"A": "1", "B": "2"}, {"A": "1", "B": "3"})
    assert (two.restart.max_retries, two.restart.backoff_ms) == (9, 8)
    assert (one.http.rate_limit, two.http.rate_limit) != (None, None)
    assert two.http.rate_limit is None
    assert three.http.rate_limit is not None
    assert (three.http.rate_limit.requests, three.http.rate_limit.per_seconds) == (6, 2)
    assert (one.events.include, two.events.include) == (("A", "B"), ("C",))
