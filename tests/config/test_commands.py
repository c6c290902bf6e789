"""Commands, arguments and paths become absolute."""
from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Callable, List, Optional

import pytest

from legacy_plugins.config import HostConfig, PluginConfig, TrustedCommand, load_config
from legacy_plugins.config.commands import CommandResolver, host_python

Load = Callable[..., PluginConfig]
LoadHost = Callable[..., HostConfig]


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder for PATH with the executables `tool`, `python` and `python3`, a link, and a file that is none."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("tool", "python", "python3"):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    (folder / "link").symlink_to("tool")
    (folder / "text").write_text("no program")
    return folder


@pytest.mark.parametrize(("command", "executable"), [
    ("/opt/shop", "/opt/shop"), ("/opt/../opt/shop", "/opt/../opt/shop"), ("bin/shop", "/base/bin/shop"),
    ("./shop", "/base/shop"), ("../shop", "/shop"), ("bin/../shop", "/base/shop"),
])
def test_paths_are_relative_to_the_configuration(plugin: Load, command: str, executable: str) -> None:
    """A path with a slash belongs to the configuration's folder; an absolute one stays as it was written."""
    loaded = plugin(command=command)
    assert (loaded.command, loaded.executable) == (command, executable)


@pytest.mark.fault("T2")
def test_a_bare_name_is_looked_up_once_on_path(plugin: Load, programs: Path, tmp_path: Path) -> None:
    """The first executable of that name in PATH, links kept; a name that is not found is no fault of the file."""
    environ = {"PATH": f"{tmp_path / 'nowhere'}:{programs}"}
    assert plugin(environ, command="tool").executable == str(programs / "tool")
    assert plugin(environ, command="link").executable == str(programs / "link")
    for missing in ("text", "missing", "..", "."):
        assert plugin(environ, command=missing).executable is None
    assert plugin({}, command="tool").executable is None


@pytest.mark.fault("T2")
@pytest.mark.parametrize("path", ["", ".", ":", ".:", ":/nowhere", "/nowhere:", "/nowhere::/nowhere", "./", "bin",
                                  "../bin/bin"])
def test_the_current_folder_is_never_searched(plugin: Load, programs: Path, monkeypatch: pytest.MonkeyPatch,
                                              path: str) -> None:
    """An empty, `.` or relative entry of PATH would run what happens to lie where the host was started."""
    (programs / "bin").mkdir()
    (programs / "bin" / "tool").symlink_to(programs / "tool")
    monkeypatch.chdir(programs)
    assert plugin({"PATH": path}, command="tool").executable is None
    assert plugin({"PATH": f"{path}:{programs}"}, command="tool").executable == str(programs / "tool")


def test_path_of_the_process_counts_only_by_default(plugin: Load, programs: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """With `environ` given, PATH is taken from there alone; without, from os.environ."""
    monkeypatch.setenv("PATH", str(programs))
    assert plugin({}, command="tool").executable is None
    loaded = load_config({"plugins": [{"name": "shop", "command": "tool"}]})
    assert loaded.plugins[0].executable == str(programs / "tool")


def test_python_is_the_hosts_own(plugin: Load, programs: Path) -> None:
    """`python` means the running interpreter, not what PATH has; `python3` is a name like any other."""
    environ = {"PATH": str(programs)}
    assert plugin(environ, command="python").executable == sys.executable
    assert plugin(environ, command="python3").executable == str(programs / "python3")


@pytest.mark.parametrize("server", ["/usr/sbin/uwsgi", "", None])
def test_an_embedding_server_is_not_the_interpreter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                                    server: Optional[str]) -> None:
    """Where sys.executable is the server, the interpreter of its virtual environment is meant, or none is known."""
    monkeypatch.setattr(sys, "executable", server)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert host_python() is None
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").write_text("")
    assert host_python() == str(tmp_path / "bin" / "python3")


@pytest.mark.parametrize("linked", [False, True])
def test_a_virtual_environments_interpreter_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                                        linked: bool) -> None:
    """pyuwsgi tells the base interpreter for sys.executable: its plugins would lack what the environment has."""
    base, environment = tmp_path / "usr" / "bin", tmp_path / "venv" / "bin"
    for folder in (base, environment):
        folder.mkdir(parents=True)
    (base / "python3.99").write_text("")
    monkeypatch.setattr(sys, "executable", str(base / "python3.99"))
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path / "usr"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    assert host_python() == str(base / "python3.99")
    (environment / "python3").symlink_to(base / "python3.99")
    assert host_python() == str(environment / "python3")
    (environment / "python3.99").symlink_to(base / "python3.99")
    if linked:
        (tmp_path / "current").symlink_to(tmp_path / "venv")
        monkeypatch.setattr(sys, "prefix", str(tmp_path / "current"))
    monkeypatch.setattr(sys, "executable", str(environment / "python3.99"))
    assert host_python() == str(environment / "python3.99")


