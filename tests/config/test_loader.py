"""The ways in: files, mappings, finished configurations, and what is added to their trust."""
from __future__ import annotations

import copy
import json
import os
import pickle
import traceback
from pathlib import Path
from types import MappingProxyType
from typing import Any, Callable, Dict, List, Tuple

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from legacy_plugins.config import HostConfig, PluginConfig, load_config
from legacy_plugins.errors import ConfigError

Faults = Callable[..., Tuple[str, ...]]

EXAMPLE = """
{
  "plugins": [
    {
      "name": "backup-plugin",
      "command": "/opt/plugins/backup-plugin",
      "args": ["--config", "/etc/backup-plugin/config.toml"],
      "cwd": "/opt/plugins/backup-plugin",
      "env": {
        "LOG_LEVEL": "info",
        "PLUGIN_TOKEN": "placeholder"
      },
      "restart": {
        "enabled": true,
        "maxRetries": 3,
        "backoffMs": 2000
      },
      "rpcTimeoutMs": 5000,
      "handshakeTimeoutMs": 5000,
      "shutdownTimeoutMs": 3000,
      "events": {
        "include": ["SyncStarted", "SyncCompleted"],
        "exclude": []
      },
      "allowReverseRpc": false,
      "routePrefix": "/api/plugins/backup",
      "enabled": true
    }
  ]
}
"""


@pytest.mark.req("R27", "R30")
@pytest.mark.parametrize("name", ["plan.json", "plan.yaml"])
def test_the_plans_example_loads_unchanged(tmp_path: Path, name: str) -> None:
    """The configuration that the format was designed with, as JSON and, since YAML contains JSON, as YAML."""
    (tmp_path / name).write_text(EXAMPLE)
    config = load_config(tmp_path / name, trust=["/opt/plugins"])
    assert config.trust.directories[0] == "/opt/plugins"
    plugin = config.plugin("backup-plugin")
    assert plugin.executable == plugin.command == "/opt/plugins/backup-plugin"
    assert plugin.args == ("--config", "/etc/backup-plugin/config.toml")
    assert plugin.cwd == "/opt/plugins/backup-plugin"
    assert plugin.env == {"LOG_LEVEL": "info", "PLUGIN_TOKEN": "placeholder"}
    assert (plugin.restart.enabled, plugin.restart.max_retries, plugin.restart.backoff_ms) == (True, 3, 2000)
    assert (plugin.rpc_timeout_ms, plugin.handshake_timeout_ms, plugin.shutdown_timeout_ms) == (5000, 5000, 3000)
    assert (plugin.events.include, plugin.events.exclude) == (("SyncStarted", "SyncCompleted"), ())
    assert (plugin.allow_reverse_rpc, plugin.route_prefix, plugin.enabled) == (False, "/api/plugins/backup", True)


def test_a_mapping_says_the_same_as_a_file(tmp_path: Path) -> None:
    """Any kind of mapping; it is copied, not kept, and has no source."""
    (tmp_path / "plan.json").write_text(EXAMPLE)
    given: Dict[str, Any] = json.loads(EXAMPLE)
    before = copy.deepcopy(given)
    mapped = load_config(MappingProxyType(given), base_dir=tmp_path, environ={})
    loaded = load_config(str(tmp_path / "plan.json"), environ={})
    assert mapped.plugins == loaded.plugins
    assert (mapped.base_dir, mapped.source) == (loaded.base_dir, None)
    assert given == before
    given["plugins"][0]["args"].append("x")
    given["plugins"][0]["env"]["LOG_LEVEL"] = "debug"
    assert mapped.plugins == loaded.plugins


def test_where_relative_paths_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the file's folder, for a mapping at the current folder, and at base_dir where it is given."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "a.json").write_text('{"plugins": [{"name": "a", "command": "bin/a"}]}')
    source = {"plugins": [{"name": "a", "command": "bin/a"}]}
    assert load_config("etc/a.json").plugins[0].executable == str(tmp_path / "etc" / "bin" / "a")
    assert load_config("etc/a.json", base_dir="other").plugins[0].executable == str(tmp_path / "other" / "bin" / "a")
    assert load_config(source).plugins[0].executable == str(tmp_path / "bin" / "a")
    assert load_config(source, base_dir=Path("x")).plugins[0].executable == str(tmp_path / "x" / "bin" / "a")
    assert load_config(source, base_dir="x").base_dir == str(tmp_path / "x")


