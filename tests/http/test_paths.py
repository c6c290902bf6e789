"""Request paths: what is refused, and what the segments of the rest are."""
from __future__ import annotations

from typing import Optional, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legacy_plugins.http.paths import path_segments
from legacy_plugins.http.problems import HttpProblem

REFUSED = [
    "", "items", "//items", "/items//1", "/items//", "/./items", "/items/.", "/../items", "/items/..", "/a/../../b",
    "/..",
    "/items\\..\\b", "/a\\b", "/a\x00b", "/a\nb", "/a\rb", "/a\tb", "/a\x1bb", "/a\x7fb", "/a\x85b", "/a\ufffdb",
    "/a\ud800b", "/..;/b", "/.;x=1/b", "/;/b", "/%2e%2e/b", "/%2E./b", "/a%2fb", "/a%5Cb", "/a%00b", "/a%0d%0ab",
    "/a%252fb",
]
REFUSED_RAW = ["/api/a%2fb", "/api/a%2Fb", "/api/..%2fb", "/api/a%5cb", "http://host/a%2Fb?x=1"]
TAKEN = [
    ("/", ()), ("/items", ("items",)), ("/items/", ("items",)), ("/a/b/c", ("a", "b", "c")),
    ("/a;v=1/b", ("a;v=1", "b")),
    ("/...", ("...",)), ("/a b/é", ("a b", "é")), ("/100%", ("100%",)), ("/a%41", ("a%41",)), ("/~x/@y", ("~x", "@y")),
]


@pytest.mark.fault("R3")
@pytest.mark.parametrize("path", REFUSED)
def test_hostile_paths_are_refused(path: str) -> None:
    """A path that could mean something else to a plugin, a server or a file system is answered with 400."""
    with pytest.raises(HttpProblem) as raised:
        path_segments(path)
    assert raised.value.status == 400
    assert repr(path) not in raised.value.detail


@pytest.mark.fault("R3")
@pytest.mark.parametrize("raw", REFUSED_RAW)
def test_an_encoded_separator_is_refused_where_it_can_be_seen(raw: str) -> None:
    """A slash that was sent encoded is refused when the server keeps the request target; in the query it is text."""
    with pytest.raises(HttpProblem) as raised:
        path_segments("/api/a/b", raw)
    assert raised.value.status == 400
    assert path_segments("/api/a/b", "/api/a/b?next=%2Fhome") == ("api", "a", "b")


@pytest.mark.parametrize(("path", "segments"), TAKEN)
def test_other_paths_are_cut_into_segments(path: str, segments: Tuple[str, ...]) -> None:
    """A path is cut at its slashes, and one slash at its end means nothing."""
    assert path_segments(path) == segments


@given(st.text(), st.none() | st.text())
def test_no_path_brings_a_bad_segment(path: str, raw: Optional[str]) -> None:
    """Whatever the path, it is refused or all its segments are plain names."""
    try:
        segments = path_segments(path, raw)
    except HttpProblem:
        return
    assert not set(segments) & {"", ".", ".."}
    assert not any(forbidden in segment for segment in segments for forbidden in "/\\\x00\n\ufffd")
