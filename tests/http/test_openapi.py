"""The document of all routes: true to what is declared and served, and valid whatever is declared."""
from __future__ import annotations

import cProfile
import json
import re
from typing import Any, Dict, List, Optional, Tuple
from urllib.parse import unquote

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from legacy_plugins.config.model import PluginConfig
from legacy_plugins.config.policies import HttpPolicy, RateLimit
from legacy_plugins.errors import InvalidMessage, PluginCrashed, PluginTimeout, PluginUnavailable, RpcError
from legacy_plugins.host.lifecycle import PluginState
from legacy_plugins.http import HttpBridge
from legacy_plugins.http.openapi import Catalog, PluginDeclarations
from legacy_plugins.http.paths import path_segments
from legacy_plugins.http.problems import HttpProblem
from legacy_plugins.http.validation import BodyValidator
from legacy_plugins.protocol.handshake import RouteDeclaration, parse_routes
from legacy_plugins.schemas.bodies import check_body_schema
from tests.http.fakes import FakeHost, problem, request, route

try:
    from openapi_spec_validator import OpenAPIV31SpecValidator

    OpenAPIV31SpecValidator({"openapi": "3.1.0", "info": {"title": "", "version": ""}, "paths": {}}).validate()
except (ImportError, TypeError):  # release 0.7.2 installs under Python 3.8, which it does not support
    OpenAPIV31SpecValidator = None

OPEN = HttpPolicy(public_routes=("*",))
ODD_TEXT = "Grüße \U0001f600 {id} {{x}} <script> \"\\ \x00\u2028 $ref %7B"
SCHEMAS: List[Dict[str, Any]] = [
    {},
    {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}},
    {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "array", "items": {"$ref": "#"}},
    {"$ref": "#/$defs/a~1b%20c", "$defs": {"a/b c": {"type": "string"}}},
    {"$ref": "#/$defs/%C3%A9%25", "$defs": {"é%": {"type": "string"}}},
    {"$ref": "#/$defs/%2541", "$defs": {"%41": {"type": "string"}, "A": {"type": "integer"}}},
    {"properties": {"a": {"$ref": "#word"}}, "$defs": {"x": {"$anchor": "word", "type": "string"}}},
    {"$dynamicAnchor": "node", "type": ["array", "null"], "items": {"$dynamicRef": "#node"}},
    {"properties": {"a": {"$ref": "#/$defs/short", "$dynamicRef": "#text"}},
     "$defs": {"short": {"maxLength": 3}, "x": {"$dynamicAnchor": "text", "type": "string"}}},
    {"properties": {"$ref": {"type": "string"}, "$anchor": {"const": {"$ref": "#/nowhere"}}}, "enum": [{"$ref": "x"}]},
    {"properties": {"a": {"allOf": [{"$ref": "#/$defs/n"}], "$ref": "#/$defs/m"}},
     "$defs": {"n": {"minimum": 2}, "m": {"maximum": 4}}},
    {"not": {"required": ["a"]}, "if": {"minProperties": 2}, "then": False, "default": {"$dynamicRef": "#gone"}},
]
BODIES: List[Any] = [None, "text", "abcd", 3, 5, [], [[], [[]]], [1], {}, {"a": 1}, {"a": "text"}, {"a": "abcd"},
                     {"a": 3}, {"a": 9}, {"$ref": "x"}, {"$ref": 1}, {"$anchor": {"$ref": "#/nowhere"}},
                     {"b": 1, "c": 2}]


def _document(*routes: RouteDeclaration, http: HttpPolicy = OPEN, root: str = "", **facts: Any) -> Dict[str, Any]:
    """The document of one plugin `shop` with these routes, valid OpenAPI."""
    host = FakeHost(PluginConfig("shop", "/p", http=http, **facts))
    host.declare("shop", *routes)
    return _read(host, root)


