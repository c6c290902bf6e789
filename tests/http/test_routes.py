"""Which declared route a request means."""
from __future__ import annotations

from typing import Dict, List, Optional, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legacy_plugins.host.routes import PluginRoute
from legacy_plugins.http import routes as routes_module
from legacy_plugins.http.problems import HttpProblem
from legacy_plugins.http.routes import PluginRoutes, RouteTable
from legacy_plugins.protocol.handshake import RouteDeclaration
from tests.http.fakes import route

ROUTES = PluginRoutes((
    route("/"), route("/items", "GET", "POST"), route("/items/{id}"), route("/items/{number}", "DELETE"),
    route("/items/new", "POST"), route("/files/{path...}"), route("/{kind}/b/c"), route("/a/{rest...}"),
    route("/head", "HEAD"), route("/{class}/{self}/{None}/{__suffix__}"),
))


def _match(method: str, path: str) -> Tuple[str, str, Dict[str, str]]:
    match = ROUTES.match(tuple(path[1:].split("/")) if path != "/" else (), method)
    return match.route.declaration.path, match.method, match.path_params


@pytest.mark.req("R20", "R21")
@pytest.mark.parametrize(("method", "path", "expected"), [
    ("GET", "/", ("/", "GET", {})),
    ("HEAD", "/items", ("/items", "GET", {})),
    ("HEAD", "/head", ("/head", "HEAD", {})),
    ("GET", "/items/4", ("/items/{id}", "GET", {"id": "4"})),
    ("DELETE", "/items/4", ("/items/{number}", "DELETE", {"number": "4"})),
    ("GET", "/items/new", ("/items/{id}", "GET", {"id": "new"})),
    ("POST", "/items/new", ("/items/new", "POST", {})),
    ("DELETE", "/items/new", ("/items/{number}", "DELETE", {"number": "new"})),
    ("GET", "/files/a", ("/files/{path...}", "GET", {"path": "a"})),
    ("GET", "/files/a/b c/é", ("/files/{path...}", "GET", {"path": "a/b c/é"})),
    ("GET", "/a/b/c", ("/a/{rest...}", "GET", {"rest": "b/c"})),
    ("GET", "/z|<x>/b/c", ("/{kind}/b/c", "GET", {"kind": "z|<x>"})),
    ("GET", "/1/2/3/4", ("/{class}/{self}/{None}/{__suffix__}", "GET",
                         {"class": "1", "self": "2", "None": "3", "__suffix__": "4"})),
])
def test_a_request_reaches_the_route_it_means(method: str, path: str,
                                              expected: Tuple[str, str, Dict[str, str]]) -> None:
    """Literal segments win over parameters, from left to right; parameters are single segments, or the rest."""
    assert _match(method, path) == expected


@pytest.mark.parametrize("path", ["/nothing", "/files", "/items/4/5", "/Items", "/items/new/x"])
def test_no_route_is_404(path: str) -> None:
    """A path that no declaration matches is not found; matching is exact."""
    with pytest.raises(HttpProblem) as raised:
        _match("GET", path)
    assert raised.value.status == 404


@pytest.mark.fault("R20")
@pytest.mark.parametrize(("method", "path", "allow"), [
    ("DELETE", "/items", "GET, HEAD, OPTIONS, POST"), ("PUT", "/items/new", "DELETE, GET, HEAD, OPTIONS, POST"),
    ("GET", "/head", "HEAD, OPTIONS"), ("POST", "/files/a/b", "GET, HEAD, OPTIONS"),
])
def test_another_method_is_405_with_allow(method: str, path: str, allow: str) -> None:
    """Where only the method differs the answer lists the methods of every route that the path matches."""
    with pytest.raises(HttpProblem) as raised:
        _match(method, path)
    assert raised.value.status == 405
    assert raised.value.headers == (("Allow", allow),)
    assert ROUTES.allowed(("nothing",)) == frozenset()


def test_the_table_follows_the_hosts_tuple() -> None:
    """A new tuple makes a new table; what a plugin did not change is not compiled again."""
    first = RouteTable((PluginRoute("a", "/a", route("/x")), PluginRoute("b", "/b", route("/y"))))
    second = RouteTable((PluginRoute("a", "/a", route("/x")), PluginRoute("b", "/b", route("/z"))), first)
    assert second.plugin("a") is first.plugin("a")
    assert second.plugin("b") is not first.plugin("b")
    assert second.plugin("c") is None
    assert RouteTable((), second).plugin("a") is None


