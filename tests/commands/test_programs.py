"""Plugins' programs, judged without starting one."""
from __future__ import annotations

from pathlib import Path

import pytest

from legacy_plugins import load_config
from legacy_plugins.commands.programs import program_faults
from legacy_plugins.errors import PluginStartFailed, UntrustedCommand


@pytest.mark.req("R26")
def test_each_plugin_that_would_not_start(tmp_path: Path) -> None:
    """One error each, of the kind that a start would have; disabled plugins are not asked."""
    good = tmp_path / "good"
    good.write_text("#!/bin/sh\ntouch started\n")
    good.chmod(0o755)
    plugins = [{"name": "good", "command": "./good"}, {"name": "gone", "command": "./gone"},
               {"name": "foreign", "command": "/bin/sh"}, {"name": "idle", "command": "./gone", "enabled": False},
               {"name": "changed", "command": "./good", "sha256": "0" * 64},
               {"name": "misspelt", "command": "pyhton"}]
    config = load_config({"trust": {"directories": ["."]}, "plugins": plugins}, base_dir=str(tmp_path))
    faults = program_faults(config)
    assert [(fault.plugin, type(fault)) for fault in faults] == [
        ("gone", PluginStartFailed), ("foreign", UntrustedCommand), ("changed", UntrustedCommand),
        ("misspelt", PluginStartFailed)]
    assert "'pyhton'" in str(faults[-1])
    assert not (tmp_path / "started").exists()