@pytest.mark.parametrize(("command", "args", "expected"), [
    ("/opt/shop", ["plugin.py", "-v", "./x", "../y", "--o=./z", "."],
     ["plugin.py", "-v", "/base/x", "/y", "--o=./z", "."]),
    ("python", ["-u", "plugin.py", "data.txt"], ["-u", "/base/plugin.py", "data.txt"]),
    ("python", ["./plugin.py", "./data"], ["/base/plugin.py", "/base/data"]),
    ("python", ["/abs/plugin.py"], ["/abs/plugin.py"]),
    ("python", ["-m", "vendor.plugin", "./data"], ["-m", "vendor.plugin", "/base/data"]),
    ("node", ["--max-old-space-size=64", "dist/main.js"], ["--max-old-space-size=64", "/base/dist/main.js"]),
])
def test_scripts_and_dotted_arguments_become_absolute(plugin: Load, command: str, args: List[str],
                                                      expected: List[str]) -> None:
    """An interpreter's script and what begins with ./ or ../ belong to the configuration's folder; all else is text."""
    assert plugin(command=command, args=args).args == tuple(expected)


def test_a_wrapper_is_resolved_like_a_command(plugin: Load, programs: Path) -> None:
    """Its first element as a command, the rest as arguments; one that is not found stays a bare name."""
    environ = {"PATH": str(programs)}
    assert plugin(environ, wrapper=["tool", "--bind", "./data"]).wrapper == (
        str(programs / "tool"), "--bind", "/base/data")
    assert plugin(environ, wrapper=["missing", "-x"]).wrapper == ("missing", "-x")
    assert plugin(environ, wrapper=["bin/box"]).wrapper == ("/base/bin/box",)


@pytest.mark.req("R29")
def test_trusted_commands_take_the_same_forms(host: LoadHost, programs: Path) -> None:
    """Absolute, relative, bare, `python`, and exact command lines with the same rewriting as a plugin's."""
    config = host({"PATH": str(programs)}, trust={"commands": [
        "/opt/shop", "bin/shop", "tool", "missing", "python",
        {"argv": ["python", "-m", "vendor.plugin", "./data"]}, {"argv": ["python", "plugin.py"]},
        {"argv": ["missing", "../x"]}]})
    assert config.trust.commands == (
        TrustedCommand("/opt/shop", "/opt/shop"), TrustedCommand("/base/bin/shop", "bin/shop"),
        TrustedCommand(str(programs / "tool"), "tool"), TrustedCommand(None, "missing"),
        TrustedCommand(sys.executable, "python"),
        TrustedCommand(sys.executable, "python", (sys.executable, "-m", "vendor.plugin", "/base/data")),
        TrustedCommand(sys.executable, "python", (sys.executable, "/base/plugin.py")),
        TrustedCommand(None, "missing", ("missing", "/x")),
    )


def test_an_exact_command_line_is_the_plugins(programs: Path) -> None:
    """The same words in `trust.commands` and in a plugin mean the same command line."""
    config = load_config({
        "trust": {"commands": [{"argv": ["python", "-u", "plugin.py", "./data"]}]},
        "plugins": [{"name": "shop", "command": "python", "args": ["-u", "plugin.py", "./data"]}],
    }, environ={})
    plugin = config.plugins[0]
    assert config.trust.commands[0].argv == (plugin.executable, *plugin.args)


def test_other_paths_are_relative_to_the_configuration_too(plugin: Load, host: LoadHost) -> None:
    """`cwd`, `http.fileRoots` and `trust.directories`."""
    assert plugin(cwd="data").cwd == "/base/data"
    assert plugin(cwd="/data").cwd == "/data"
    assert plugin().cwd is None
    assert plugin(http={"fileRoots": ["files", "/srv/files", "../up"]}).http.file_roots == (
        "/base/files", "/srv/files", "/up")
    assert host(trust={"directories": ["plugins", "/opt/plugins", "."]}).trust.directories == (
        "/base/plugins", "/opt/plugins", "/base")


def test_links_are_kept(tmp_path: Path) -> None:
    """A virtual environment's interpreter is a link whose place matters."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert CommandResolver(str(tmp_path), {}).executable("link/tool") == os.path.join(str(tmp_path), "link", "tool")
