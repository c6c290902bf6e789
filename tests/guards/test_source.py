"""What the source may not contain: rules that an experiment or a review taught, executed over the syntax trees."""
from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Tuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ("legacy_plugins",)
EVERYTHING = ("legacy_plugins", "examples", "tools", "tests")
LONGEST_FILE = 400
LONGEST_FUNCTION = 50
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@lru_cache(maxsize=None)
def _trees(*folders: str) -> Dict[str, ast.Module]:
    """Name -> syntax tree of every Python file below the folders."""
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")
                   if not {"node_modules", "target"} & set(path.parts))
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8"), str(path)) for path in paths}


def _find(folders: Tuple[str, ...], matches: Callable[[ast.AST], bool]) -> List[str]:
    """The places where a node matches, for the report of a broken rule."""
    return [f"{name}:{getattr(node, 'lineno', 1)}" for name, tree in _trees(*folders).items()
            for node in ast.walk(tree) if matches(node)]


def _called(node: ast.AST) -> str:
    """The last part of what a call calls (`run` for `subprocess.run(...)`); empty for what is no call."""
    if not isinstance(node, ast.Call):
        return ""
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def _mentions(node: ast.AST) -> Iterator[str]:
    """The names that a node of code (not a string or comment) mentions."""
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute):
        yield node.attr
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from (alias.name for alias in node.names)


def _mentions_any(names: str) -> Callable[[ast.AST], bool]:
    return lambda node: not set(names.split()).isdisjoint(_mentions(node))


def test_the_rules_have_something_to_look_at() -> None:
    """The folders are found; an empty list of files would make every rule below pass."""
    assert {"legacy_plugins/errors.py", "legacy_plugins/protocol/framing.py", "tools/environment.py",
            "tests/guards/test_source.py", "examples/flask_app/app.py"} <= set(_trees(*EVERYTHING))


def test_no_shell_and_no_preexec_fn() -> None:
    """No command passes through a shell, and no code runs between fork and exec, where any held lock hangs it."""
    assert _find(EVERYTHING, lambda node: isinstance(node, ast.keyword) and (
        node.arg == "preexec_fn"
        or (node.arg == "shell" and getattr(node.value, "value", True) is not False))) == []
    assert _find(LIBRARY, lambda node: _called(node) in {"system", "popen", "getoutput", "getstatusoutput"}) == []


def test_no_executor_in_the_library() -> None:
    """Executors block the interpreter's exit and refuse work in exit handlers; our threads are daemons."""
    assert _find(LIBRARY, _mentions_any("ThreadPoolExecutor ProcessPoolExecutor")) == []


@pytest.mark.req("D1")
def test_no_asyncio_in_the_library() -> None:
    """The library is synchronous: it has no coroutine and imports no event loop."""
    assert _find(LIBRARY, lambda node: isinstance(node, (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor))) == []
    assert _find(LIBRARY, _mentions_any("asyncio trio anyio")) == []


def test_no_signal_handler_in_the_library() -> None:
    """Signal handlers and the switch interval are the application's; death signals fire when a thread ends."""
    assert _find(LIBRARY, lambda node: (
        isinstance(node, ast.Attribute) and getattr(node.value, "id", "").strip("_") == "signal"
        and node.attr in {"signal", "set_wakeup_fd", "siginterrupt", "setitimer", "alarm"})) == []
    assert _find(LIBRARY, _mentions_any("PR_SET_PDEATHSIG prctl setswitchinterval")) == []


def test_tests_never_sleep() -> None:
    """A test waits for what it waits for (an event, a barrier, a pipe, a condition), never for time to pass."""
    assert _find(("tests",), lambda node: _called(node) == "sleep") == []
    sleep = "time.sleep" + "("  # nor does a program that a test writes out
    assert [name for name in _trees("tests") if sleep in (ROOT / name).read_text("utf-8")] == []


def test_a_file_has_one_idea() -> None:
    """No file of the library is longer than 400 lines, and none is a drawer for leftovers."""
    assert [name for name in _trees(*LIBRARY) if (ROOT / name).read_text("utf-8").count("\n") > LONGEST_FILE] == []
    drawers = {"util", "utils", "helpers", "misc", "common"}
    assert [name for name in _trees(*LIBRARY) if Path(name).stem in drawers] == []


def _length(function: ast.AST) -> int:
    """Lines of a function without its docstring."""
    assert isinstance(function, FUNCTIONS)
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function) is not None:
        lines -= (function.body[0].end_lineno or 0) - function.body[0].lineno + 1
    return lines


def test_functions_are_short() -> None:
    """No function of the library is longer than 50 lines without its docstring."""
    assert _find(LIBRARY, lambda node: isinstance(node, FUNCTIONS) and _length(node) > LONGEST_FUNCTION) == []


def test_every_module_says_what_it_owns() -> None:
    """A module begins with a docstring."""
    assert [name for name, tree in _trees(*EVERYTHING).items() if tree.body and not ast.get_docstring(tree)] == []


def test_every_module_defers_its_annotations() -> None:
    """A module of the library that defines something has `from __future__ import annotations`, for Python 3.8."""
    def defers(tree: ast.Module) -> bool:
        return any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body)

    assert [name for name, tree in _trees(*LIBRARY).items()
            if any(isinstance(node, (*FUNCTIONS, ast.ClassDef)) for node in tree.body) and not defers(tree)] == []


def test_every_test_says_what_it_expects() -> None:
    """A test's docstring is the sentence that is false when it fails."""
    assert [f"{name}:{node.lineno}" for name, tree in _trees("tests").items() for node in ast.walk(tree)
            if isinstance(node, FUNCTIONS) and node.name.startswith("test_")
            and Path(name).name.startswith("test_") and ast.get_docstring(node) is None] == []


def test_only_absolute_imports() -> None:
    """Every import of the library names its module in full, so that the floors can be read off the import lines."""
    assert _find(LIBRARY, lambda node: isinstance(node, ast.ImportFrom) and node.level > 0) == []


@pytest.mark.parametrize(("source", "rule"), [
    ("import subprocess\nsubprocess.run('ls', shell=True)", lambda node: getattr(node, "arg", "") == "shell"),
    ("import os\nos.system('ls')", lambda node: _called(node) == "system"),
    ("from concurrent.futures import ThreadPoolExecutor", _mentions_any("ThreadPoolExecutor")),
    ("def f():\n    '''Text\n    more.'''\n    a = 1\n    b = 2\n", lambda node: isinstance(node, FUNCTIONS)
     and _length(node) == 3),
])
def test_the_rules_see_what_they_forbid(source: str, rule: Callable[[ast.AST], bool]) -> None:
    """Each way of looking finds an example of what it looks for."""
    assert any(rule(node) for node in ast.walk(ast.parse(source)))
