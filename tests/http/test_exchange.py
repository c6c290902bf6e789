"""What a plugin is told of a request's client."""
from __future__ import annotations

import pytest

from legacy_plugins.config.model import PluginConfig
from legacy_plugins.http.bodies import NO_BODY
from legacy_plugins.http.exchange import request_params
from legacy_plugins.http.prefixes import Located
from legacy_plugins.http.routes import Match, Route
from tests.http.fakes import request, route


@pytest.mark.fault("R8")
@pytest.mark.parametrize(("host", "told"), [
    ("example.org", "example.org"), ("example.org:8080", "example.org:8080"), ("my_host", "my_host"),
    ("[::1]:80", "[::1]:80"), ("203.0.113.9", "203.0.113.9"), ("", ""), ("localhost,evil.example", ""),
    ("localhost, evil.example", ""), ("a/b", ""), ("user@host", ""), ("a\nb", ""), ("h\xf6st", ""), ("host:", ""),
    ("host:port", ""), ("host:123456", ""), ("[::1", ""),
])
def test_a_host_is_a_host_or_nothing(host: str, told: str) -> None:
    """Where a framework lets through what is no host, such as two of them, the plugin gets none."""
    located = Located(PluginConfig("shop", "/p"), "/api/plugins/shop", ("items",))
    params = request_params(request(host=host), located, Match(Route(route()), "GET", {}), NO_BODY, user=None,
                            request_id="r-1", seconds=1.0)
    assert params["client"]["host"] == told
