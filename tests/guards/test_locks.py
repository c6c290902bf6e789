"""The table of locks in ARCHITECTURE.md against the locks in the source."""
from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Set, Tuple

ROOT = Path(__file__).resolve().parents[2]
KINDS = {"Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore"}


def _makes_lock(node: ast.AST) -> bool:
    """Whether this is `threading.Lock()` or the like; a Condition over a lock that exists is no lock of its own."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in KINDS \
        and isinstance(node.func.value, ast.Name) and node.func.value.id == "threading" and not node.args


def _locks_in_source() -> Set[Tuple[str, str]]:
    """(file, name) of every lock that the library makes."""
    found = set()
    package = ROOT / "legacy_plugins"
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            value = getattr(node, "value", None)
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and value is not None and \
                    any(_makes_lock(part) for part in ast.walk(value)):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", ast.dump(target))
                found.add((path.relative_to(package).as_posix(), name))
    return found


def _locks_in_table() -> Set[Tuple[str, str]]:
    section = (ROOT / "ARCHITECTURE.md").read_text("utf-8").split("## Locks")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `([\w/]+\.py)` \| `(?:\w+\.)?(\w+)` \| \S", section, re.M))


def test_every_lock_stands_in_the_table() -> None:
    """The table names each lock of the source, with what it guards, and no lock that is not there."""
    assert _locks_in_table() == _locks_in_source()
