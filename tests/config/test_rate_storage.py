"""The address of the storage in which several processes count web requests."""
from __future__ import annotations

from typing import Any, Mapping, Optional, Set

import pytest

from legacy_plugins.config import load_config
from legacy_plugins.config import rate_storage as module
from legacy_plugins.config.rate_storage import rate_storage
from tests.config.conftest import Faults

URL = "redis://user:s3cret@127.0.0.1:6379/0"


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> Set[str]:
    """The packages that count as installed; a test may take some away."""
    installed = {"limits", "redis", "pymemcache"}
    monkeypatch.setattr(module, "_is_installed", installed.__contains__)
    return installed


def _loaded(value: Any, environ: Mapping[str, str] = {}) -> Optional[str]:
    return load_config({"rateLimitStorage": value, "plugins": []}, environ=environ).rate_limit_storage


@pytest.mark.req("R10", "R27")
@pytest.mark.parametrize(("given", "expected"), [
    (None, None), (URL, URL), ("${REDIS_URL}", URL), ("${NONE:-}", None), ("redis://:${WORD}@h", "redis://:s3cret@h"),
    ("rediss://h:1/2", "rediss://h:1/2"), ("redis+unix:///run/redis.sock", "redis+unix:///run/redis.sock"),
    ("memcached://h:11211", "memcached://h:11211"),
])
def test_an_address_and_its_references(packages: Any, given: Any, expected: Optional[str]) -> None:
    """References are filled in from the environment; what comes to nothing means no storage."""
    assert _loaded(given, {"REDIS_URL": URL, "WORD": "s3cret"}) == expected


@pytest.mark.parametrize("given", ["", 7, True, ["redis://s3cret"], {"url": "s3cret"}, "s3cret", "redis:", "redis://",
                                   "http://s3cret/", "memory://", "redis://s3cret:port/", "redis://s3 cret",
                                   "redis://s3cret\n", "${MISSING}s3cret", "redis://[s3cret"])
def test_what_is_no_address(packages: Any, faults: Faults, given: Any) -> None:
    """One fault each, that names the key and never shows the value."""
    (fault,) = faults({"rateLimitStorage": given, "plugins": []})
    assert "/rateLimitStorage: " in fault
    assert "s3cret" not in fault


@pytest.mark.parametrize(("url", "missing"), [(URL, "limits"), (URL, "redis"), ("memcached://h", "pymemcache")])
def test_a_missing_package_is_told_when_the_configuration_is_loaded(packages: Set[str], faults: Faults,
                                                                    url: str, missing: str) -> None:
    """By its name, with how to install it."""
    packages.remove(missing)
    (fault,) = faults({"rateLimitStorage": url, "plugins": []})
    assert f"needs the package {missing!r}; install it: pip install" in fault
    assert "s3cret" not in fault


def test_packages_are_needed_by_those_who_have_a_storage(packages: Set[str]) -> None:
    """Without one nothing is looked for."""
    packages.clear()
    assert rate_storage(None, {}) == rate_storage("${NONE:-}", {}) == (None, [])


def test_the_address_is_in_no_repr(packages: Any) -> None:
    """It may hold a password."""
    assert "s3cret" not in repr(load_config({"rateLimitStorage": URL, "plugins": []}))
