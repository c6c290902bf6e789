"""What may run: trusted directories, allowed executables, exact command lines; and who could have changed it."""
from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Tuple

import pytest

from legacy_plugins.errors import PluginStartFailed, UntrustedCommand
from legacy_plugins.transport import trust
from legacy_plugins.transport.trust import TrustedProgram, TrustPolicy, check_sha256

PYTHON = sys.executable


@dataclass(frozen=True)
class Allowed:
    """An entry of trust.commands, shaped as the configuration has it."""

    path: Optional[str]
    given: str = ""
    argv: Optional[Tuple[str, ...]] = None


@pytest.fixture(name="plugins")
def make_plugins(tmp_path: Path) -> Path:
    """A directory of plugins with a program and a script in it, and one beside it whose name begins alike."""
    for folder in ("plugins", "plugins-evil", "elsewhere"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder).chmod(0o755)
        for name in ("program", "main.py"):
            path = tmp_path / folder / name
            path.write_text("#!/bin/sh\n")
            path.chmod(0o755)
    return tmp_path / "plugins"


def _refusal(policy: TrustPolicy, executable: str, *args: str) -> str:
    """The text of the refusal, which names the plugin in each line."""
    with pytest.raises(UntrustedCommand) as caught:
        policy.check(executable, args, plugin="backup")
    assert caught.value.plugin == "backup"
    assert caught.value.faults
    assert all(fault.startswith("plugin 'backup': ") for fault in caught.value.faults)
    return str(caught.value)


def _failure(policy: TrustPolicy, executable: Optional[str], *args: str) -> str:
    with pytest.raises(PluginStartFailed) as caught:
        policy.check(executable, args, plugin="backup")
    assert caught.value.plugin == "backup"
    assert "plugin 'backup'" in str(caught.value)
    return str(caught.value)


@pytest.mark.req("R29")
def test_a_program_in_a_trusted_directory_may_run(plugins: Path) -> None:
    """Inside a trusted directory, at any depth, a program runs with any arguments; a shebang script is a program."""
    policy = TrustPolicy([str(plugins)], [])
    program = str(plugins / "program")
    assert policy.check(program, ["-c", "x"], plugin="backup") == TrustedProgram((program, "-c", "x"), program, None)
    deep = plugins / "deep" / "main.py"
    deep.parent.mkdir()
    deep.parent.chmod(0o755)
    deep.write_text("#!/usr/bin/env python3\n")
    deep.chmod(0o755)
    assert policy.check(str(deep), (), plugin="backup").file == str(deep)


@pytest.mark.req("R29")
def test_nothing_is_trusted_by_default(plugins: Path) -> None:
    """An empty policy refuses everything, and says what to add where."""
    text = _refusal(TrustPolicy([], []), str(plugins / "program"))
    assert "trust.directories" in text
    assert "trust.commands" in text
    assert "there is none" in text


@pytest.mark.req("R29")
@pytest.mark.fault("T4")
def test_a_directory_that_begins_alike_is_another(plugins: Path) -> None:
    """`plugins` does not trust `plugins-evil`, nor what `..` leads to."""
    policy = TrustPolicy([str(plugins)], [])
    text = _refusal(policy, f"{plugins}-evil/program")
    assert f"{plugins}-evil/program" in text
    assert repr(str(plugins)) in text
    _refusal(policy, f"{plugins}/../elsewhere/program")


@pytest.mark.fault("T4")
@pytest.mark.parametrize("shape", ["{}/", "{}/.", "{}/../plugins", "{}-link"])
def test_a_trusted_directory_is_compared_by_its_real_path(plugins: Path, shape: str) -> None:
    """A trailing slash, dots or a link in the name of the trusted directory change nothing."""
    Path(f"{plugins}-link").symlink_to(plugins)
    policy = TrustPolicy([shape.format(plugins)], [])
    assert policy.check(str(plugins / "program"), [], plugin="backup").file == str(plugins / "program")
    _refusal(policy, f"{plugins}-evil/program")


