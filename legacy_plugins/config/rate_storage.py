"""The address of the storage in which several processes count web requests together.

Owns its meaning: references to the host's environment, since it may hold a password, the kinds of storage that are
supported, and the packages that each needs, which are extras. Its texts never show the address. Imports none of those
packages; the web edge does, at its first request. Calling thread only.
"""
from __future__ import annotations

import importlib.util
from typing import Iterator, List, Mapping, Optional, Tuple
from urllib.parse import urlsplit

from legacy_plugins.config.substitution import substitute

# Which package speaks to a storage of which scheme.
_DRIVERS = {"redis": "redis", "rediss": "redis", "redis+unix": "redis", "memcached": "pymemcache"}


def rate_storage(given: Optional[str], environ: Mapping[str, str]) -> Tuple[Optional[str], List[str]]:
    """The address that a configuration means, and what is wrong with it, one text each.

    `given`: the value of `rateLimitStorage`. None, and references that come to nothing (`${REDIS_URL:-}`), mean that
    there is no storage. `environ`: where `${NAME}` is looked up.
    """
    if given is None:
        return None, []
    url, problems = substitute(given, environ)
    if problems or not url:
        return None, list(problems)
    return url, list(_faults(url))


def _faults(url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url)
        valid = bool(parts.netloc or parts.path) and url.isprintable() and " " not in url
        valid = valid and (parts.scheme == "memcached" or parts.port != 0)  # raises for a port that is no number
    except ValueError:
        valid = False
    if not valid or parts.scheme not in _DRIVERS:
        kinds = ", ".join(f"{scheme}://..." for scheme in _DRIVERS)
        yield f"found a string, expected the address of a storage: {kinds}"
        return
    for package in ("limits", _DRIVERS[parts.scheme]):
        if not _is_installed(package):
            yield (f"found a storage of the kind {parts.scheme}, which needs the package {package!r}; install it: "
                   f"pip install limits {_DRIVERS[parts.scheme]}")


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
