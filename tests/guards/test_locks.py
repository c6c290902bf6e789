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


def _conditions(tree: ast.AST) -> Set[str]:
    """The attributes and names that are made a Condition."""
    made = [node for node in ast.walk(tree) if isinstance(node, (ast.Assign, ast.AnnAssign))
            and isinstance(node.value, ast.Call)
            and getattr(node.value.func, "attr", getattr(node.value.func, "id", "")) == "Condition"]
    targets = [target for node in made for target in (node.targets if isinstance(node, ast.Assign) else [node.target])]
    return {getattr(target, "attr", getattr(target, "id", "")) for target in targets}


def test_nothing_is_entered_that_a_signal_handler_could_leave_taken() -> None:
    """`Condition` and `Event` enter their lock in Python code; a handler that raises there leaves it taken for ever.

    Where an application's threads come by, raw locks are entered (a Condition's own, too), and latches are waited for.
    """
    found = []
    for path in [*(ROOT / "legacy_plugins/host").rglob("*.py"), *(ROOT / "legacy_plugins/rpc").rglob("*.py")]:
        tree = ast.parse(path.read_text("utf-8"))
        conditions = _conditions(tree)
        for node in ast.walk(tree):
            entered = [getattr(item.context_expr, "attr", getattr(item.context_expr, "id", ""))
                       for item in node.items] if isinstance(node, ast.With) else []
            made = getattr(node.func, "attr", "") if isinstance(node, ast.Call) else ""
            if conditions.intersection(entered) or made in {"Event", "Semaphore", "BoundedSemaphore", "Barrier"}:
                found.append(f"{path.relative_to(ROOT).as_posix()}:{node.lineno}")  # type: ignore[attr-defined]
    assert found == []


def test_every_lock_stands_in_the_table() -> None:
    """The table names each lock of the source, with what it guards, and no lock that is not there."""
    assert _locks_in_table() == _locks_in_source()
