"""Where the project's URLs include the plugins': found by walking, whatever lies around."""
from __future__ import annotations

from typing import Any, List

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.test import override_settings
from django.urls import include, path, re_path

from legacy_plugins.integrations.django.mounts import mounts
from tests.integrations.django.conftest import URLS


@pytest.mark.parametrize(("patterns", "expected"), [
    ([], []), ([path("api/plugins/", include(URLS))], ["/api/plugins"]), ([path("", include(URLS))], ["/"]),
    ([path("a/", include([path("x", print), path("b/", include(URLS))]))], ["/a/b"]),
    ([re_path(r"^api\.v1/", include(URLS)), path("other/", include((URLS, "legacy_plugins"), namespace="two"))],
     ["/api.v1", "/other"]),
    ([path("<slug:x>/", include(URLS))], [None]), ([re_path("^(?:a|b)/", include(URLS))], [None]),
    ([path("api:v1/", include(URLS)), path("@c++/a.b", include(URLS))], ["/api:v1", "/@c++/a.b"]),
    ([re_path("api/", include(URLS)), re_path("", include(URLS))], [None, "/"]),
    ([re_path(pattern, include(URLS)) for pattern in ("^api.v1/", r"^a\d/", "^a|b/")], [None] * 3),
    ([path("a/", include([re_path("b/", include(URLS)), re_path(r"^b\+/", include(URLS))]))], [None, "/a/b+"]),
    (i18n_patterns(path("plugins/", include(URLS))), ["/en-us/plugins"]),
])
def test_places(patterns: List[Any], expected: List[Any]) -> None:
    """The path of each include; None where it has variables."""
    with override_settings(ROOT_URLCONF=tuple(patterns)):
        assert [place.path for place in mounts()] == expected
