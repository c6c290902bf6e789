"""What a plugin is told of a request's client."""
from __future__ import annotations

import pytest

from legacy_plugins.config.model import PluginConfig
from legacy_plugins.http.access import MAX_USER_CONTAINERS
from legacy_plugins.http.bodies import NO_BODY, decode_body
from legacy_plugins.http.exchange import MAX_QUERY_NAMES, request_params
from legacy_plugins.http.prefixes import Located
from legacy_plugins.http.problems import HttpProblem
from legacy_plugins.http.routes import Match, Route
from legacy_plugins.protocol.codec import MAX_CONTAINERS, JsonCodec
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


@pytest.mark.fault("R4")
def test_a_query_of_many_names_is_refused() -> None:
    """So much of it that the largest body that is taken can always be sent along, with the largest `user`."""
    located = Located(PluginConfig("shop", "/p"), "/api/plugins/shop", ("items",))
    match = Match(Route(route()), "GET", {})
    text = b"[" + b"[]," * (MAX_CONTAINERS - 4200) + b"1]"
    sent = request(body=text, content_type="application/json",
                   query={str(number): [""] for number in range(MAX_QUERY_NAMES)})
    body = decode_body(sent, text, needs_json=True)
    user = {"roles": [[] for _ in range(MAX_USER_CONTAINERS - 2)]}
    JsonCodec().encode(request_params(sent, located, match, body, user=user, request_id="r-1", seconds=1.0))
    sent = request(query={str(number): [""] for number in range(MAX_QUERY_NAMES + 1)})
    with pytest.raises(HttpProblem, match="more than 2000 names") as caught:
        request_params(sent, located, match, NO_BODY, user=None, request_id="r-1", seconds=1.0)
    assert caught.value.status == 400
