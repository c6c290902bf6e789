"""The plugins' URLs, for `include`: one pattern that takes whatever follows the prefix.

Which plugin and which route a request means is the bridge's to say, so the pattern takes any path, line ends and
doubled slashes too.
"""
from __future__ import annotations

from django.urls import re_path

from legacy_plugins.integrations.django.views import plugin_request

app_name = "legacy_plugins"
urlpatterns = [re_path(r"(?P<path>[\s\S]*)\Z", plugin_request, name="request")]
