"""Which declared route a request means.

Owns `RouteTable`: the routes of all ready plugins, built from the tuple that the host gives out and replaced whole when
the host gives out another one, so that requests read it without a lock. Matching is werkzeug's, on segments that
`paths` has decoded and checked; literal segments win over `{name}`, and `{name}` over `{name...}`, from left to right,
with every werkzeug from 2.0 on. Nothing here answers with a redirect. Any thread. Must not look at plugins' states.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import BaseConverter, Map, Rule

from legacy_plugins.http.paths import Segments, joined
from legacy_plugins.http.problems import HttpProblem
from legacy_plugins.http.validation import BodyValidator
from legacy_plugins.protocol.handshake import RouteDeclaration

if TYPE_CHECKING:
    from legacy_plugins.host.routes import PluginRoute


class _Segment(BaseConverter):
    """`{name}`: one segment; `paths` has seen to it that none is empty."""

    regex = "[^/]+"
    weight = 100
    part_isolating = True


class _Rest(BaseConverter):
    """`{name...}`: the rest of the path, one or more segments."""

    regex = ".+"
    weight = 200
    part_isolating = False


class Route:
    """A declaration with what is made of it once: its werkzeug rule and its body's validator."""

    def __init__(self, declaration: RouteDeclaration) -> None:
        self.declaration = declaration
        self.parameters: List[str] = []
        self.validator = BodyValidator(declaration.schema) if declaration.schema is not None else None
        self.specificity: List[int] = []
        parts = [self._part(segment) for segment in declaration.path.split("/")[1:]]
        self.template = "/" + "/".join(parts)

    def _part(self, segment: str) -> str:
        """A segment of the declaration in werkzeug's words, under a variable name that werkzeug takes in any case."""
        if not segment.startswith("{"):
            self.specificity.append(0)
            return segment
        name = segment[1:-1]
        rest = name.endswith("...")
        self.specificity.append(2 if rest else 1)
        self.parameters.append(name[:-3] if rest else name)
        return f"<{'rest' if rest else 'segment'}:p{len(self.parameters) - 1}>"


class _RouteRule(Rule):
    """A rule in the order that werkzeug 2.2 and later give it: the more literal first, segment by segment."""

    def match_compare_key(self) -> Any:
        """What werkzeug 2.0 and 2.1 sort by; later releases look at the segments one by one themselves."""
        route: Route = self.endpoint
        return route.specificity


class Match(NamedTuple):
    """The route of a request, the method under which the plugin gets it, and the decoded values of its parameters."""

    route: Route
    method: str
    path_params: Dict[str, str]


class PluginRoutes:
    """The routes of one plugin. Immutable once made."""

    def __init__(self, declarations: Tuple[RouteDeclaration, ...]) -> None:
        self.declarations = declarations
        rules = []
        for declaration in declarations:
            route = Route(declaration)
            rules.append(_RouteRule(route.template, endpoint=route, methods=declaration.methods))
        routes = Map(rules, strict_slashes=False, merge_slashes=False, redirect_defaults=False,
                     converters={"segment": _Segment, "rest": _Rest})
        routes.update()  # sorts now, under werkzeug's lock; a later match takes none
        self._adapter = routes.bind("")

    def match(self, segments: Segments, method: str) -> Match:
        """The route of a path below the plugin's prefix; raises `HttpProblem` 404, or 405 with Allow.

        HEAD reaches the GET route as GET; a route that declares HEAD alone gets HEAD.
        """
        attempts = ("GET", "HEAD") if method == "HEAD" else (method,)
        for attempt in attempts:
            try:
                route, values = self._adapter.match(joined(segments), method=attempt)
            except MethodNotAllowed:
                continue
            except HTTPException:
                raise HttpProblem(404, "there is no such route") from None
            return Match(route, attempt, _named(route, values))
        raise not_allowed(self.allowed(segments))

    def allowed(self, segments: Segments) -> FrozenSet[str]:
        """The methods that routes of this path take, with those that the host answers; none where no route matches."""
        declared = frozenset(self._adapter.allowed_methods(joined(segments)))
        return declared and declared | {"OPTIONS"}


def _named(route: Any, values: Mapping[str, str]) -> Dict[str, str]:
    return {name: values[f"p{index}"] for index, name in enumerate(route.parameters)}


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
    grouped: Dict[str, Tuple[RouteDeclaration, ...]] = {}
    for entry in routes:
        grouped[entry.plugin] = (*grouped.get(entry.plugin, ()), entry.route)
    return grouped
