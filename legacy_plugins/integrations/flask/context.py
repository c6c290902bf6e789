"""Functions of the application that run on other threads than its requests': in its context, whoever calls.

Owns the wrapping; it holds the application weakly, since hosts and signals hold the wrapped functions strongly.
"""
from __future__ import annotations

import functools
import weakref
from contextlib import nullcontext
from typing import Any, Callable, ContextManager

from flask import Flask, current_app, has_app_context


def is_current(app: Flask) -> bool:
    """Whether the calling code runs in a context of this application."""
    proxy: Any = current_app
    return has_app_context() and proxy._get_current_object() is app


def context_of(app: Flask) -> Callable[[], ContextManager[Any]]:
    """A function that gives a new context of `app`, and none once the application is gone."""
    reference = weakref.ref(app)

    def context() -> ContextManager[Any]:
        known = reference()
        return nullcontext() if known is None else known.app_context()

    return context


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
