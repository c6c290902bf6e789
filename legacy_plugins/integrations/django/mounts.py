"""Where the project's URLs include the plugins'.

Owns the walk through the URL configuration, for the system checks, for `manage.py plugins routes` and for the first
request below each. Imports the project's URLs, and so its views.
"""
from __future__ import annotations

import re
from typing import Any, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from django.urls import URLResolver, get_resolver, get_urlconf
from django.urls.resolvers import LocalePrefixPattern, RegexPattern, RoutePattern

_APP_NAME = "legacy_plugins"
# A regular expression that means one text, from where it begins on; an escaped letter or digit may mean more.
_ONE_TEXT = re.compile(r"\^(?:[^\\.^$*+?{}\[\]|()]|\\[^\w])*\Z")


class Mount(NamedTuple):
    """One include. `pattern`: as the project's URLs have it; `path`: what it means, None where that may vary."""

    pattern: str
    path: Optional[str]


def mounts() -> List[Mount]:
    """All of them, in the order in which URLs are matched, for the language and the URLs of the current request."""
    return [Mount(pattern, None if text is None else "/" + text.rstrip("/"))
            for pattern, text in _prefixes(get_resolver(get_urlconf()).url_patterns, "", "")]


def _prefixes(patterns: Sequence[Any], before: str, text_before: Optional[str]) -> Iterator[Tuple[str, Optional[str]]]:
    for entry in patterns:
        if isinstance(entry, URLResolver):
            prefix, own = before + str(entry.pattern), _text(entry.pattern)
            text = None if text_before is None or own is None else text_before + own
            if entry.app_name == _APP_NAME:
                yield prefix, text
            else:
                yield from _prefixes(entry.url_patterns, prefix, text)


def _text(pattern: Any) -> Optional[str]:
    """The one text that a pattern matches at the beginning; None where it matches several, or elsewhere too."""
    source = str(pattern)
    if isinstance(pattern, LocalePrefixPattern) or (isinstance(pattern, RoutePattern) and not pattern.converters):
        return source
    if isinstance(pattern, RegexPattern) and (not source or _ONE_TEXT.match(source)):
        return re.sub(r"\\([^\w])", r"\1", source[1:])
    return None
