"""References to the host's environment."""
from __future__ import annotations

import pytest

from legacy_plugins.config.substitution import substitute

ENVIRON = {"TOKEN": "s3cret", "EMPTY": "", "BRACES": "${TOKEN}"}


@pytest.mark.parametrize(("text", "expected"), [
    ("", ""),
    ("plain", "plain"),
    ("${TOKEN}", "s3cret"),
    ("a${TOKEN}b${TOKEN}", "as3cretbs3cret"),
    ("${EMPTY}", ""),
    ("${EMPTY:-other}", "other"),
    ("${MISSING:-}", ""),
    ("${MISSING:-a b:-c}", "a b:-c"),
    ("${MISSING:-pa$$word}", "pa$$word"),
    ("${TOKEN:-other}", "s3cret"),
    ("${BRACES}", "${TOKEN}"),
    ("$${TOKEN}", "${TOKEN}"),
    ("pa$$word $HOME $", "pa$$word $HOME $"),
    ("a{b}c}", "a{b}c}"),
])
def test_references_are_filled_in(text: str, expected: str) -> None:
    """Only ${NAME} and ${NAME:-default} are references, filled in once; $${ is a literal; any other $ is itself."""
    assert substitute(text, ENVIRON) == (expected, ())


def test_a_missing_variable_is_named() -> None:
    """What is not set and has no default is a fault that names the variable, each time."""
    _, problems = substitute("${MISSING}${TOKEN}${OTHER}", ENVIRON)
    assert len(problems) == 2
    assert "variable MISSING is not set" in problems[0]
    assert "variable OTHER is not set" in problems[1]


@pytest.mark.parametrize("text", ["${", "${}", "${1A}", "${A", "${A:b}", "${A B}", "${MISSING:-${TOKEN}}", "${é}"])
def test_half_a_reference_is_a_fault_that_quotes_nothing(text: str) -> None:
    """A ${ that begins no reference is a mistake, and may stand inside a secret."""
    _, problems = substitute(f"hunter2{text}", ENVIRON)
    assert problems
    assert "begins no reference" in problems[0]
    assert "hunter2" not in "".join(problems)
    assert "s3cret" not in "".join(problems)
