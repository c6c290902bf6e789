"""Functions of the application that run on other threads than its requests': in its context, whoever calls.

Owns the wrapping; it holds the application weakly, since hosts and signals hold the wrapped functions strongly.
"""
from __future__ import annotations

import functools
import weakref
from typing import Any, Callable

from flask import Flask, current_app, has_app_context


def is_current(app: Flask) -> bool:
    """Whether the calling code runs in a context of this application."""
    proxy: Any = current_app
    return has_app_context() and proxy._get_current_object() is app


def in_context(app: Flask, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, run in the context of `app`: the one that is active, or one of its own."""
    reference = weakref.ref(app)

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        known = reference()
        if known is None:
            raise RuntimeError(f"the application of {function!r} is gone")
        if is_current(known):
            return function(*args, **kwargs)
        with known.app_context():
            return function(*args, **kwargs)

    return run
