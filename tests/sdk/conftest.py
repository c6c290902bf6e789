"""Fixtures of the plugin side's tests."""
from __future__ import annotations

from tests.sdk.plugin_process import share, start

__all__ = ["share", "start"]