def _read(host: FakeHost, root: str = "") -> Dict[str, Any]:
    bridge = HttpBridge(host, authorize=lambda *_: True)  # type: ignore[arg-type]
    response = bridge.handle(request(path="/api/plugins/openapi.json", script_root=root))
    assert response.status == 200
    document: Dict[str, Any] = json.loads(response.body)
    _validate(document)
    return document


def _validate(document: Dict[str, Any]) -> None:
    if OpenAPIV31SpecValidator is not None:
        OpenAPIV31SpecValidator(document).validate()
    names = [operation["operationId"] for _, _, operation in _operations(document)]
    assert len({name.lower() for name in names}) == len(names)
    shapes = ["".join("{}" if "{" in part else part for part in path.split("/")) for path in document["paths"]]
    assert len(set(shapes)) == len(shapes)


def _operations(document: Dict[str, Any]) -> List[Tuple[str, str, Dict[str, Any]]]:
    return [(path, method, operation) for path, item in document["paths"].items()
            for method, operation in item.items() if method != "parameters"]


def test_the_documents_of_these_tests_are_validated() -> None:
    """Without the validator the others prove less, which is to be seen."""
    if OpenAPIV31SpecValidator is None:
        pytest.skip("needs the package openapi-spec-validator, in a release for this Python")
    with pytest.raises(Exception, match="info"):
        OpenAPIV31SpecValidator({"openapi": "3.1.0", "paths": {}}).validate()


@pytest.mark.req("R22")
def test_what_a_route_becomes() -> None:
    """Its path below the plugin's prefix, its methods as they are served, its texts, and what may be answered."""
    document = _document(
        route("/items/{id}", "GET", "DELETE", description="One item\nAnd more of it", name="item"),
        route("/items", "POST", schema={"type": "object"}), http=HttpPolicy(public_routes=("GET *",)))
    assert document["openapi"] == "3.1.0"
    assert "servers" not in document
    assert document["tags"] == [{"name": "shop"}]
    item = document["paths"]["/api/plugins/shop/items/{id}"]
    assert list(item) == ["parameters", "options", "get", "head", "delete"]
    (parameter,) = item["parameters"]
    assert parameter.pop("schema")["type"] == "string"
    assert parameter == {"name": "id", "in": "path", "required": True}
    get = item["get"]
    assert (get["operationId"], get["summary"], get["tags"]) == ("shop_get_item", "One item", ["shop"])
    assert get["description"] == "One item\nAnd more of it"
    assert get["x-legacy-plugins"] == {"plugin": "shop", "route": "/items/{id}", "public": True}
    assert get["security"] == []
    assert list(get["responses"]) == ["2XX", "400", "404", "502", "503", "504", "default"]
    assert "security" not in item["delete"]
    assert item["delete"]["requestBody"]["content"] == {"*/*": {}}
    post = document["paths"]["/api/plugins/shop/items"]["post"]
    assert list(post["responses"]) == ["2XX", "400", "401", "403", "404", "413", "415", "502", "503", "504", "default"]
    assert post["requestBody"] == {
        "required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/shop_body_items"}}}}
    assert document["components"]["schemas"]["shop_body_items"] == {"type": "object"}


def test_a_rate_limit_is_told() -> None:
    """429 is among the answers where the operator set one."""
    responses = _document(route(), http=HttpPolicy(rate_limit=RateLimit(1)))["paths"]["/api/plugins/shop/items"]["get"][
        "responses"]
    assert responses["429"] == {"$ref": "#/components/responses/Refused429"}


@pytest.mark.parametrize(("root", "prefix", "servers", "path"), [
    ("/app", None, [{"url": "/app"}], "/api/plugins/shop/items"),
    ("/a é/{b}", None, [{"url": "/a%20%C3%A9/%7Bb%7D"}], "/api/plugins/shop/items"),
    ("", "/api/plugins/läden/a\"b", None, "/api/plugins/l%C3%A4den/a%22b/items"),
])
def test_where_the_routes_are(root: str, prefix: Any, servers: Any, path: str) -> None:
    """The server is the application's root; a plugin's own prefix is in the path, encoded as it goes over the wire."""
    document = _document(route(), root=root, route_prefix=prefix)
    assert (document.get("servers"), list(document["paths"])) == (servers, [path])


