"""Rules that a schema cannot say."""
from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Tuple

import pytest

from legacy_plugins.config import HostConfig, PluginConfig, load_config

Faults = Callable[..., Tuple[str, ...]]
Load = Callable[..., PluginConfig]
LoadHost = Callable[..., HostConfig]


def _plugins(*prefixes: Optional[str]) -> Dict[str, Any]:
    return {"plugins": [{"name": name, "command": "/x", "routePrefix": prefix}
                        for name, prefix in zip("abcdef", prefixes)]}


@pytest.mark.fault("T15")
def test_names_are_unique(faults: Faults) -> None:
    """Each repetition is one fault that tells where the name stands already, and its default prefix is none besides."""
    assert faults({"plugins": [{"name": name, "command": "/x"} for name in ("shop", "b", "shop", "shop")]}) == (
        ("configuration: /plugins/2/name (plugin 'shop'): found 'shop' again, expected a name of its own; "
         "it is that of /plugins/0"),
        ("configuration: /plugins/3/name (plugin 'shop'): found 'shop' again, expected a name of its own; "
         "it is that of /plugins/0"))


@pytest.mark.req("R23", "R33")
@pytest.mark.fault("T15")
@pytest.mark.parametrize(("prefixes", "faulty"), [
    (["/x/a", "/x/b"], []), (["/x/a", "/x/ab"], []), ([None, None], []), (["/api/plugins", "/other"], []),
    (["/x/a", "/x/a"], [1]), (["/x/a", "/x/A"], [1]), (["/x", "/x/b"], [1]), (["/x/b", "/x"], [0]),
    (["/X", "/x/b/c"], [1]), ([None, "/api/plugins/a"], [1]), ([None, "/api/plugins/a/sub"], [1]),
    (["/api/plugins", None], [1]), (["/api/plugins/b", None], [1]), (["/x", "/x/b", "/x/b/c"], [1, 2, 2]),
    (["/x/a", "/y", "/x/a", "/x/a"], [2, 3]),
])
def test_prefixes_neither_equal_nor_nest(faults: Faults, prefixes: List[Optional[str]], faulty: List[int]) -> None:
    """Whatever the case, and with the default of /api/plugins/<name> where a plugin has none."""
    if not faulty:
        load_config(_plugins(*prefixes), environ={})
        return
    texts = faults(_plugins(*prefixes))
    assert [int(text.split("/")[2][0]) for text in texts] == faulty
    assert all("expected prefixes that do not nest" in text for text in texts)


def test_a_clash_names_both_prefixes_and_plugins(faults: Faults) -> None:
    """Both values are told, and that one of them is a default."""
    assert faults(_plugins("/api/plugins/b/x", None)) == (
        ("configuration: /plugins/0/routePrefix (plugin 'a'): found routePrefix '/api/plugins/b/x', which lies below "
         "'/api/plugins/b' of /plugins/1; expected prefixes that do not nest"),)
    assert faults(_plugins("/api/plugins", None)) == (
        ("configuration: /plugins/1 (plugin 'b'): found the default routePrefix '/api/plugins/b', which lies below "
         "'/api/plugins' of /plugins/0; expected prefixes that do not nest"),)


def test_a_wrong_value_is_not_judged_as_if_it_were_absent(faults: Faults) -> None:
    """A wrong prefix, handshake or bound is one fault; what its default would mean is none."""
    (fault,) = faults(_plugins("/bad/", "/api/plugins/a/b"))
    assert "/plugins/0/routePrefix" in fault
    (fault,) = faults({"plugins": [{"name": "a", "command": "/x", "handshake": "non",
                                    "routes": [{"path": "/x", "method": "GET"}]}]})
    assert "/plugins/0/handshake" in fault
    (fault,) = faults({"plugins": [{"name": "a", "command": "/x",
                                    "restart": {"backoffMs": 70000, "maxBackoffMs": "x"}}]})
    assert "/plugins/0/restart/maxBackoffMs" in fault
    (fault,) = faults({"defaults": {"routePrefix": 5}, "plugins": [
        {"name": "a", "command": "/x"}, {"name": "b", "command": "/x", "routePrefix": "/api/plugins/a"}]})
    assert "/defaults/routePrefix" in fault


def test_a_name_has_no_default(faults: Faults) -> None:
    """A name in `defaults` could never have an effect."""
    (fault,) = faults({"defaults": {"name": "shop"}, "plugins": []})
    assert fault == "configuration: /defaults: found the key 'name', which is each plugin's own; expected it there"


