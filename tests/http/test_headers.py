"""Header fields of requests: what a plugin gets."""
from __future__ import annotations

import pytest

from legacy_plugins.config.policies import FORWARD_HEADERS, HttpPolicy
from legacy_plugins.config.rules import HOP_BY_HOP
from legacy_plugins.http.headers import forwarded
from legacy_plugins.http.problems import HttpProblem


@pytest.mark.fault("R7", "R8")
def test_only_listed_fields_are_forwarded() -> None:
    """By default neither credentials nor identities nor proxy fields reach a plugin."""
    fields = [("Accept", "a/b"), ("Cookie", "s=1"), ("Authorization", "Bearer x"), ("X-Forwarded-For", "1.2.3.4"),
              ("Forwarded", "for=1.2.3.4"), ("X-Custom", "1"), ("Range", "bytes=0-"), ("Host", "h"),
              ("Content-Length", "3")]
    assert forwarded(fields, FORWARD_HEADERS) == {"accept": "a/b", "range": "bytes=0-"}
    assert forwarded(fields, ("cookie", "authorization")) == {"cookie": "s=1", "authorization": "Bearer x"}


@pytest.mark.fault("R6")
def test_fields_of_the_connection_are_dropped_even_where_listed() -> None:
    """Hop-by-hop fields and all that Connection names stay behind."""
    fields = [(name.title(), "x") for name in HOP_BY_HOP if name != "connection"]
    fields += [("Connection", "close, X-Secret"), ("connection", "accept"), ("X-Secret", "1"), ("Accept", "a"),
               ("ETag", "e")]
    listed = (*HOP_BY_HOP, "x-secret", "accept", "etag")
    assert forwarded(fields, listed) == {"etag": "e"}


@pytest.mark.fault("R8")
@pytest.mark.parametrize("name", ["X-Plugin-User", "x-plugin-anything", "X_Plugin_User", "X-Plugin_User",
                                  "Accept_Language"])
def test_identities_cannot_be_forged(name: str) -> None:
    """`X-Plugin-*` and names with an underscore are dropped in every spelling, listed or not."""
    assert forwarded([(name, "root")], (name.lower(), name.lower().replace("_", "-"))) == {}


def test_repeated_fields_are_joined() -> None:
    """In the order in which they came, under one lower-case name."""
    assert forwarded([("Accept", "a"), ("ACCEPT", "b")], HttpPolicy().forward_headers) == {"accept": "a, b"}


@pytest.mark.fault("R9")
@pytest.mark.parametrize("value", ["a\0b", "a\nX-Secret: b", "a\r\n b", "a\rb", "\x1b[2J", "\x7f"])
def test_control_characters_reach_no_plugin(value: str) -> None:
    """Some servers pass them on; a request that has them in a field for the plugin is refused."""
    with pytest.raises(HttpProblem) as raised:
        forwarded([("Accept", value)], ("accept",))
    assert raised.value.status == 400
    assert forwarded([("Accept", "a\tb \xe9"), ("Cookie", value)], ("accept",)) == {"accept": "a\tb \xe9"}
