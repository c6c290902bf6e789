"""Which declared route a request means.

Owns `RouteTable`: the routes of all ready plugins, made from the tuple that the host gives out and replaced whole when
the host gives out another one, so that requests read it without a lock. A plugin's routes are a tree of segments, made
at the first request for that plugin, in time and space linear in its declaration; finding one visits a branch once at
most, so a plugin that declares thousands costs itself little and the others nothing. Segments are those that `paths`
has decoded and checked; literal ones win over `{name}`, and `{name}` over `{name...}`, from left to right. Any thread.
Must not look at plugins' states.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Dict, FrozenSet, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from legacy_plugins.http.paths import Segments
from legacy_plugins.http.problems import HttpProblem
from legacy_plugins.http.validation import BodyValidator
from legacy_plugins.protocol.handshake import RouteDeclaration

if TYPE_CHECKING:
    from legacy_plugins.host.routes import PluginRoute


class Route:
    """A declaration with what is made of it once: its parameters' places and its body's validator."""

    def __init__(self, declaration: RouteDeclaration) -> None:
        self.declaration = declaration
        self.validator = BodyValidator(declaration.schema) if declaration.schema is not None else None
        self.segments = tuple(declaration.path.split("/")[1:]) if declaration.path != "/" else ()
        self._parameters = [(index, segment[1:-1]) for index, segment in enumerate(self.segments)
                            if segment.startswith("{")]

    def values(self, segments: Segments) -> Dict[str, str]:
        """The decoded values of the parameters, in a path that this route takes."""
        values = {}
        for index, name in self._parameters:
            if name.endswith("..."):
                values[name[:-3]] = "/".join(segments[index:])
            else:
                values[name] = segments[index]
        return values


class _Branch:
    """A place in the tree. `here`: the routes that end here, by method; `rest`: those that take any rest from here."""

    __slots__ = ("literals", "parameter", "here", "rest")

    def __init__(self) -> None:
        self.literals: Dict[str, _Branch] = {}
        self.parameter: Optional[_Branch] = None
        self.here: Dict[str, Route] = {}
        self.rest: Dict[str, Route] = {}

    def add(self, route: Route) -> None:
        """Enter a route; this is the tree's root."""
        branch, ends = self, self.here
        for segment in route.segments:
            if segment.endswith("...}"):
                ends = branch.rest
                break
            branch = branch._below(segment)
            ends = branch.here
        for method in route.declaration.methods:
            ends.setdefault(method, route)

    def _below(self, segment: str) -> _Branch:
        if not segment.startswith("{"):
            return self.literals.setdefault(segment, _Branch())
        self.parameter = self.parameter or _Branch()
        return self.parameter

    def ends(self, segments: Segments) -> Iterator[Mapping[str, Route]]:
        """The routes of a path, by method: first those that are to be preferred. This is the tree's root."""
        waiting: List[Tuple[_Branch, int]] = [(self, 0)]
        while waiting:
            branch, taken = waiting.pop()
            if taken < 0:
                yield branch.rest
            elif taken == len(segments):
                if branch.here:
                    yield branch.here
            else:  # what is to be looked at first is put last
                if branch.rest:
                    waiting.append((branch, -1))
                if branch.parameter is not None:
                    waiting.append((branch.parameter, taken + 1))
                literal = branch.literals.get(segments[taken])
                if literal is not None:
                    waiting.append((literal, taken + 1))


class Match(NamedTuple):
    """The route of a request, the method under which the plugin gets it, and the decoded values of its parameters."""

    route: Route
    method: str
    path_params: Dict[str, str]


class PluginRoutes:
    """The routes of one plugin. Making it costs nothing; two first requests at once may both grow the same tree."""

    def __init__(self, declarations: Tuple[RouteDeclaration, ...]) -> None:
        self.declarations = declarations
        self._grown: Optional[_Branch] = None

    def _tree(self) -> _Branch:
        tree = self._grown
        if tree is None:
            tree = _Branch()
            for declaration in self.declarations:
                tree.add(Route(declaration))
            self._grown = tree
        return tree

    def match(self, segments: Segments, method: str) -> Match:
        """The route of a path below the plugin's prefix; raises `HttpProblem` 404, or 405 with Allow.

        HEAD reaches the GET route as GET; a route that declares HEAD alone gets HEAD.
        """
        tree = self._tree()
        for attempt in ("GET", "HEAD") if method == "HEAD" else (method,):
            for ends in tree.ends(segments):
                route = ends.get(attempt)
                if route is not None:
                    return Match(route, attempt, route.values(segments))
        methods = self.allowed(segments)
        if not methods:
            raise HttpProblem(404, "there is no such route")
        raise not_allowed(methods)

    def allowed(self, segments: Segments) -> FrozenSet[str]:
        """The methods that routes of this path take, with those that the host answers; none where no route matches."""
        declared = {method for ends in self._tree().ends(segments) for method in ends}
        if "GET" in declared:
            declared.add("HEAD")
        return frozenset(declared and declared | {"OPTIONS"})


def not_allowed(methods: FrozenSet[str]) -> HttpProblem:
    """The problem of a method that no route of the path takes; Allow may be empty (RFC 9110, section 10.2.1)."""
    return HttpProblem(405, "the method is not one that this path takes", headers=(allow(methods),))


def allow(methods: FrozenSet[str]) -> Tuple[str, str]:
    """The Allow field."""
    return "Allow", ", ".join(sorted(methods))


class RouteTable:
    """The routes of all ready plugins, as of one tuple of the host's.

    `source`: the tuple; while the host gives out this very object the table is up to date.
    """

    def __init__(self, source: Tuple[PluginRoute, ...] = (), previous: Optional[RouteTable] = None) -> None:
        self.source = source
        self._plugins: Dict[str, PluginRoutes] = {}
        for name, declarations in _by_plugin(source).items():
            known = previous._plugins.get(name) if previous is not None else None
            if known is None or known.declarations != declarations:
                known = PluginRoutes(declarations)
            self._plugins[name] = known

    def plugin(self, name: str) -> Optional[PluginRoutes]:
        """The routes of a plugin; None where it is not ready, or declares none."""
        return self._plugins.get(name)


def _by_plugin(routes: Sequence[PluginRoute]) -> Dict[str, Tuple[RouteDeclaration, ...]]:
    grouped: Dict[str, List[RouteDeclaration]] = {}
    for entry in routes:
        grouped.setdefault(entry.plugin, []).append(entry.route)
    return {name: tuple(declarations) for name, declarations in grouped.items()}
