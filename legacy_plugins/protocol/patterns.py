"""Patterns of event types, services and paths: shell globs, as both sides of the wire read them.

Owns what `*`, `?`, `[abc]`, `[a-c]` and `[!abc]` mean, which is what `fnmatch.fnmatchcase` makes of them; it is not
used since it makes one regular expression of a pattern, whose stars backtrack: a pattern of a plugin could hold up each
broadcast for seconds. Here each piece between stars is looked for once, from left to right, which is as good for
globs. Pure; any thread.
"""
from __future__ import annotations

import re
from functools import lru_cache
from typing import FrozenSet, List, Pattern, Sequence, Tuple


class Glob:
    """One pattern, made ready. Every character but `*`, `?` and `[` is itself; there is no escape but `[*]`."""

    __slots__ = ("_first", "_middle", "_last", "_least")

    def __init__(self, pattern: str) -> None:
        pieces = _pieces(pattern)
        self._first = pieces[0][0]
        self._last = pieces[-1] if len(pieces) > 1 else None
        self._middle = [found for found, _ in pieces[1:-1]]
        self._least = sum(size for _, size in pieces)

    def matches(self, text: str) -> bool:
        """Whether the pattern takes the whole text."""
        if len(text) < self._least:
            return False
        if self._last is None:
            return self._first.fullmatch(text) is not None
        begin = self._first.match(text)
        if begin is None:
            return False
        last, size = self._last
        position, end = begin.end(), len(text) - size
        for piece in self._middle:
            found = piece.search(text, position, end)
            if found is None:
                return False
            position = found.end()
        return position <= end and last.fullmatch(text, end) is not None


class Globs:
    """Several patterns, of which one is enough."""

    __slots__ = ("_texts", "_globs")

    def __init__(self, patterns: Sequence[str]) -> None:
        plain = [pattern for pattern in patterns if not re.search(r"[*?\[]", pattern)]
        self._texts: FrozenSet[str] = frozenset(plain)
        self._globs = tuple(Glob(pattern) for pattern in patterns if pattern not in self._texts)

    def match(self, text: str) -> bool:
        """Whether one of the patterns takes the whole text; none does where there are none."""
        return text in self._texts or any(glob.matches(text) for glob in self._globs)


@lru_cache(maxsize=1024)
def globs(patterns: Tuple[str, ...]) -> Globs:
    """The patterns made ready, once; for an operator's or author's own, of which there are few."""
    return Globs(patterns)


def _pieces(pattern: str) -> List[Tuple[Pattern[str], int]]:
    """What stands between the stars, each as an expression for a fixed number of characters, and that number."""
    pieces: List[List[str]] = [[]]
    position = 0
    while position < len(pattern):
        character, position = pattern[position], position + 1
        if character == "*":
            pieces.append([])
        elif character == "?":
            pieces[-1].append(".")
        elif character == "[" and _closing(pattern, position) > 0:
            end = _closing(pattern, position)
            pieces[-1].append(_one_of(pattern[position:end]))
            position = end + 1
        else:
            pieces[-1].append(re.escape(character))
    return [(re.compile("".join(piece), re.DOTALL), len(piece)) for piece in pieces]


def _closing(pattern: str, start: int) -> int:
    """Where the bracket ends that begins before `start`, or -1; a `]` that comes first is one of its characters."""
    first = start + (pattern[start:start + 1] == "!")
    return pattern.find("]", first + 1)


def _one_of(inside: str) -> str:
    """An expression for one character out of brackets; a range that runs backwards has none."""
    wanted, taken = inside[1:] if inside.startswith("!") else inside, []
    while wanted:
        if wanted[1:2] == "-" and len(wanted) > 2:
            low, high, wanted = wanted[0], wanted[2], wanted[3:]
            if low <= high:
                taken.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            taken.append(re.escape(wanted[0]))
            wanted = wanted[1:]
    if not taken:
        return "." if inside.startswith("!") else "(?!)"
    return f"[{'^' if inside.startswith('!') else ''}{''.join(taken)}]"