def test_a_finished_configuration_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The very object, whatever the environment says; with `trust`, a copy that has more directories."""
    monkeypatch.setenv("LEGACY_PLUGINS_TRUST", "/from/environment")
    config = HostConfig(plugins=(PluginConfig("a", "/a"),), base_dir="/base")
    assert load_config(config) is config
    assert load_config(config, trust=[]) is config
    more = load_config(config, trust=["/opt", "plugins"])
    assert more.trust.directories == ("/opt", "/base/plugins")
    assert more.plugins == config.plugins
    assert config.trust.directories == ()
    assert load_config(more, trust="/opt") is more
    with pytest.raises(TypeError, match="base_dir has no effect"):
        load_config(config, base_dir="/other")


@pytest.mark.req("R29")
def test_more_directories_to_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the file, of `trust` and of LEGACY_PLUGINS_TRUST, each once, empty entries never."""
    monkeypatch.chdir(tmp_path)
    source = {"plugins": [], "trust": {"directories": ["own", "/opt"]}}
    environ = {"LEGACY_PLUGINS_TRUST": f"/env:{os.pathsep}here{os.pathsep}/opt{os.pathsep}"}
    config = load_config(source, base_dir="/base", trust=["more", Path("/opt"), "/code"], environ=environ)
    assert config.trust.directories == ("/base/own", "/opt", "/base/more", "/code", "/env", str(tmp_path / "here"))
    assert load_config(source, base_dir="/base", environ={}).trust.directories == ("/base/own", "/opt")


@pytest.mark.parametrize("trust", ["/opt/plugins", Path("/opt/plugins")])
def test_one_path_is_one_directory(trust: Any) -> None:
    """A string is not taken for a sequence of directories, the first of which would be `/`."""
    assert load_config({"plugins": []}, trust=trust, environ={}).trust.directories == ("/opt/plugins",)


@pytest.mark.parametrize(("trust", "reason"), [([""], "is empty"), (["/a\0"], "holds a NUL")])
def test_directories_that_cannot_be_trusted(trust: List[str], reason: str) -> None:
    """An empty path would be the current folder."""
    with pytest.raises(ConfigError, match=reason):
        load_config({"plugins": []}, trust=trust, environ={})


@pytest.mark.parametrize("source", [None, 5, b"plugins.yaml", ["plugins.yaml"]])
def test_other_sources_are_no_configuration(source: Any) -> None:
    """A mistake in the program, not in the configuration."""
    with pytest.raises(TypeError, match="a path, a mapping or a HostConfig, not"):
        load_config(source)


@pytest.mark.parametrize("text", [EXAMPLE, '{"plugins": []}', "plugins:\n  - name: a\n"])
def test_the_text_of_a_document_is_not_taken_for_a_path(text: str, faults: Faults) -> None:
    """The error does not show it."""
    (fault,) = faults(text)
    assert "not a path" in fault
    assert "plugins" not in fault


BROKEN = """\
version: 1
trust: {permissions: lax}
plugins:
  - name: Shop
    comand: ./shop
    rpcTimeoutMs: 5 s
    env:
      TOKEN: "${NO_SUCH_VARIABLE}"
      PIN: 1234
  - name: till
    command: ./till
    rpcTimeoutMs: 1000
    rpcTimeoutMs: 2000
    logs: {redact: ["("]}
"""


@pytest.mark.fault("T16")
def test_all_faults_come_at_once(tmp_path: Path, faults: Faults) -> None:
    """Of every kind, in the order of the file, each with its place: line, column, pointer, plugin."""
    path = tmp_path / "plugins.yaml"
    path.write_text(BROKEN)
    texts = [text[len(str(path)) + 1:] for text in faults(path)]
    assert texts == [
        "2:22: /trust/permissions: found the string 'lax', expected one of standard, strict, off",
        "4:5: /plugins/0 (plugin 'Shop'): found no key 'command', expected one",
        ("4:11: /plugins/0/name (plugin 'Shop'): found the string 'Shop', expected 1 to 64 of a-z, 0-9, '.', '_', '-', "
         "beginning with a letter or digit"),
        "5:5: /plugins/0 (plugin 'Shop'): found the unknown key 'comand'; did you mean 'command'?",
        "6:19: /plugins/0/rpcTimeoutMs (plugin 'Shop'): found the string '5 s', expected an integer from 1 to 86400000",
        ("8:14: /plugins/0/env/TOKEN (plugin 'Shop'): the variable NO_SUCH_VARIABLE is not set in the host's "
         "environment; set it, or give a default: ${NO_SUCH_VARIABLE:-...}"),
        "9:12: /plugins/0/env/PIN (plugin 'Shop'): found an integer, expected a string; put it in quotes",
        ("13:5: /plugins/1 (plugin 'till'): found the key 'rpcTimeoutMs' again, expected it once; "
         "the first is in line 12"),
        ("14:21: /plugins/1/logs/redact/0 (plugin 'till'): found no regular expression: missing ), "
         "unterminated subpattern at position 0"),
    ]


