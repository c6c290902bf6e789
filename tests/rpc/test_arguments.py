"""What applications hand in is checked before anything has changed."""
from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any

import pytest

from legacy_plugins.rpc import arguments


@pytest.mark.parametrize(("given", "taken"), [(None, None), (0, 0.0), (2, 2.0), (0.5, 0.5), (Fraction(1, 2), 0.5)])
def test_time_outs_are_numbers_of_seconds(given: Any, taken: Any) -> None:
    """Any real number that is finite and not negative; None is none."""
    assert arguments.seconds(given) == taken
    assert arguments.call("a", given, None) == taken


@pytest.mark.parametrize(("given", "kind"), [
    ("5", TypeError), (True, TypeError), (timedelta(1), TypeError), (Decimal(5), TypeError), (1j, TypeError),
    (-1, ValueError), (float("nan"), ValueError), (float("inf"), ValueError),
])
def test_other_time_outs_are_refused(given: Any, kind: Any) -> None:
    """The error shows what was given; where not to wait is no choice, zero is refused too."""
    for check in (arguments.seconds, lambda value: arguments.call("a", value, None)):
        with pytest.raises(kind, match="a time-out is a"):
            check(given)
    with pytest.raises(ValueError, match="positive"):
        arguments.seconds(0, zero=False)


def test_functions() -> None:
    """Whatever can be called; not what would return a coroutine that nobody awaits."""
    async def later() -> None:
        pass

    class Later:
        async def __call__(self) -> None:
            pass
    assert arguments.function(len, "it") is len
    assert callable(arguments.function(partial(len, ()), "it"))
    for wrong in (5, None, later, Later()):
        with pytest.raises(TypeError, match=r"^it is a "):
            arguments.function(wrong, "it")
