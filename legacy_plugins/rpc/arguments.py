"""What applications hand in, checked before anything has changed: methods, time-outs, functions.

A wrong type that is accepted costs its user an afternoon: it fails later, on another thread, or never. Any thread.
"""
from __future__ import annotations

import inspect
import math
from numbers import Real
from typing import Any, Callable, Optional


def method_name(method: Any) -> str:
    """The name of a method to call; raises `TypeError`, or `ValueError` for an empty one."""
    if not isinstance(method, str):
        raise TypeError(f"a method is named by a text, such as 'report/build', not by {method!r}")
    if not method:
        raise ValueError("the method's name is empty")
    return method


def seconds(timeout: Any, *, zero: bool = True) -> Optional[float]:
    """A time-out in seconds, or None. `zero`: whether not to wait at all is a time-out too.

    Raises `TypeError` for what is no number, `ValueError` for one that is negative, infinite or NaN.
    """
    if timeout is None:
        return None
    if not isinstance(timeout, Real) or isinstance(timeout, bool):
        raise TypeError(f"a time-out is a number of seconds, not {timeout!r}")
    given = float(timeout)
    if not (0 <= given < math.inf if zero else 0 < given < math.inf):
        least = "not negative" if zero else "positive"
        raise ValueError(f"a time-out is a finite, {least} number of seconds, not {timeout!r}")
    return given


def call(method: Any, timeout: Any, on_progress: Any, *, zero: bool = True) -> Optional[float]:
    """The time-out of a call, None where none is given; raises as the others here do for each of the three."""
    method_name(method)
    if on_progress is not None:
        function(on_progress, "on_progress")
    return seconds(timeout, zero=zero)


def function(value: Any, what: str) -> Callable[..., Any]:
    """A function; `what` it is for begins the error. Raises `TypeError`, for coroutine functions too."""
    if not callable(value):
        raise TypeError(f"{what} is a function, not {value!r}")
    if inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(getattr(value, "__call__", None)):  # noqa: B004
        raise TypeError(f"{what} is a plain function, run by threads, and {value!r} is a coroutine function: call "
                        "asyncio.run() inside of one")
    return value  # type: ignore[no-any-return]