@pytest.mark.req("R29")
@pytest.mark.fault("T5")
def test_a_link_out_of_a_trusted_directory_is_refused(plugins: Path) -> None:
    """What counts is where a link leads, for executables and directories alike, and the refusal says where that is."""
    (plugins / "out").symlink_to(plugins.parent / "elsewhere" / "program")
    (plugins / "folder").symlink_to(plugins.parent / "elsewhere")
    policy = TrustPolicy([str(plugins)], [])
    assert f"really '{plugins.parent}/elsewhere/program'" in _refusal(policy, str(plugins / "out"))
    _refusal(policy, str(plugins / "folder" / "program"))


@pytest.mark.fault("T5")
def test_a_link_into_a_trusted_directory_keeps_its_name(plugins: Path) -> None:
    """A link to a trusted program may run, and is executed under the name that was given."""
    link = plugins.parent / "link"
    link.symlink_to(plugins / "program")
    program = TrustPolicy([str(plugins)], []).check(str(link), [], plugin="backup")
    assert program == TrustedProgram((str(link),), str(plugins / "program"))


@pytest.mark.req("R29")
def test_an_allowed_command_may_run(plugins: Path) -> None:
    """An executable of trust.commands runs from anywhere, also through a link; others beside it do not."""
    program = plugins / "program"
    policy = TrustPolicy([], [Allowed(None, "missing"), Allowed(str(program))])
    assert policy.check(str(program), ["x"], plugin="backup").argv == (str(program), "x")
    link = plugins.parent / "link"
    link.symlink_to(program)
    assert policy.check(str(link), [], plugin="backup").argv == (str(link),)
    _refusal(policy, str(plugins / "main.py"))


@pytest.mark.req("R29")
@pytest.mark.fault("T3")
def test_an_allowed_interpreter_needs_a_trusted_script(plugins: Path) -> None:
    """Allowing an interpreter allows trusted scripts, and nothing else that it could run."""
    policy = TrustPolicy([str(plugins)], [Allowed(PYTHON)])
    script = str(plugins / "main.py")
    program = policy.check(PYTHON, ["-I", script, "-c"], plugin="backup")
    assert program == TrustedProgram((PYTHON, "-I", script, "-c"), script, script)
    assert "trust.directories" in _refusal(policy, PYTHON, f"{plugins}-evil/main.py")
    assert "{argv: [...]}" in _refusal(policy, PYTHON, "-c", "print(1)", script)
    assert "{argv: [...]}" in _refusal(policy, PYTHON)
    assert "absolute" in _refusal(policy, PYTHON, "main.py")


@pytest.mark.fault("T3", "T5")
def test_a_script_that_links_out_is_refused(plugins: Path) -> None:
    """A script is judged by its real path too."""
    (plugins / "out.py").symlink_to(plugins.parent / "elsewhere" / "main.py")
    policy = TrustPolicy([str(plugins)], [Allowed(PYTHON)])
    assert f"really '{plugins.parent}/elsewhere/main.py'" in _refusal(policy, PYTHON, str(plugins / "out.py"))


@pytest.mark.fault("T3")
def test_a_script_alone_does_not_allow_its_interpreter(plugins: Path) -> None:
    """A trusted script does not make an interpreter from elsewhere trusted."""
    assert "trust.commands" in _refusal(TrustPolicy([str(plugins)], []), PYTHON, str(plugins / "main.py"))


@pytest.mark.fault("T3")
def test_an_interpreter_inside_a_trusted_directory_needs_its_script_too(plugins: Path) -> None:
    """A runtime that is shipped in a trusted directory still runs trusted scripts only."""
    runtime = plugins / "node"
    runtime.write_text("#!/bin/sh\n")
    runtime.chmod(0o755)
    policy = TrustPolicy([str(plugins)], [])
    assert policy.check(str(runtime), [str(plugins / "main.py")], plugin="backup").file == str(plugins / "main.py")
    _refusal(policy, str(runtime), "-e", "x")
    _refusal(policy, str(runtime), f"{plugins}-evil/main.py")


