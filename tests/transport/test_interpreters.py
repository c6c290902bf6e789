"""Which argument of an interpreter is its script, and which command lines hold code of their own."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import List, Optional

import pytest

from legacy_plugins.transport.interpreters import interpreter_script_index, read_command_line

SCRIPT = "/opt/plugins/main.jar"  # a name that suits all

# The command line, S standing for the script; what comes after it is the script's own business.
ACCEPTED = [
    "python S", "python3.11 S -c x", "python3.13t S", "python3.11-dbg S", "pypy3.10 S", "Python S", "python.exe S",
    "python -W ignore S", "python -Werror::DeprecationWarning S", "python -X utf8 S", "python -Xdev S", "python -IBu S",
    "python -uW ignore S", "python -OO -- S", "python --check-hash-based-pycs never S",
    "node S --require x", "nodejs --enable-source-maps S", "node18 --max-old-space-size=64 -- S",
    "node --unhandled-rejections strict S",
    "deno run -A --allow-net=localhost S", "deno S", "bun run --smol S", "bun S",
    "sh S -c x", "bash -eu S", "dash -euo pipefail S", "zsh -f S", "ksh93 S", "bash --norc --noprofile S", "sh +x -- S",
    "bash -O extglob S",
    "perl -wT S", "perl5.36.0 -CSD S", "perl5.36-x86_64-linux-gnu S", "ruby3.1 -w -E utf-8 S", "ruby --disable=gems S",
    "php S -r x", "php8.2 -n -d memory_limit=64M S", "php -f S", "php -f S -- -r x",
    "java -jar S -cp x", "java -Xmx64m -XX:+UseSerialGC -Dapp.mode=x -ea -jar S", "java --add-opens a/b=c -jar S",
    "lua5.4 -W S", "luajit-2.1.0-beta3 -joff S", "Rscript --vanilla S", "tclsh8.6 -encoding utf-8 S", "julia S",
    "escript S", "dotnet S", "fish S",
]
# Code on the command line, from stdin, or from elsewhere, or an option of which nothing is known.
REFUSED = [
    "python", "python -", "python -c x", "python -Bc x S", "python -cx", "python -m x", "python -umx", "python -i S",
    "python -X pycache_prefix=/x S", "python -Xpresite=x S", "python -W error::evil.Warning S", "python -W",
    "python -X", "python --unheard-of S", "python -Z S", "python -uB",
    "node", "node -", "node -e x", "node -pe x", "node --eval=x S", "node --print x", "node -r x S", "node -rx S",
    "node --require x S", "node --import=x S", "node --experimental-loader x S", "node --inspect S", "node --run x",
    "node --env-file=x S", "node --preserve-symlinks-main S", "node -i S",
    "deno -", "deno --import-map=x S", "deno -c x S", "deno run --inspect S", "bun -e x", "bun --preload x S",
    "sh", "sh -c x S", "bash -ec x", "bash -s S", "bash -i S", "bash -l S", "bash --rcfile x S", "bash --login S",
    "bash -o login S", "bash -oe S", "sh -", "sh --", "bash -O extdebug S", "zsh -b S",
    "perl -e x", "perl -wE x", "perl -Mx S", "perl -M x S", "perl -I x S", "perl -Ix S", "perl -d S", "perl -x S",
    "perl -S S", "perl -n S", "ruby -e x", "ruby -rx S", "ruby -r x S", "ruby -I x S", "ruby -C x S", "ruby -x S",
    "php -r x", "php -a", "php -S x S", "php -d auto_prepend_file=x S", "php -c x S", "php -f S -d auto_prepend_file=x",
    "php -- S", "php -fS", "php --file=S",
    "java x -jar -cp S", "java -cp x Main", "java -javaagent:x -jar S", "java -agentlib:x -jar S", "java -m x S",
    "java -XX:OnOutOfMemoryError=x -jar S", "java -XX:Flags=x -jar S", "java -Djava.ext.dirs=x -jar S",
    "java -jar -javaagent:x S", "java -jar",
    "lua -e x", "lua -l x S", "lua -i S", "lua -", "Rscript -e x", "tclsh", "julia -e x", "julia --project=x S",
    "env python S", "busybox sh S", "sudo S", "npx x", "uv run S", "xargs S", "ld-linux-x86-64.so.2 S", "R -f S",
    "/lib/ld-2.31.so S", "/lib/ld-musl-x86_64.so.1 S", "timeout 1 S", "make",
]


def _split(line: str) -> List[str]:
    return [SCRIPT if word == "S" else word for word in line.split()]


@pytest.mark.fault("T3")
@pytest.mark.req("R29")
@pytest.mark.parametrize("line", ACCEPTED)
def test_the_script_is_found_past_harmless_options(line: str) -> None:
    """Where options load no code, the script is found and nothing is held against the command line."""
    program, *args = _split(line)
    reading = read_command_line(f"/nowhere/{program}", args)
    assert reading is not None
    assert (reading.fault, reading.script) == (None, args.index(SCRIPT))
    assert interpreter_script_index(f"/nowhere/{program}", args) == args.index(SCRIPT)


@pytest.mark.fault("T3")
@pytest.mark.req("R29")
@pytest.mark.parametrize("line", REFUSED)
def test_other_code_is_a_fault(line: str) -> None:
    """Where anything but one script decides what runs, or may decide it, there is a fault or the script is no path."""
    program, *args = _split(line)
    reading = read_command_line(program if program.startswith("/") else f"/nowhere/{program}", args)
    assert reading is not None
    named: Optional[str] = None if reading.script is None else args[reading.script]
    assert reading.fault is not None or named is None or not os.path.isabs(named)


@pytest.mark.parametrize("line", ["node --require x S", "node -r x S", "ruby -I x S", "perl -I x S", "php -c x S"])
def test_an_options_value_is_not_the_script(line: str) -> None:
    """The script is told from the value of an option that is refused, so that its path can be made absolute."""
    program, *args = _split(line)
    assert interpreter_script_index(program, args) == 2


@pytest.mark.parametrize("line", [
    "java -cp x.jar vendor.Main", "java Main", "deno task start", "bun run start", "dotnet run", "ipython kernel",
    "python -m pkg", "node -e x", "env S", "python", "python -W"])
def test_what_names_no_script_is_not_taken_for_one(line: str) -> None:
    """A class, a subcommand or a module is no script: whoever makes scripts' paths absolute must leave it alone."""
    program, *args = _split(line)
    reading = read_command_line(f"/nowhere/{program}", args)
    assert reading is not None
    assert reading.fault is not None
    assert reading.script is None