@pytest.mark.parametrize(("declared", "expected"), [
    (["/f/{path...}"], ["/f/{path}"]),
    (["/f/{path...}", "/f/{id}"], ["/f/{path_}/{path}", "/f/{id}"]),
    (["/f/{id}", "/f/{a}/{b}", "/f/{p...}"], ["/f/{id}", "/f/{a}/{b}", "/f/{p_}/{p__}/{p}"]),
    (["/f/{p...}", "/f/{a}", "/f/{b}/{r...}"], [None, "/f/{a}", "/f/{b}/{r}"]),
    (["/{p...}"], ["/{p}"]), (["/"], [""]), (["/{p...}", "/{a}", "/", "/x"], ["/{p_}/{p}", "/{a}", "", "/x"]),
    (["/!$&'()*+,=:@-._~"], ["/!$&'()*+,=:@-._~"]),
])
def test_paths_that_openapi_cannot_tell_apart(declared: List[str], expected: List[Optional[str]]) -> None:
    """A rest parameter takes one segment; where a route has that place, it begins with more, if any are left to it."""
    routes = parse_routes([{"path": path, "method": "GET", "name": path} for path in declared])
    document = _document(*routes)
    shown = {operation["x-legacy-plugins"]["route"]: path for path, method, operation in _operations(document)
             if method == "get"}
    assert [shown.get(path) for path in declared] == [
        None if path is None else "/api/plugins/shop" + path for path in expected]
    assert len(document["paths"]) == len([path for path in expected if path is not None])
    for path, item in document["paths"].items():
        marked = [entry["name"] for entry in item.get("parameters", ()) if entry.get("x-legacy-plugins-rest")]
        assert bool(marked) == ("..." in item["get"]["x-legacy-plugins"]["route"])
        assert not marked or path.endswith("{" + marked[0] + "}")


def test_paths_that_differ_in_names_alone_are_one() -> None:
    """Their operations stand together, under the names that came first."""
    document = _document(route("/items/{id}"), route("/items/{name}", "DELETE"), route("/items/{key}", "HEAD"))
    (path,) = document["paths"]
    assert path == "/api/plugins/shop/items/{id}"
    assert {method: operation.get("x-legacy-plugins", {}).get("route")
            for _, method, operation in _operations(document)} == {
        "get": "/items/{id}", "head": "/items/{id}", "delete": "/items/{name}", "options": None}


def test_names_that_clash_are_told_apart() -> None:
    """Plugins choose the names of routes; operations and components get unique ones all the same."""
    host = FakeHost(PluginConfig("a-b", "/p", http=OPEN), PluginConfig("a.b", "/p", http=OPEN))
    for plugin in ("a-b", "a.b"):
        host.declare(plugin, *(route(f"/x{index}", "POST", schema={"const": f"{plugin}{index}"}, name=name)
                               for index, name in enumerate(["n", "N", "n!", ODD_TEXT, "", None, "get"])))
    document = _read(host)
    for path, method, operation in _operations(document):
        if method == "post":
            reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
            schema = document["components"]["schemas"][reference.rpartition("/")[2]]
            assert schema == {"const": path.split("/")[3] + path[-1]}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_schema_means_in_the_document_what_it_means_alone(schema: Dict[str, Any]) -> None:
    """References, anchors and dynamic references lead where they led; bodies are right or wrong as before."""
    check_body_schema(schema, allow_patterns=False)
    before = json.dumps(schema)
    document = _document(route("/items", "POST", schema=schema), route("/others", "PUT", schema=schema))
    assert json.dumps(schema) == before
    registry = Registry().with_resource("urn:doc", Resource(document, DRAFT202012))  # type: ignore[call-arg, arg-type]
    for method, path in (("post", "items"), ("put", "others")):
        content = document["paths"][f"/api/plugins/shop/{path}"][method]["requestBody"]["content"]
        reference = content["application/json"]["schema"]["$ref"]
        embedded = Draft202012Validator({"$ref": f"urn:doc{reference}"}, registry=registry)
        for body in BODIES:
            assert embedded.is_valid(body) == _is_accepted(schema, body), body