def test_faults_of_defaults_are_told_where_they_stand(faults: Faults) -> None:
    """Once, not once for each plugin."""
    texts = faults({
        "defaults": {"env": {"A": "${MISSING}"}, "logs": {"redact": ["("]}, "restart": {"backoffMs": 70000},
                     "routes": [{"path": "/x", "method": "GET"}]},
        "plugins": [{"name": "a", "command": "/x"}, {"name": "b", "command": "/x"},
                    {"name": "c", "command": "/x", "restart": {"maxBackoffMs": 80000}, "handshake": "none"}]})
    assert [text.split(":")[1] for text in texts] == [
        " /defaults/env/A", " /defaults/logs/redact/0", " /defaults/restart/backoffMs", " /defaults/routes"]


@pytest.mark.fault("T13")
@pytest.mark.parametrize(("keys", "pointer"), [
    ({"command": "/opt/sh\0op"}, "/command"), ({"args": ["a", "hunter2\0"]}, "/args/1"), ({"cwd": "/a\0"}, "/cwd"),
    ({"wrapper": ["/bwrap", "\0"]}, "/wrapper/1"), ({"env": {"A": "hunter2\0"}}, "/env/A"),
    ({"env": {"A": "${NUL}"}}, "/env/A"), ({"http": {"fileRoots": ["/a\0"]}}, "/http/fileRoots/0"),
])
def test_nul_is_refused_where_the_system_takes_none(plugin_faults: Faults, keys: Dict[str, Any], pointer: str) -> None:
    """What would be an odd ValueError at the start of the process is a fault of the configuration."""
    assert plugin_faults({"NUL": "hunter2\0"}, **keys) == (f"{pointer}: found a NUL character, expected none",)


def test_nul_in_trust(faults: Faults) -> None:
    """The same for what is trusted."""
    texts = faults({"plugins": [], "trust": {"directories": ["/a\0"], "commands": ["/b\0", {"argv": ["c", "\0"]}]}})
    assert [text.split(": ")[1] for text in texts] == [
        "/trust/commands/0", "/trust/commands/1/argv/1", "/trust/directories/0"]


def test_text_that_cannot_be_encoded_is_refused(plugin_faults: Faults, plugin: Load) -> None:
    """Half a surrogate pair cannot be given to a process; bytes of a file's name that are no UTF-8 can."""
    assert plugin_faults(args=["\ud800"]) == (
        "/args/0: found a character that the system's encoding does not have",)
    assert plugin_faults(env={"A": "hunter2\ud800"}) == (
        "/env/A: found a character that the system's encoding does not have",)
    assert plugin(args=["\udcff"]).args == ("\udcff",)


@pytest.mark.fault("T1")
@pytest.mark.parametrize(("command", "accepted"), [
    ("node plugin.js", False), ("sh -c 'x; y'", False), ("a\tb", False), ("/opt/my plugins/shop", True),
    ("./my shop", True), ("node", True),
])
def test_a_shell_line_is_no_command(plugin_faults: Faults, plugin: Load, command: str, accepted: bool) -> None:
    """There is no shell: a bare name with spaces is a command line that was meant for one."""
    if accepted:
        assert plugin(command=command).command == command
    else:
        assert plugin_faults(command=command) == (
            "/command: found a command line, expected one program; put the rest into 'args'",)


@pytest.mark.req("R26")
@pytest.mark.parametrize("pattern", ["(", "*", "[a", r"\8", "(?P<x>a)(?P<x>b)", "a{99999999999999}", "(?<hunter2)"])
def test_redaction_patterns_compile(plugin_faults: Faults, pattern: str) -> None:
    """A filter that cannot work would let everything through."""
    (fault,) = plugin_faults(logs={"redact": [pattern]})
    assert fault.startswith("/logs/redact/0: found no regular expression: ")


@pytest.mark.parametrize(("key", "header", "accepted"), [
    ("forwardHeaders", "Cookie", True), ("forwardHeaders", "x-request-id", True), ("forwardHeaders", "TE", False),
    ("forwardHeaders", "connection", False), ("forwardHeaders", "X-Plugin-User", False),
    ("forwardHeaders", "x_user", False), ("responseHeaders", "set-cookie", True), ("responseHeaders", "upgrade", False),
    ("responseHeaders", "Content-Length", False), ("responseHeaders", "date", False),
    ("responseHeaders", "X-Content-Type-Options", False),
])
def test_headers_that_never_pass_are_not_accepted(plugin_faults: Faults, plugin: Load, key: str, header: str,
                                                  accepted: bool) -> None:
    """Listing one would have no effect; names are kept in lower case."""
    if accepted:
        http = plugin(http={key: [header]}).http
        assert (http.forward_headers if key == "forwardHeaders" else http.response_headers) == (header.lower(),)
    else:
        assert plugin_faults(http={key: [header]}) == (
            f"/http/{key}/0: found {header!r}, which is never passed on; remove it",)


