"""What the schema finds, in words."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Optional, Tuple

import pytest

from legacy_plugins import schemas
from legacy_plugins.config import PluginConfig
from legacy_plugins.config.schema_check import MOST_FAULTS

Faults = Callable[..., Tuple[str, ...]]
Load = Callable[..., PluginConfig]


@pytest.mark.fault("T16")
@pytest.mark.parametrize(("key", "nearest"), [
    ("rpcTimeoutMS", "rpcTimeoutMs"), ("rpc_timeout_ms", "rpcTimeoutMs"), ("enviroment", "env"), ("envpas", "envPass"),
    ("sandbox", None), ("comand", "command"), ("arg", "args"), ("wraper", "wrapper"), ("Enabled", "enabled"),
    ("route-prefix", "routePrefix"),
])
def test_an_unknown_key_names_the_nearest(plugin_faults: Faults, key: str, nearest: Optional[str]) -> None:
    """A misspelled key must not switch a protection off without a word."""
    (fault,) = plugin_faults(**{key: "hunter2"})
    assert fault.startswith(f": found the unknown key '{key}'; ")
    assert "hunter2" not in fault
    if nearest:
        assert fault.endswith(f"did you mean '{nearest}'?")
    else:
        assert "expected one of name, command, args, " in fault


def test_keys_of_later_versions_are_unknown(plugin_faults: Faults, faults: Faults) -> None:
    """Nothing is accepted that has no effect."""
    assert "unknown key 'debug'" in plugin_faults(debug={"attach": "127.0.0.1:5678"})[0]
    assert "unknown key 'codec'" in faults({"plugins": [], "codec": "json"})[0]


def test_unknown_keys_are_found_at_every_level(faults: Faults) -> None:
    """In each mapping of the format, all of them."""
    assert [fault.split("; ")[0] for fault in faults({
        "plugin": [], "other": 1, "trust": {"paths": []}, "defaults": {"restart": {"retries": 1}},
        "plugins": [{"name": "a", "command": "/a", "http": {"rateLimit": {"requests": 1, "per": 1}}}],
    })] == [
        "configuration: found the unknown key 'plugin'",
        "configuration: found the unknown key 'other'",
        "configuration: /defaults/restart: found the unknown key 'retries'",
        "configuration: /plugins/0/http/rateLimit (plugin 'a'): found the unknown key 'per'",
        "configuration: /trust: found the unknown key 'paths'",
    ]


@pytest.mark.parametrize(("keys", "fault"), [
    ({"rpcTimeoutMs": "5s"}, "/rpcTimeoutMs: found the string '5s', expected an integer from 1 to 86400000"),
    ({"rpcTimeoutMs": 0}, "/rpcTimeoutMs: found the integer 0, expected an integer from 1 to 86400000"),
    ({"rpcTimeoutMs": 86400001}, "/rpcTimeoutMs: found the integer 86400001, expected an integer from 1 to 86400000"),
    ({"rpcTimeoutMs": True}, "/rpcTimeoutMs: found true, expected an integer from 1 to 86400000"),
    ({"rpcTimeoutMs": 5000.5}, "/rpcTimeoutMs: found the number 5000.5, expected an integer from 1 to 86400000"),
    ({"rpcTimeoutMs": None}, "/rpcTimeoutMs: found null, expected an integer from 1 to 86400000"),
    ({"enabled": "yes"}, "/enabled: found the string 'yes', expected true or false"),
    ({"enabled": 1}, "/enabled: found the integer 1, expected true or false"),
    ({"uid": -1}, "/uid: found the integer -1, expected an integer from 0 to 4294967294, or null"),
    ({"cwd": ""}, "/cwd: found the string '', expected a string that is not empty, or null"),
    ({"expect": {"version": 1.5}},
     "/expect/version: found the number 1.5, expected a string that is not empty, or null; put it in quotes"),
    ({"handshake": "maybe"}, "/handshake: found the string 'maybe', expected one of required, none"),
    ({"handshake": ["none"]}, "/handshake: found a list of 1, expected one of required, none"),
    ({"restart": {"jitter": 1.5}}, "/restart/jitter: found the number 1.5, expected a number from 0 to 1"),
    ({"restart": {"jitter": -0.1}}, "/restart/jitter: found the number -0.1, expected a number from 0 to 1"),
    ({"restart": []}, "/restart: found a list of 0, expected a mapping"),
    ({"events": {"include": "Sync*"}}, "/events/include: found a string, expected a list"),
    ({"args": "--all"}, "/args: found a string, expected a list"),
    ({"http": {"rateLimit": 5}}, "/http/rateLimit: found an integer, expected a mapping, or null"),
    ({"http": {"rateLimit": {}}}, "/http/rateLimit: found no key 'requests', expected one"),
    ({"sha256": "abc"}, "/sha256: found the string 'abc', expected 64 hexadecimal digits, or null"),
])
def test_a_wrong_value_says_what_was_found_and_expected(plugin_faults: Faults, keys: Dict[str, Any],
                                                        fault: str) -> None:
    """One fault for each value."""
    assert plugin_faults(**keys) == (fault,)


@pytest.mark.fault("T1")
@pytest.mark.parametrize("command", [["/opt/shop", "-v"], {"shell": "x"}, 5, "", None])
def test_a_command_is_one_string(plugin_faults: Faults, command: Any) -> None:
    """A command line as a list has its own key, `args`."""
    (fault,) = plugin_faults(command=command)
    assert fault.startswith("/command: found ")
    assert "expected a string that is not empty" in fault


def test_missing_keys(faults: Faults) -> None:
    """Name and command are needed, unless `defaults` has a command; the plugins themselves always."""
    assert faults({}) == ("configuration: found no key 'plugins', expected one",)
    assert faults({"plugins": [{}]}) == (
        "configuration: /plugins/0: found no key 'name', expected one",
        "configuration: /plugins/0: found no key 'command', expected one")
    assert faults({"defaults": {"command": "/x"}, "plugins": [{}]}) == (
        "configuration: /plugins/0: found no key 'name', expected one",)
    assert faults({"plugins": [], "trust": {"commands": [{}]}}) == (
        "configuration: /trust/commands/0: found no key 'argv', expected one",)


@pytest.mark.parametrize(("source", "fault"), [
    ({"plugins": [], "version": 2}, "/version: found the integer 2, expected 1"),
    ({"plugins": [], "version": "1"}, "/version: found the string '1', expected 1"),
    ({"plugins": [], "version": True}, "/version: found true, expected 1"),
    ({"plugins": {"shop": {}}}, "/plugins: found a mapping of 1, expected a list"),
    ({"plugins": ["hunter2"]}, "/plugins/0: found a string, expected a mapping"),
    ({"plugins": "hunter2"}, "/plugins: found a string, expected a list"),
    ({"plugins": [], "trust": {"permissions": False}},
     "/trust/permissions: found false, expected one of standard, strict, off"),
    ({"plugins": [], "trust": {"commands": [5]}},
     "/trust/commands/0: found the integer 5, expected a string that is not empty, or a mapping; put it in quotes"),
    ({"plugins": [], "trust": {"commands": [{"argv": []}]}},
     "/trust/commands/0/argv: found a list of 0, expected a list that is not empty"),
    ({"plugins": [], "trust": {"directories": [""]}},
     "/trust/directories/0: found the string '', expected a string that is not empty"),
])
def test_wrong_values_of_the_host(faults: Faults, source: Dict[str, Any], fault: str) -> None:
    """The same for keys that are not a plugin's; texts are not shown where a list or mapping was expected."""
    assert faults(source) == (f"configuration: {fault}",)