def test_json_has_places_too(tmp_path: Path, faults: Faults) -> None:
    """The same faults in JSON."""
    path = tmp_path / "plugins.json"
    path.write_text('{"plugins": [\n  {"name": "a", "command": "/a",\n'
                    '   "args": [5], "cwd": "", "cwd": null, "x": 1}]}')
    assert [text[len(str(path)) + 1:].split(" (")[0] for text in faults(path)] == [
        "3:13: /plugins/0/args/0", "3:28: /plugins/0", "3:41: /plugins/0"]


def test_an_error_holds_nothing_else() -> None:
    """It survives pickling, and no other exception hangs on it that might hold the text of the file."""
    with pytest.raises(ConfigError) as caught:
        load_config({"plugins": [{"name": "a"}]})
    assert pickle.loads(pickle.dumps(caught.value)).faults == caught.value.faults
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(("name", "text"), [
    ("a.json", '{"plugins": [{"env": {"TOKEN": "hunter2"}'), ("a.yaml", "plugins: [{env: {TOKEN: hunter2"),
    ("a.yaml", "plugins: [{env: {TOKEN: *hunter2}}]"), ("a.yaml", "plugins: [{env: {TOKEN: !hunter2 x}}]"),
    ("a.yaml", "plugins: [{env: {TOKEN: 'hunter2\x01'}}]"),
])
def test_a_broken_file_hangs_on_no_error(tmp_path: Path, name: str, text: str) -> None:
    """Neither the traceback nor the chain of exceptions shows a secret of a file that cannot be parsed."""
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / name)
    error = caught.value
    assert error.__context__ is None
    assert "hunter2" not in "".join(traceback.format_exception(type(error), error, error.__traceback__))


SECRET = "hunter2-5up3r"
_WRONG: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 5, 2.5, [], {}, "", SECRET, [SECRET], {"A": SECRET}, {f"A={SECRET}": 1}, {"": SECRET}, f"a\0{SECRET}",
     "${SECRET}\0", "${SECRET} ${", f"${{{SECRET}", f"${{MISSING:-{SECRET}", {"A": {"B": SECRET}}, [{"name": SECRET}]])
_ENV = _WRONG | st.dictionaries(st.sampled_from(["A", "B", "", "a b", f"X={SECRET}"]), _WRONG, min_size=1, max_size=3)


@pytest.mark.req("R28")
@settings(deadline=None, max_examples=300)
@given(own=_ENV, default=_ENV, more=st.dictionaries(st.sampled_from(["args", "enabled", "http", "x"]), st.none()),
       ending=st.sampled_from([".json", ".yaml", ""]))
def test_no_secret_is_ever_shown(tmp_path_factory: pytest.TempPathFactory, own: Any, default: Any, more: Any,
                                 ending: str) -> None:
    """However wrong `env` is, no error and no repr holds a value of it, or of a variable of the host."""
    source: Any = {"defaults": {"env": default}, "plugins": [{"name": "shop", "command": "/x", "env": own, **more}]}
    if ending:
        path = tmp_path_factory.getbasetemp() / f"secret{ending}"
        path.write_text(json.dumps(source) if ending == ".json" else yaml.safe_dump(source))
        source = path
    try:
        shown = repr(load_config(source, environ={"SECRET": SECRET}))
    except ConfigError as error:
        shown = f"{error} {error!r}"
    assert SECRET not in shown


@pytest.mark.req("R28", "R34")
def test_secrets_come_from_the_environment_by_name() -> None:
    """The value reaches `env` and nothing else."""
    source = {"plugins": [{"name": "a", "command": "/a", "args": ["${TOKEN}"], "env": {"T": "Bearer ${TOKEN}"}}]}
    config = load_config(source, environ={"TOKEN": SECRET, "OTHER": "x"})
    assert dict(config.plugins[0].env) == {"T": f"Bearer {SECRET}"}
    assert config.plugins[0].args == ("${TOKEN}",)
    assert SECRET not in repr(config)


def test_equal_sources_make_equal_configurations() -> None:
    """A reload compares them; order in the file's mappings does not matter, a changed variable does."""
    source = {"plugins": [{"name": "a", "command": "/a", "env": {"A": "${V}", "B": "2"}}]}
    swapped = {"plugins": [{"env": {"B": "2", "A": "${V}"}, "command": "/a", "name": "a"}]}
    first = load_config(source, environ={"V": "1"})
    assert first == load_config(swapped, environ={"V": "1"})
    assert first != load_config(source, environ={"V": "2"})
