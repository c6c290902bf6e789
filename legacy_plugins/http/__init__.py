"""Floor 4, the web edge without a framework: from an HTTP request to a call, and from its result to an answer."""
from __future__ import annotations

from legacy_plugins.http.access import Authorize
from legacy_plugins.http.bridge import HttpBridge
from legacy_plugins.http.messages import HttpRequest, HttpResponse

__all__ = ["Authorize", "HttpBridge", "HttpRequest", "HttpResponse"]
