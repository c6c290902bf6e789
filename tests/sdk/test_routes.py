"""Declaring routes: what is refused, and where."""
from __future__ import annotations

from typing import Any

import pytest

from legacy_plugins.sdk import Error, Plugin
from legacy_plugins.sdk.routes import RouteTable


def _handler(request: Any) -> None:
    """What it does."""


@pytest.mark.req("R20")
@pytest.mark.parametrize(("path", "methods", "message"), [
    ("items", ("GET",), "begins with `/`"), ("/items/", ("GET",), "does not end with it"),
    ("/{a}/{a}", ("GET",), "used twice"), ("/{a...}/b", ("GET",), "rest of the path"), ("/a b", ("GET",), "segment"),
    ("/..", ("GET",), "segment"), ("/a", ("FETCH",), "FETCH"), ("/a", (), "empty"),
])
def test_bad_routes_are_refused_where_they_are_declared(path: str, methods: Any, message: str) -> None:
    """A route that the host would refuse raises at its decorator, with the rule that it breaks."""
    with pytest.raises(ValueError, match=message):
        Plugin("p").route(path, methods=methods)(_handler)


def test_the_same_route_twice_is_refused() -> None:
    """Two handlers for one method and one shape of path are refused, however their parameters are called."""
    table = RouteTable()
    table.add("/items/{id}", ["GET", "PUT"], _handler)
    table.add("/items/{id...}", "GET", _handler)
    table.add("/items/{key}", "POST", _handler)
    for path, methods in (("/items/{id}", "GET"), ("/items/{other}", "put"), ("/items/{rest...}", "GET")):
        with pytest.raises(ValueError, match="both declare"):
            table.add(path, methods, _handler)
    assert [route["path"] for route in table.to_wire()] == ["/items/{id}", "/items/{id...}", "/items/{key}"]
    with pytest.raises(Error) as caught:
        table.find("/items/{key}", "GET")
    assert caught.value.code == 405


@pytest.mark.parametrize(("arguments", "message"), [
    ({"path": _handler}, "takes a path"), ({"path": "/a", "schema": {"default": object()}}, "JSON serializable"),
])
def test_wrong_arguments_are_explained(arguments: Any, message: str) -> None:
    """A decorator without its path, and a schema that is not JSON, raise a TypeError that says so."""
    with pytest.raises(TypeError, match=message):
        Plugin("p").route(**arguments)(_handler)


def test_descriptions() -> None:
    """The description is what is given, else the docstring's first paragraph, else left out."""
    table = RouteTable()
    table.add("/a", "GET", _handler)
    table.add("/b", "GET", _handler, description="")
    table.add("/c", "GET", lambda request: None, description="x" * 5000)
    table.add("/d", "GET", lambda request: None)
    assert [route.get("description", "")[:4000] for route in table.to_wire()] == ["What it does.", "", "x" * 4000, ""]
