"""Django's protection against forged requests, for the plugins' view.

Owns when it looks: inside the view instead of before it, so that an upload's bytes can be kept for the plugin before
they are parsed for a token, and so that the setting CSRF can let programs pass. The check is Django's own, or that of
the project's subclass of it. Runs on the web server's thread.
"""
from __future__ import annotations

from typing import Any, Callable

from django.conf import settings
from django.http import HttpRequest
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.decorators import decorator_from_middleware
from django.utils.module_loading import import_string

_View = Callable[..., Any]

# What browsers send and scripts in them cannot leave out: cookies, and where a request comes from (Fetch, section 3).
_OF_BROWSERS = ("HTTP_COOKIE", "HTTP_ORIGIN", "HTTP_REFERER")


def protected(view: _View) -> _View:
    """`view` behind the check."""
    decorate: Callable[[_View], _View] = decorator_from_middleware(_middleware())
    return decorate(view)


def is_checked(request: HttpRequest, mode: str) -> bool:
    """Whether this request is to be checked: each one, or with `mode` "browsers" each that a browser may have sent."""
    if mode == "always":
        return True
    return any(value for key, value in request.META.items() if key in _OF_BROWSERS or key.startswith("HTTP_SEC_"))


def _middleware() -> type:
    """The project's own class where MIDDLEWARE has one; Django's also for a project that does without."""
    for path in settings.MIDDLEWARE:
        found = import_string(path)
        if isinstance(found, type) and issubclass(found, CsrfViewMiddleware):
            return found
    kind: type = CsrfViewMiddleware
    return kind
