"""The setting LEGACY_PLUGINS: its values, its faults, what paths are relative to."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict

import pytest
from django.test import override_settings

from legacy_plugins.config.loader import load_config
from legacy_plugins.errors import ConfigError
from legacy_plugins.integrations.django.settings import make_host, named_hook, read_settings

EMPTY: Dict[str, Any] = {"plugins": []}


def _faults(value: Any, **more: Any) -> Any:
    with override_settings(LEGACY_PLUGINS=value, **more):
        return read_settings().faults


@pytest.mark.parametrize(("value", "words"), [
    (None, ["LEGACY_PLUGINS is missing", "CONFIG"]), ("plugins.yaml", ["'plugins.yaml'", "dict"]),
    ({}, ["['CONFIG'] is missing"]), ({"CONFIG": 7}, ["['CONFIG'] is 7"]), ({"CONFIG": ""}, ["['CONFIG'] is ''"]),
    ({"CONFIG": EMPTY, "TRUSTED": []}, ["unknown key 'TRUSTED'", "did you mean 'TRUST'?"]),
    ({"CONFIG": EMPTY, "ZZZ": 1}, ["unknown key 'ZZZ'", "known: CONFIG, TRUST"]),
    ({"CONFIG": EMPTY, "START": "now"}, ["['START'] is 'now'", "'lazy' or 'eager'"]),
    ({"CONFIG": EMPTY, "CSRF": False}, ["['CSRF'] is False", "'always' or 'browsers'"]),
    ({"CONFIG": EMPTY, "TRUST": [7]}, ["['TRUST'] is [7]", "list of directories"]),
    ({"CONFIG": EMPTY, "TRUST": None}, ["['TRUST'] is None"]),
    ({"CONFIG": EMPTY, "AUTHORIZE": "authorize"}, ["['AUTHORIZE'] is 'authorize'", "dotted path"]),
    ({"CONFIG": EMPTY, "AUTHORIZE": print}, ["['AUTHORIZE'] is <built-in"]),
    ({"CONFIG": "plugins.yaml"}, ["['CONFIG']: 'plugins.yaml' is a relative path", "BASE_DIR"]),
    ({"CONFIG": EMPTY, "TRUST": ["plugins"]}, ["['TRUST']: 'plugins' is a relative path"]),
])
def test_faults(value: Any, words: Any) -> None:
    """Each says what was found and what is expected."""
    (fault,) = _faults(value)
    assert all(word in fault for word in words), fault


def test_all_faults_are_told_at_once() -> None:
    """Those of the setting and those of the configuration that it names."""
    broken = {"CONFIG": {"plugins": [{"name": "A", "command": 7}]}, "START": 1, "nonsense": 1}
    with override_settings(LEGACY_PLUGINS=broken), pytest.raises(ConfigError) as caught:
        make_host(read_settings())
    text = str(caught.value)
    assert all(word in text for word in ("START", "nonsense", "plugins/0/name", "plugins/0/command"))


def test_paths_are_relative_to_base_dir(tmp_path: Path) -> None:
    """CONFIG, TRUST and the paths of a configuration that is given as a dict; a finished HostConfig is taken too."""
    config = {"trust": {"directories": ["own"]}, "plugins": []}
    (tmp_path / "plugins.json").write_text(json.dumps(config))
    for source in ("plugins.json", Path("plugins.json"), config, load_config(config, base_dir=str(tmp_path))):
        for trust in ("more", ["more"], [Path("more")]):
            with override_settings(BASE_DIR=tmp_path, LEGACY_PLUGINS={"CONFIG": source, "TRUST": trust}):
                host = make_host(read_settings())
            assert host.config.trust.directories == (str(tmp_path / "own"), str(tmp_path / "more"))


def test_the_hook_is_named_by_its_path() -> None:
    """What cannot be imported, and what is no function, is a fault that names both."""
    assert named_hook("os.path.join") is __import__("os").path.join
    for path, word in (("nowhere.authorize", "ModuleNotFoundError"), ("os.nothing", "os.nothing"),
                       ("os.sep", "no function")):
        with pytest.raises(ConfigError, match=word):
            named_hook(path)