def _is_accepted(schema: Dict[str, Any], body: Any) -> bool:
    try:
        BodyValidator(schema).check(body, 100)
    except HttpProblem:
        return False
    return True


def test_no_plugin_and_no_route() -> None:
    """A document without paths, and valid."""
    assert _read(FakeHost())["paths"] == {}
    assert _document()["paths"] == {}


def test_odd_texts() -> None:
    """Descriptions are passed on as they are, cut where they are a summary; none means none."""
    document = _document(route("/a", description=ODD_TEXT), route("/b", description="x" * 500), route("/c"),
                         route("/d", description=" \n "))
    gets = {path[-1]: operation for path, method, operation in _operations(document) if method == "get"}
    assert gets["a"]["summary"] == ODD_TEXT.partition("\u2028")[0] + "\u2028 $ref %7B"
    assert (len(gets["b"]["summary"]), len(gets["b"]["description"])) == (120, 500)
    assert "summary" not in gets["c"]
    assert "summary" not in gets["d"]


def test_a_thousand_routes() -> None:
    """All of them, each with names of its own."""
    routes = [route(f"/r{index}/{{id}}/{{rest...}}", "GET", "POST", schema={"const": index}) for index in range(1000)]
    host = FakeHost(PluginConfig("shop", "/p", http=OPEN))
    host.declare("shop", *routes)
    response = HttpBridge(host).handle(request(path="/api/plugins/openapi.json"))  # type: ignore[arg-type]
    document = json.loads(response.body)
    names = [operation["operationId"] for _, _, operation in _operations(document)]
    assert len(set(names)) == len(names) == 4 * 1000
    document["paths"] = dict(list(document["paths"].items())[:20])  # validating all takes half a minute
    _validate(document)


@pytest.mark.fault("R16")
@pytest.mark.parametrize("case", ["one name", "rests"])
def test_what_a_declaration_costs(case: str) -> None:
    """In proportion to it, with one name for all routes, or with paths whose rests give way to one another.

    Counted in calls; looking at each name again for the next makes more than twice as many.
    """
    paths = ["/" + "/".join(f"{{p{index}}}" for index in range(length)) for length in range(1, 60)]
    routes = {"one name": [route(f"/r{index}", "GET", "POST", "PUT", name="x") for index in range(800)],
              "rests": [route(path + rest, "GET", "POST", "PUT") for path in paths for rest in ("", "/{z...}")]}[case]
    source = (PluginDeclarations(PluginConfig("shop", "/p", http=OPEN), "/api/plugins/shop", tuple(routes)),)
    profile = cProfile.Profile()
    catalog = profile.runcall(Catalog, source)
    assert len(catalog.entries) == len(routes)
    assert sum(entry.callcount for entry in profile.getstats()) < 1_500_000


def test_what_the_host_refuses_fits_the_schema_of_problems() -> None:
    """Each status of the table, with all members that the description promises."""
    document = _document(route("/items", "GET", "POST", schema={"type": "array"}))
    shared = document["components"]
    schema = {**shared["schemas"]["Problem"], "required": ["type", "title", "status", "detail", "requestId"]}
    host = FakeHost(PluginConfig("shop", "/p", http=HttpPolicy(public_routes=("*",), max_body_bytes=5)))
    client = host.declare("shop", route("/items", "GET", "POST", schema={"type": "array"}))
    bridge = HttpBridge(host)  # type: ignore[arg-type]
    seen = set()
    for answer in (InvalidMessage("no"), PluginCrashed(message="no"), PluginTimeout("no"), RpcError(404, "no"),
                   PluginUnavailable("shop", PluginState.BACKOFF, 1.0)):
        client.answer = answer
        seen.add(_refused(bridge.handle(request(path="/api/plugins/shop/items")), schema))
    for body, kind in ((b"1", "application/json"), (b"123456", "application/json"), (b"x", "text/plain")):
        sent = request("POST", "/api/plugins/shop/items", body, content_type=kind)
        seen.add(_refused(bridge.handle(sent), schema))
    bridge = HttpBridge(host, authorize=lambda *_: None)  # type: ignore[arg-type]
    host.config = FakeHost(PluginConfig("shop", "/p")).config
    seen.add(_refused(bridge.handle(request(path="/api/plugins/shop/items")), schema))
    assert seen | {"401", "429"} == {key[len("Refused"):] for key in shared["responses"]}