@pytest.mark.parametrize("name", ["backup-plugin", "python3-backup", "nodemon", "sh2html", "deploy.py", "perltidy"])
def test_other_programs_have_no_script(name: str) -> None:
    """A program that only begins like an interpreter is none, and its arguments are its own."""
    assert read_command_line(f"/opt/plugins/{name}", ["-c", "x"]) is None
    assert interpreter_script_index(f"/opt/plugins/{name}", ["a"]) is None


def test_a_link_is_what_it_leads_to(tmp_path: Path) -> None:
    """A link of another name is the interpreter it leads to; a program of many names goes by the one in front."""
    (tmp_path / "python3.11").touch()
    (tmp_path / "backup").symlink_to("python3.11")
    (tmp_path / "perl").symlink_to("python3.11")
    (tmp_path / "busybox").touch()
    (tmp_path / "sh").symlink_to("busybox")
    (tmp_path / "ls").symlink_to("busybox")
    assert interpreter_script_index(str(tmp_path / "backup"), ["-W", "ignore", SCRIPT]) == 2
    assert interpreter_script_index(str(tmp_path / "perl"), ["-W", "ignore", SCRIPT]) == 2
    assert interpreter_script_index(str(tmp_path / "sh"), ["-e", SCRIPT]) == 1
    reading = read_command_line(str(tmp_path / "ls"), [SCRIPT])
    assert reading is not None
    assert reading.fault is not None


@pytest.mark.parametrize(("program", "source"), [
    (sys.executable, "print('ran', len(__import__('sys').argv))"), ("sh", "echo ran $(($# + 1))"),
    ("bash", "echo ran $(($# + 1))"), ("perl", "print 'ran ', @ARGV + 1"),
    ("node", "console.log('ran', process.argv.length - 1)"), ("ruby", "puts \"ran #{ARGV.length + 1}\""),
    ("php", "<?php echo 'ran ', $argc;"), ("lua", "print('ran ' .. #arg + 1)"),
])
def test_the_interpreter_agrees(program: str, source: str, tmp_path: Path) -> None:
    """What the real interpreter runs is the argument that we take for the script, the rest being the script's."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"no {program} on this machine")
    script = tmp_path / "script"
    script.write_text(source)
    stems = {os.path.basename(found).rstrip(".0123456789"), os.path.basename(program).rstrip(".0123456789")}
    lines = [line for line in ACCEPTED if line.split()[0].rstrip(".0123456789") in stems and "3.13t" not in line]
    assert lines
    for line in lines:
        if "check-hash" in line and "pypy" in sys.version.lower():
            continue
        args = [str(script) if word == "S" else word for word in line.split()[1:]]
        index = interpreter_script_index(found, args)
        assert index is not None
        after = [arg for arg in args[index + 1:] if arg != "--" or program != "php"]
        run = subprocess.run([found, *args], stdout=subprocess.PIPE, check=False, timeout=30)
        assert run.stdout.split() == [b"ran", str(1 + len(after)).encode()], line
