"""Floor 5: doubles for tests of applications that use plugins. Shipped, documented, and used by our own tests."""
from legacy_plugins.testing.fake_plugin import FakeCall, FakePlugin, fake_plugin
from legacy_plugins.testing.memory import MemoryStream, memory_pair

__all__ = ["FakeCall", "FakePlugin", "MemoryStream", "fake_plugin", "memory_pair"]