@pytest.mark.parametrize("source", ["[]", "5", '"hunter2"', "null"])
def test_the_whole_must_be_a_mapping(tmp_path: Path, faults: Faults, source: str) -> None:
    """A document of another kind is refused without showing it."""
    path = tmp_path / "a.json"
    path.write_text(source)
    (fault,) = faults(path)
    assert fault.startswith(f"{path}:1:1: found ")
    assert fault.endswith("expected a mapping")
    assert "hunter2" not in fault


def test_an_integer_may_be_written_with_a_fraction_of_zero(plugin: Load) -> None:
    """5000.0 is an integer to JSON Schema, and so to editors; it is loaded as one."""
    loaded = plugin(rpcTimeoutMs=5000.0)
    assert loaded.rpc_timeout_ms == 5000
    assert isinstance(loaded.rpc_timeout_ms, int)


NAMES = ["", "-a", ".a", "..", ".", "_a", "A", "aB", "a b", "a/b", "a\n", "\na", "é", "a" * 65, "a\0", "a:b"]


@pytest.mark.fault("T15", "R4")
@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_refused(faults: Faults, name: str) -> None:
    """A name is part of URLs, log lines and metrics: upper case, separators and line ends have no place in it."""
    (fault,) = faults({"plugins": [{"name": name, "command": "/a"}]})
    assert "expected 1 to 64 of a-z, 0-9, '.', '_', '-', beginning with a letter or digit" in fault


