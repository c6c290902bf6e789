"""Local environments of this checkout: makes the one asked for, or finds it made, and prints its folder of programs.

    bin=$(python3 tools/environment.py test)

An environment lives in ``.venv/<name>-<version>`` and is never seen by anything outside the checkout. Its stamp holds
all that it was made from (interpreter, place of the checkout, dependencies), so a second run is quick and a change of
any of them makes it anew. Standard library only: it runs before anything is installed.
"""
from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from typing import Dict, List, Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OLDEST = (3, 8)

# name -> (extras of the package, further requirements files)
ENVIRONMENTS: Dict[str, Tuple[str, Tuple[str, ...]]] = {
    "test": ("[flask,django,limits,test]", ("examples/flask_app/requirements.txt", "tests/servers-requirements.txt")),
    "check": ("[flask,django,limits,test]", ("tools/check-requirements.txt",)),
    "demo": ("[flask,django]", ("examples/flask_app/requirements.txt", "examples/django_app/requirements.txt")),
    "lowest": ("[flask,django,limits,test]", ("examples/flask_app/requirements.txt", "tools/lowest-requirements.txt")),
    "middle": ("[flask,django,limits,test]", ("examples/flask_app/requirements.txt", "tools/middle-requirements.txt")),
    "minimal": ("", ()),  # the package without any dependency: what a plugin's author may have
}
MADE_FROM = ("setup.cfg", "pyproject.toml", "tools/environment.py")


def main(arguments: List[str]) -> int:
    """Make or find the environment named on the command line; its exit code is that of the program."""
    if len(arguments) != 1 or arguments[0] not in ENVIRONMENTS:
        print(f"usage: python3 tools/environment.py {'|'.join(ENVIRONMENTS)}", file=sys.stderr)
        return 2
    if sys.version_info < OLDEST:
        print(f"Python {OLDEST[0]}.{OLDEST[1]} or newer is needed; {sys.executable} is {sys.version.split()[0]}. "
              "Name another one: make PYTHON=/path/to/python3 ...", file=sys.stderr)
        return 1
    name = arguments[0]
    folder = os.path.join(ROOT, ".venv", f"{name}-{sys.version_info[0]}.{sys.version_info[1]}")
    stamp = _stamp(name)
    if _read(os.path.join(folder, "stamp")) != stamp:
        try:
            _make(name, folder)
        except subprocess.CalledProcessError as error:
            print(f"Could not make {os.path.relpath(folder, ROOT)}: step {error.cmd[1:4]} failed "
                  f"with exit code {error.returncode}; its output is above.", file=sys.stderr)
            return 1
        with open(os.path.join(folder, "stamp"), "w", encoding="utf-8") as file:
            file.write(stamp)
    print(os.path.join(folder, "bin"))
    return 0


def _stamp(name: str) -> str:
    """All that the environment is made from, as one hash."""
    extras, requirements = ENVIRONMENTS[name]
    digest = hashlib.sha256()
    for part in (sys.version, os.path.realpath(sys.executable), ROOT, extras):
        digest.update(part.encode() + b"\0")
    for path in MADE_FROM + requirements:
        digest.update(_read(os.path.join(ROOT, path)).encode() + b"\0")
    return digest.hexdigest()


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _make(name: str, folder: str) -> None:
    """Make the environment from nothing. What the steps print goes to stderr: stdout carries the folder alone."""
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        package = "python3-venv" if os.path.dirname(sys.executable) == "/usr/bin" else f"python{version}-venv"
        sys.exit(f"{sys.executable} (Python {version}) cannot make virtual environments: its venv or ensurepip module "
                 f"is missing.\nOn Debian and Ubuntu: sudo apt-get update && sudo apt-get install {package}")
    print(f"Making {os.path.relpath(folder, ROOT)} with Python {sys.version.split()[0]} (only when something changed)",
          file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    _step([sys.executable, "-m", "venv", folder])
    pip = [os.path.join(folder, "bin", "python"), "-m", "pip", "install", "--disable-pip-version-check", "--quiet",
           "--use-pep517"]
    extras, requirements = ENVIRONMENTS[name]
    if name == "minimal":
        pip.append("--no-deps")
    files = [part for path in requirements for part in ("--requirement", path)]
    _step([*pip, *files, "--editable", "." + extras])


def _step(command: List[str]) -> None:
    subprocess.run(command, cwd=ROOT, stdout=sys.stderr, stdin=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
