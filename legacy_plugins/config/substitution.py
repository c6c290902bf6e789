"""`${NAME}` and `${NAME:-default}` in the values of `env`, filled in from the host's environment.

The default stands where the variable is unset or empty, as in a shell. `$${` is a literal `${`; any other `$` is
itself.
Texts about what is wrong name variables, never values. Pure. Any thread.
"""
from __future__ import annotations

import re
from typing import List, Mapping, Match, Tuple

_REFERENCE = re.compile(r"""
    (?P<literal>\$\$\{)
  | \$\{ (?P<name>[A-Za-z_][A-Za-z0-9_]*) (?: :- (?P<default>(?:(?!\$\{)[^}])*) )? \}
  | \$\{  # what begins like a reference and is none
""", re.VERBOSE)


def substitute(text: str, environ: Mapping[str, str]) -> Tuple[str, Tuple[str, ...]]:
    """`text` with its references filled in, and what is wrong with them, one text each."""
    problems: List[str] = []

    def fill(match: Match[str]) -> str:
        name, default = match.group("name"), match.group("default")
        if match.group("literal"):
            return "${"
        if name is None:
            problems.append("found ${ that begins no reference, expected ${NAME} or ${NAME:-default}; "
                            "a literal ${ is written $${")
            return ""
        value = environ.get(name)
        if default is not None and not value:
            return default
        if value is None:
            problems.append(f"the variable {name} is not set in the host's environment; set it, or give a default: "
                            f"${{{name}:-...}}")
            return ""
        return value

    return _REFERENCE.sub(fill, text), tuple(problems)