@pytest.mark.parametrize("name", ["a", "0", "backup-plugin", "a..b", "v1.2_3", "a" * 64])
def test_names_that_are_accepted(name: str, plugin: Load) -> None:
    """Everything the pattern says."""
    assert plugin(name=name).name == name


@pytest.mark.parametrize(("prefix", "accepted"), [
    ("/api/plugins/shop", True), ("/a", True), ("/a/.b/c..d/...", True), ("/插件/店", True), ("/a~b/c-d_e", True),
    ("", False), ("/", False), ("a/b", False), ("/a/", False), ("//a", False), ("/a//b", False), ("/a/./b", False),
    ("/a/..", False), ("/../a", False), ("/.", False), ("/a{b}", False), ("/a?b", False), ("/a#b", False),
    ("/a%2fb", False), ("/a b", False), ("/a\n", False), ("/a\0b", False), ("/a\x7f", False), ("/a\\b", False),
    ("/a;b", False), ("/<a>", False), ("/a\x85", False), ("http://a/b", False),
])
def test_route_prefixes_are_normalised(plugin_faults: Faults, plugin: Load, prefix: str, accepted: bool) -> None:
    """A prefix is compared segment by segment with decoded paths, so it must be one in only one spelling."""
    if accepted:
        assert plugin(routePrefix=prefix).route_prefix == prefix
    else:
        (fault,) = plugin_faults(routePrefix=prefix)
        assert fault.startswith("/routePrefix: found the string ")
        assert "expected a normalised path" in fault


@pytest.mark.parametrize(("entry", "accepted"), [
    ("/status", True), ("*", True), ("/files/*", True), ("GET /status", True), ("DELETE *", True), ("/", True),
    ("status", False), ("get /status", False), ("GTE /status", False), ("GET  /status", False), ("GET", False),
    ("/a b", False), ("", False), ("/a\n", False), ("* /a", False), ("**", False),
])
def test_public_routes_are_patterns(plugin_faults: Faults, plugin: Load, entry: str, accepted: bool) -> None:
    """An entry that could never match is a mistake."""
    if accepted:
        assert plugin(http={"publicRoutes": [entry]}).http.public_routes == (entry,)
    else:
        assert "expected a pattern that begins with '/' or is '*'" in plugin_faults(http={"publicRoutes": [entry]})[0]


@pytest.mark.parametrize("key", ["include", "exclude", "publish"])
@pytest.mark.parametrize("pattern", ["", " Sync*", "Sync* ", "Sync*\n", "\tA"])
def test_event_patterns_have_no_stray_space(plugin_faults: Faults, key: str, pattern: str) -> None:
    """An empty pattern, or one with white space at an end, matches nothing anybody sends."""
    (fault,) = plugin_faults(events={key: [pattern]})
    assert fault.startswith(f"/events/{key}/0: found ")
    assert "expected a pattern such as Sync*" in fault