@pytest.mark.fault("T3")
def test_a_link_of_another_name_hides_no_interpreter(plugins: Path) -> None:
    """An interpreter is recognised behind a link that is called otherwise."""
    link = plugins.parent / "backup"
    link.symlink_to(os.path.realpath(PYTHON))
    _refusal(TrustPolicy([str(plugins)], [Allowed(PYTHON)]), str(link), "-c", "print(1)")


@pytest.fixture(name="environments")
def make_environments(tmp_path: Path) -> Path:
    """Two virtual environments, `own` and `foreign`; each says its name when its interpreter starts."""
    for name in ("own", "foreign"):
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        packages = tmp_path / name / "lib" / version / "site-packages"
        packages.mkdir(parents=True)
        (packages / "loud.pth").write_text(f"import sys; sys.stdout.write({name!r})\n")
        (tmp_path / name / "bin").mkdir()
        for link in ("python", "python3"):
            (tmp_path / name / "bin" / link).symlink_to(os.path.realpath(PYTHON))
        home = os.path.dirname(os.path.realpath(PYTHON))
        (tmp_path / name / "pyvenv.cfg").write_text(f"home = {home}\n")
    return tmp_path


@pytest.mark.fault("T3", "T5")
def test_an_interpreter_in_a_foreign_environment_is_refused(plugins: Path, environments: Path) -> None:
    """An allowed interpreter that is reached through a link loads the modules of the link's environment."""
    script = str(plugins / "main.py")
    own, foreign = (str(environments / name / "bin" / "python") for name in ("own", "foreign"))
    (plugins / "main.py").write_text("")
    assert subprocess.run([foreign, script], stdout=subprocess.PIPE, check=True).stdout.startswith(b"foreign")
    for allowed in (own, os.path.realpath(PYTHON)):
        policy = TrustPolicy([str(plugins)], [Allowed(allowed)], permissions="off")
        text = _refusal(policy, foreign, script)
        assert "is a link in a place that is neither inside a trusted directory" in text
        assert f"add {foreign!r} to trust.commands" in text
        assert policy.check(allowed, [script], plugin="backup").argv[0] == allowed
    (plugins / "python").symlink_to(os.path.realpath(PYTHON))
    (environments / "foreign" / "sbin").symlink_to(environments / "own" / "bin")  # the right folder in a foreign one
    policy = TrustPolicy([str(plugins)], [Allowed(own)], permissions="off")
    for place in ("foreign/sbin/python", "own/../foreign/bin/python"):
        assert "is a link in a place" in _refusal(policy, str(environments / place), script), place


@pytest.mark.fault("T3", "T5")
def test_links_in_the_interpreters_own_environment_may_be_used(plugins: Path, environments: Path) -> None:
    """The link that was allowed, its neighbours, what it leads to, and environments inside trusted directories."""
    script, own = str(plugins / "main.py"), environments / "own"
    policy = TrustPolicy([str(plugins)], [Allowed(str(own / "bin" / "python"))], permissions="off")
    (environments / "linked").symlink_to(own)
    for executable in (own / "bin" / "python", own / "bin" / "python3", Path(os.path.realpath(PYTHON)),
                       environments / "linked" / "bin" / "python"):
        assert policy.check(str(executable), [script], plugin="backup").argv[0] == str(executable)
    os.rename(environments / "foreign", plugins / "venv")
    inside = str(plugins / "venv" / "bin" / "python")
    assert policy.check(inside, [script], plugin="backup").argv[0] == inside


@pytest.mark.fault("T3")
def test_an_interpreter_that_is_not_allowed_is_to_be_allowed_by_itself(plugins: Path) -> None:
    """Nobody is advised to trust the whole folder of an interpreter, which is full of other programs."""
    text = _refusal(TrustPolicy([str(plugins)], []), PYTHON, str(plugins / "main.py"))
    assert f"if it may run scripts of trusted directories, add {PYTHON!r} to trust.commands" in text
    assert "add its folder" not in text