def test_routes_belong_to_programs_without_handshake(plugin_faults: Faults, plugin: Load) -> None:
    """Others declare theirs themselves, so routes of the configuration would be ignored."""
    routes = [{"path": "/x", "method": "GET"}]
    assert plugin(handshake="none", routes=routes).routes == ({"path": "/x", "method": "GET"},)
    for keys in ({"routes": routes}, {"routes": routes, "handshake": "required"}):
        (fault,) = plugin_faults(**keys)
        assert fault.startswith("/routes: found routes, expected none")
    assert plugin(routes=[]).routes == ()


def test_expectations_need_a_handshake(plugin_faults: Faults, plugin: Load) -> None:
    """Nothing would compare them."""
    assert plugin_faults(handshake="none", expect={"name": "shop", "version": "1."}) == (
        "/expect/name: found 'shop', expected null: without a handshake nothing can be compared with it",
        "/expect/version: found '1.', expected null: without a handshake nothing can be compared with it")
    assert plugin(handshake="none", expect={"name": None}).expect.name is None


@pytest.mark.parametrize(("route", "fault"), [
    ({"path": "/a//b", "method": "GET"}, "/routes/0: route '/a//b'"),
    ({"path": "/{a}/{a}", "method": "GET"}, "/routes/0: route '/{a}/{a}'"),
    ({"path": "/a", "method": "BREW"}, "/routes/0: route '/a': the method 'BREW'"),
    ({"path": "/a", "method": ["GET", "GTE"]}, "/routes/0: route '/a': the method 'GTE'"),
    ({"path": "/a", "method": "GET", "schema": {"type": "objekt"}}, "/routes/0/schema: found no usable schema: "),
    ({"path": "/a", "method": "GET", "schema": {"$ref": "http://a/b"}}, "/routes/0/schema: found no usable schema: "),
    ({"path": "/a", "method": "GET", "schema": {"pattern": "x"}}, "/routes/0/schema: found no usable schema: "),
    ({"path": "/a", "method": "GET", "auth": "yes"}, "/routes/0/auth: found the string 'yes', expected true or false"),
    ({"path": "/a", "method": "GET", "handler": "x"}, "/routes/0: found the unknown key 'handler'"),
    ({"path": "/a"}, "/routes/0: found no key 'method', expected one"),
])
def test_configured_routes_are_checked_at_load(plugin_faults: Faults, route: Dict[str, Any], fault: str) -> None:
    """The same rules as for declared ones."""
    (text,) = plugin_faults(handshake="none", routes=[route])
    assert text.startswith(fault)


def test_configured_routes_do_not_collide(plugin_faults: Faults) -> None:
    """The same path and method twice is one fault of all routes."""
    (fault,) = plugin_faults(handshake="none", routes=[
        {"path": "/a/{x}", "method": "GET"}, {"path": "/a/{y}", "method": ["POST", "GET"]}])
    assert fault.startswith("/routes: routes '/a/{x}' and '/a/{y}' both declare GET")


def test_patterns_in_configured_schemas_follow_the_operator(plugin: Load) -> None:
    """`http.schemaPatterns` allows regular expressions here, too."""
    route = {"path": "/a", "method": "GET", "schema": {"pattern": "x"}}
    assert plugin(handshake="none", routes=[route], http={"schemaPatterns": True}).routes == (route,)


@pytest.mark.req("R32")
def test_a_delay_over_its_own_bound_is_a_mistake(plugin_faults: Faults, plugin: Load) -> None:
    """An explicit backoffMs is not cut without a word; a lower maxBackoffMs alone means what it says."""
    assert plugin_faults(restart={"backoffMs": 60001}) == (
        "/restart/backoffMs: found 60001, expected at most maxBackoffMs, which is 60000; raise that, too",)
    assert plugin(restart={"backoffMs": 90000, "maxBackoffMs": 90000}).restart.backoff_ms == 90000
    assert plugin(restart={"maxBackoffMs": 100}).restart.delay_ms(1, 0.5) == 100