@pytest.mark.fault("T13")
@pytest.mark.parametrize(("name", "shown"), [
    ("", "''"), ("=", "'=...'"), ("TOKEN=hunter2", "'TOKEN=...'"), ("A B", "'A B'"), ("A\n", "'A\\n'"),
    ("A\0", "'A\\x00'"),
])
def test_names_of_variables(plugin_faults: Faults, name: str, shown: str) -> None:
    """An empty name, `=`, white space and NUL are refused; a value in the name's place is not shown."""
    faults = plugin_faults(env={name: 5})
    assert f"/env: found the name {shown}, expected a name that is not empty" in "\n".join(faults)
    assert "hunter2" not in "\n".join(faults)


@pytest.mark.fault("T9")
@pytest.mark.parametrize("name", ["", "LC_*", "A?", "[AB]", "A=B", "A B", "*"])
def test_names_passed_through_are_exact(plugin_faults: Faults, name: str) -> None:
    """No variable is inherited by pattern."""
    (fault,) = plugin_faults(envPass=[name])
    assert "expected the exact name of a variable" in fault


@pytest.mark.parametrize("header", ["", "a b", "a:", "ä", "a\n", "a\r\nb"])
@pytest.mark.parametrize("key", ["forwardHeaders", "responseHeaders"])
def test_header_names(plugin_faults: Faults, key: str, header: str) -> None:
    """A header's name is a token of RFC 9110."""
    (fault,) = plugin_faults(http={key: [header]})
    assert f"/http/{key}/0: found " in fault
    assert "expected the name of an HTTP header" in fault


def test_one_bad_element_does_not_hide_others(plugin_faults: Faults) -> None:
    """Each element of a list is judged, by the schema and by the rules that follow."""
    assert [fault.split(":")[0] for fault in plugin_faults(
        args=[5, "a\0", None], logs={"redact": [5, "(", ""]}, http={"fileRoots": ["", "a\0"]},
        handshake="none", routes=[5, {"path": "x", "method": "GET"}, {"path": "/{", "method": "GET"},
                                  {"path": "/y", "method": [5]}, {"path": "/z"}],
    )] == [
        "/args/0", "/args/1", "/args/2", "/http/fileRoots/0", "/http/fileRoots/1", "/logs/redact/0", "/logs/redact/1",
        "/logs/redact/2", "/routes/0", "/routes/1/path", "/routes/2", "/routes/3/method/0", "/routes/4",
    ]


@pytest.mark.parametrize("second", ["5", "{directories: 5}", "{directories: []}", "{}"])
def test_a_wrong_value_under_a_key_that_stands_twice(tmp_path: Path, faults: Faults, second: str) -> None:
    """What was wrong in the first value is told although only the second one is left to be looked at."""
    path = tmp_path / "a.yaml"
    path.write_text(f"plugins: []\ntrust: {{directories: [!x a]}}\ntrust: {second}\n")
    texts = faults(path)
    assert any("/trust/directories/0: found a YAML tag" in text for text in texts)
    assert any("found the key 'trust' again" in text for text in texts)


def test_the_number_of_faults_is_bounded(tmp_path: Path, faults: Faults) -> None:
    """A file that is no configuration at all does not fill the log."""
    path = tmp_path / "a.json"
    path.write_text('{"plugins": [' + "5," * MOST_FAULTS + "5]}")
    texts = faults(path)
    assert len(texts) == MOST_FAULTS + 1
    assert texts[0] == f"{path}:1:1: more than {MOST_FAULTS} faults; the others are not listed"


def _subschemas(schema: Any) -> Iterator[Dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from _subschemas(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _subschemas(value)


def test_the_schema_uses_no_keyword_that_has_no_words() -> None:
    """Every bound of the schema comes in the pairs that the texts tell, every pattern with its explanation."""
    for schema in _subschemas(schemas.load("config")):
        if isinstance(schema.get("type"), (str, list)):
            assert ("minimum" in schema) == ("maximum" in schema)
            assert not {"maxLength", "maxItems", "exclusiveMinimum", "uniqueItems", "multipleOf"} & set(schema)
        if isinstance(schema.get("pattern"), str):
            assert schema["patternErrorMessage"]
            assert schema["pattern"].startswith("^")
            assert schema["pattern"].endswith("$(?!\\n)") or schema["pattern"] == "^/"
