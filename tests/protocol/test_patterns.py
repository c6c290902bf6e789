"""Globs mean what fnmatch means, and cost what their length allows and not more."""
from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legacy_plugins.protocol.patterns import Glob, Globs, globs

_inside = st.lists(st.sampled_from(["a", "b", "a-c", "*", "?", "."]), min_size=1, max_size=2).map("".join)
_bracket = st.tuples(st.sampled_from(["", "!"]), _inside).map(lambda parts: f"[{parts[0]}{parts[1]}]")
_characters = st.sampled_from(["a", "b", "\n", ".", "*", "*", "?", "[", "\\"])
_pattern = st.lists(_characters | _bracket, max_size=7).map("".join)
_text = st.text(alphabet="abc.\n[*\\", max_size=8)


@given(_pattern, _text)
def test_means_what_fnmatch_means(pattern: str, text: str) -> None:
    """A pattern takes exactly the texts that `fnmatchcase` says."""
    assert Glob(pattern).matches(text) == fnmatchcase(text, pattern)
    assert Globs((pattern,)).match(text) == fnmatchcase(text, pattern)


@pytest.mark.parametrize(("pattern", "takes", "refuses"), [
    ("Sync*", "SyncDone", "sync"), ("", "", "a"), ("a*b*c", "abc", "acb"), ("ab*ba", "abba", "aba"),
    ("[]a]", "]", "b"), ("[!]a]", "b", "]"), ("[!z-a]", "x", ""), ("[", "[", "x"), ("[*]", "*", "a"),
    ("[a-]", "-", "b"),
])
def test_the_corners(pattern: str, takes: str, refuses: str) -> None:
    """Brackets, empty patterns, pieces that must not overlap."""
    assert Glob(pattern).matches(takes)
    assert not Glob(pattern).matches(refuses)


def test_a_range_that_runs_backwards_takes_nothing() -> None:
    """It is no error on any Python, as it is for `fnmatch` on some."""
    assert not any(Glob("[z-a]").matches(text) for text in ("z", "a", "m", "-", "[z-a]"))


def test_many_stars_do_not_backtrack() -> None:
    """A pattern that would take a backtracking matcher longer than anybody waits is decided at once."""
    hostile = Glob("*a" * 90 + "*?!")
    assert not hostile.matches("a" * 200)
    assert hostile.matches("a" * 100 + "b!")


def test_several_patterns() -> None:
    """One is enough, none takes nothing, and the same tuple is made ready once."""
    assert Globs(("a", "b*")).match("bc")
    assert not Globs(()).match("")
    assert globs(("a", "b*")) is globs(("a", "b*"))