@pytest.mark.req("R29")
@pytest.mark.fault("T3")
def test_an_exact_command_line_allows_exactly_that(plugins: Path) -> None:
    """{argv: [...]} allows one command line; an argument more, less or other does not pass, nor does another link."""
    program_line = (str(plugins.parent / "elsewhere" / "program"), "serve")
    policy = TrustPolicy([str(plugins)], [Allowed(PYTHON, "python", (PYTHON, "-m", "vendor.plugin")),
                                          Allowed(program_line[0], "program", program_line)])
    assert policy.check(program_line[0], ["serve"], plugin="backup").argv == program_line
    _refusal(policy, program_line[0], "erase")
    program = policy.check(PYTHON, ["-m", "vendor.plugin"], plugin="backup")
    assert program == TrustedProgram((PYTHON, "-m", "vendor.plugin"), os.path.realpath(PYTHON), None)
    for args in (["-m"], ["-m", "vendor.plugin", "x"], ["-m", "vendor"], ["-c", "x"], [str(plugins / "main.py")]):
        _refusal(policy, PYTHON, *args)
    link = plugins.parent / "python3"
    link.symlink_to(os.path.realpath(PYTHON))
    _refusal(policy, str(link), "-m", "vendor.plugin")


@pytest.mark.fault("T3")
def test_an_exact_command_line_with_a_script_names_it(plugins: Path) -> None:
    """Where the exact command line has a script, that is the file that runs, wherever it lies."""
    script = str(plugins / "main.py")
    argv = (PYTHON, "-X", "pycache_prefix=/x", script)
    program = TrustPolicy([], [Allowed(PYTHON, "python", argv)]).check(PYTHON, argv[1:], plugin="backup")
    assert (program.file, program.script) == (script, script)