_segment = st.sampled_from(["a", "b", "{x}", "{r...}"])
_template = st.lists(_segment, min_size=1, max_size=4).map(
    lambda parts: [part if part != "{r...}" or index == len(parts) - 1 else "{x}" for index, part in enumerate(parts)])


def _first_by_rule(templates: List[List[str]], path: List[str]) -> Optional[str]:
    """The documented order, written out: of the templates that match, the most literal from left to right."""
    def fits(template: List[str]) -> bool:
        if template[-1] == "{r...}":
            return len(path) >= len(template) and all(part in (step, "{x}") for part, step in zip(template[:-1], path))
        return len(path) == len(template) and all(part in (step, "{x}") for part, step in zip(template, path))

    def rank(template: List[str]) -> List[int]:
        return [2 if part == "{r...}" else 1 if part == "{x}" else 0 for part in template]

    fitting = sorted((template for template in templates if fits(template)), key=rank)
    return "/" + "/".join(fitting[0]) if fitting else None


@given(st.lists(_template, min_size=1, max_size=6, unique_by=tuple),
       st.lists(st.sampled_from("abc"), min_size=1, max_size=5))
def test_the_order_of_routes_is_the_documented_one(templates: List[List[str]], path: List[str]) -> None:
    """For any routes and path the chosen route is the most literal from left to right."""
    named = [RouteDeclaration("/" + "/".join(part.replace("{x}", f"{{x{index}}}") for index,
                                             part in enumerate(template)),
                              ("GET",)) for template in templates]
    try:
        match = PluginRoutes(tuple(named)).match(tuple(path), "GET")
    except HttpProblem:
        assert _first_by_rule(templates, path) is None
        return
    chosen = templates[named.index(match.route.declaration)]
    assert "/" + "/".join(chosen) == _first_by_rule(templates, path)


def test_finding_a_route_visits_each_branch_once() -> None:
    """Routes that all begin alike, and alternatives at each segment, do not multiply the work of a request."""
    declared = [route("/" + "/".join("a" if level >> bit & 1 else f"{{p{bit}}}" for bit in range(9)) + "/end")
                for level in range(512)]
    routes = PluginRoutes(tuple(declared))
    branches = 2 ** 10 + 512
    ends = _Counting(["a"] * 9 + ["no"])
    with pytest.raises(HttpProblem) as raised:
        routes.match(ends, "GET")
    assert raised.value.status == 404
    assert ends.looked <= 2 * branches  # once to find a route, once to list the methods
    assert routes.match(("a",) * 9 + ("end",), "GET").route.declaration is declared[511]


class _Counting(Tuple[str, ...]):
    """Segments that count how often they are looked at."""

    looked = 0

    def __getitem__(self, index: object) -> str:  # type: ignore[override]
        self.looked += 1
        return tuple.__getitem__(self, index)  # type: ignore[index, return-value]


def test_a_big_plugin_is_matched_and_costs_the_others_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand simple routes all answer; the tree of a plugin is made at its own first request, once."""
    grown: List[str] = []
    make = routes_module.Route.__init__

    def counted(self: routes_module.Route, declaration: RouteDeclaration) -> None:
        grown.append(declaration.path)
        make(self, declaration)

    monkeypatch.setattr(routes_module.Route, "__init__", counted)
    big = [PluginRoute("big", "/big", route(f"/things{number}/{{id}}")) for number in range(1000)]
    table = RouteTable((*big, PluginRoute("small", "/small", route("/x"))))
    small, large = table.plugin("small"), table.plugin("big")
    assert small is not None
    assert large is not None
    assert small.match(("x",), "GET").route.declaration.path == "/x"
    assert grown == ["/x"]
    again = RouteTable(table.source[:], table)
    for _ in range(2):
        for number in range(1000):
            match = large.match((f"things{number}", "7"), "GET")
            assert (match.route.declaration.path, match.path_params) == (f"/things{number}/{{id}}", {"id": "7"})
    assert again.plugin("big") is large
    assert len(grown) == 1001