def _refused(response: Any, schema: Dict[str, Any]) -> str:
    Draft202012Validator(schema).validate(problem(response))
    return str(response.status)


@pytest.mark.parametrize("declared", [
    [("/", "GET"), ("/f/{id}", "GET"), ("/f/{p...}", "GET"), ("/f/{a}/x", "GET"), ("/{q...}", "GET")],
    [("/f/{id}", "GET"), ("/f/{p...}", "POST"), ("/f/x", "DELETE"), ("/f/{id}", "PUT"), ("/{a}/x", "PATCH")],
    [("/f/x", "HEAD"), ("/f/{id}", "GET"), ("/f/{key}", "HEAD"), ("/g", "HEAD")],
])
def test_paths_lead_to_their_routes(declared: List[Tuple[str, str]]) -> None:
    """Each operation of the document, its parameters filled in, reaches the route that it names; no other is served."""
    host = FakeHost(PluginConfig("shop", "/p", http=OPEN, route_prefix="/api/plugins/größe"))
    client = host.declare("shop", *parse_routes([{"path": path, "method": method} for path, method in declared]))
    client.answer = lambda params: {"body": "", "headers": {"etag": f'"{params["route"]}"'}}
    bridge = HttpBridge(host)  # type: ignore[arg-type]
    document = json.loads(bridge.handle(request(path="/api/plugins/openapi.json")).body)
    assert document["paths"]
    for path, item in document["paths"].items():
        target = unquote(path)
        for number, parameter in enumerate(item.get("parameters", ())):
            target = target.replace("{" + parameter["name"] + "}", f"v{number}")
        told = {method.upper() for method in item if method != "parameters"}
        assert bridge.handle(request("OPTIONS", target)).header("allow") == ", ".join(sorted(told))
        for method in told - {"OPTIONS"}:
            answered = bridge.handle(request(method, target)).header("etag")
            assert answered == f'"{item[method.lower()]["x-legacy-plugins"]["route"]}"'


@pytest.mark.parametrize("rest", [False, True])
def test_the_pattern_of_a_segment_is_what_paths_take(rest: bool) -> None:
    """A value that the document allows is taken, one that it forbids is not."""
    document = _document(route("/f/{p...}" if rest else "/f/{p}"))
    ((parameter,),) = (item["parameters"] for item in document["paths"].values())
    values = ["a", ".", "..", "...", ".a", "..;", ".;x", ";", "a;b", "a\\b", "a\n", "\x00", "\x7f", "\x9f", "\ufffd",
              "\u2028", "\U0001f600", "%", "%2", "%2e", "%2F", "%5C", "%41", "%0a", "x%7f", "%25", "%20", " ",
              "é", "{x}"]
    for value in values:
        allowed = re.fullmatch(parameter["schema"]["pattern"], value) is not None
        try:
            taken = path_segments(f"/f/{value}") is not None
        except HttpProblem:
            taken = False
        assert taken <= allowed if rest else taken == allowed, value
    for value in ("a/b", "a/b/c"):
        assert (re.fullmatch(parameter["schema"]["pattern"], value) is not None) == rest
    assert re.fullmatch(parameter["schema"]["pattern"], "a//b") is None