@pytest.mark.fault("T2")
@pytest.mark.parametrize("executable", ["program", "./program", ""])
def test_a_command_is_an_absolute_path(plugins: Path, executable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative command, which PATH or the current folder would decide about, is refused even where it exists."""
    monkeypatch.chdir(plugins)
    assert "absolute" in _refusal(TrustPolicy([str(plugins)], []), executable)


@pytest.mark.fault("T2", "P1")
def test_a_command_not_on_path_says_so() -> None:
    """A bare name that was not found is a failed start, not a refusal."""
    assert "PATH" in _failure(TrustPolicy([], []), None)


@pytest.mark.fault("P1")
def test_a_missing_command_says_so(plugins: Path) -> None:
    """A file that is not there, or under a file, is a failed start that names it."""
    policy = TrustPolicy([str(plugins)], [Allowed(PYTHON)])
    for path in (plugins / "gone", plugins / "program" / "below"):
        text = _failure(policy, str(path))
        assert f"{str(path)!r}: no such file" in text
        assert "check `command`" in text
    text = _failure(policy, PYTHON, str(plugins / "gone.py"))
    assert "gone.py" in text
    assert "check `args`" in text


@pytest.mark.fault("P1")
def test_what_is_no_executable_file_says_so(plugins: Path) -> None:
    """A directory, a fifo, a file without the executable bit, a ring of links: a failed start with the reason."""
    policy = TrustPolicy([str(plugins)], [Allowed(PYTHON)])
    os.mkfifo(plugins / "fifo")
    (plugins / "ring").symlink_to("ring")
    (plugins / "program").chmod(0o644)
    assert "a directory" in _failure(policy, str(plugins))
    assert "not a regular file" in _failure(policy, str(plugins / "fifo"))
    assert "links" in _failure(policy, str(plugins / "ring"))
    assert "chmod +x" in _failure(policy, str(plugins / "program"))
    assert "a directory" in _failure(policy, PYTHON, str(plugins))


@pytest.mark.fault("T13")
def test_a_nul_character_is_refused(plugins: Path) -> None:
    """A NUL, which no command line can hold, is refused with its place."""
    policy = TrustPolicy([str(plugins)], [])
    assert "args[1]" in _refusal(policy, str(plugins / "program"), "a", "b\0c")
    assert "command" in _refusal(policy, str(plugins / "program\0x"))


def test_all_reasons_are_given_at_once(plugins: Path) -> None:
    """An executable, an option and a script that are all wrong are all named."""
    with pytest.raises(UntrustedCommand) as caught:
        TrustPolicy([str(plugins)], []).check(PYTHON, ["-X", "pycache_prefix=/x", "/bin/sh"], plugin="backup")
    assert len(caught.value.faults) == 3


@pytest.mark.fault("T6", "T14")
@pytest.mark.parametrize("place", ["plugins", "plugins/main.py"])
def test_what_others_can_write_is_refused(plugins: Path, place: str) -> None:
    """A program or script that others can change is refused at its next start, unless the checks are off."""
    script = str(plugins / "main.py")
    policy = TrustPolicy([str(plugins)], [Allowed(PYTHON)])
    policy.check(script, [], plugin="backup")
    (plugins.parent / place).chmod(0o777)
    for command in ((script,), (PYTHON, script)):
        text = _refusal(policy, *command)
        assert repr(str(plugins.parent / place)) in text
        assert "trust.permissions: standard" in text
    assert TrustPolicy([str(plugins)], [Allowed(PYTHON)], "off").check(PYTHON, [script], plugin="b").script == script


@pytest.mark.fault("T6")
def test_the_interpreter_is_checked_too(plugins: Path) -> None:
    """An allowed interpreter that others can replace is refused, though its script is safe."""
    runtime = plugins.parent / "elsewhere" / "node"
    runtime.write_text("#!/bin/sh\n")
    runtime.chmod(0o777)
    policy = TrustPolicy([str(plugins)], [Allowed(str(runtime))])
    assert repr(str(runtime)) in _refusal(policy, str(runtime), str(plugins / "main.py"))


@pytest.mark.fault("T6")
def test_strict_minds_the_group(plugins: Path) -> None:
    """`strict` refuses what `standard` accepts: a file that its group can write."""
    (plugins / "program").chmod(0o775)
    TrustPolicy([str(plugins)], []).check(str(plugins / "program"), [], plugin="backup")
    assert "group" in _refusal(TrustPolicy([str(plugins)], [], "strict"), str(plugins / "program"))


@pytest.mark.fault("T6")
def test_what_cannot_be_told_is_refused(plugins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where modes cannot be read (an entry vanished meanwhile), the answer is no."""
    def vanished(path: str, *, strict: bool) -> None:
        raise FileNotFoundError(2, "No such file or directory", path)

    monkeypatch.setattr(trust, "foreign_writers", vanished)
    assert "cannot be told" in _refusal(TrustPolicy([str(plugins)], []), str(plugins / "program"))


@pytest.mark.parametrize("directory", ["plugins", "", "./plugins"])
def test_a_trusted_directory_is_absolute(directory: str) -> None:
    """A relative trusted directory, which would move with the current folder, is a programming error."""
    with pytest.raises(ValueError, match="absolute"):
        TrustPolicy([directory], [])


def test_permissions_have_three_names() -> None:
    """Another name for the permissions is a programming error that lists the three."""
    with pytest.raises(ValueError, match="standard, strict or off"):
        TrustPolicy([], [], "lax")


@pytest.mark.fault("T7")
def test_a_checksum_that_differs_is_refused(tmp_path: Path) -> None:
    """The right sum passes in either case; another is refused with both values; a missing file is a failed start."""
    path = tmp_path / "program"
    path.write_bytes(b"x" * (3 << 20))
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    check_sha256(str(path), found, plugin="backup")
    check_sha256(str(path), found.upper(), plugin="backup")
    path.write_bytes(b"y")
    with pytest.raises(UntrustedCommand) as caught:
        check_sha256(str(path), found, plugin="backup")
    assert found in str(caught.value)
    assert hashlib.sha256(b"y").hexdigest() in str(caught.value)
    with pytest.raises(PluginStartFailed, match="gone"):
        check_sha256(str(tmp_path / "gone"), found, plugin="backup")
