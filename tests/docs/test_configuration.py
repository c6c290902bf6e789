"""docs/configuration.md against the schema and the code: every key, its default, and the table of event filters."""
from __future__ import annotations

import json
import re
from typing import Any, Dict, Iterator, Tuple

import pytest

from legacy_plugins import schemas
from legacy_plugins.config.policies import EventPolicy
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "configuration.md").read_text("utf-8")
REQUIRED = "required"


def _schema_keys(schema: Dict[str, Any], prefix: str = "") -> Iterator[Tuple[str, Any]]:
    """(dotted key, default) of every key of a mapping; a mapping with a default of its own counts as one key."""
    for key, value in schema["properties"].items():
        if "properties" in value and "default" not in value:
            yield from _schema_keys(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value.get("default", REQUIRED)


def _documented_keys() -> Dict[str, Any]:
    """The same, as the page's tables tell it."""
    found = {}
    tables = PAGE.split("## Commands")[0]
    for keys, default in re.findall(r"^\| ((?:`[\w.]+`(?:, )?)+) \| (`.+?`|required) \| ", tables, re.M):
        for key in re.findall(r"`([\w.]+)`", keys):
            found[key] = default if default == REQUIRED else json.loads(default.strip("`"))
    return found


def test_every_key_stands_on_the_page_with_its_default() -> None:
    """The page has the schema's keys, all of them and no other, with the schema's defaults."""
    schema = schemas.load("config")
    expected = dict(_schema_keys(schema))
    expected.update(_schema_keys(schema["$defs"]["plugin"]))
    documented = _documented_keys()
    assert sorted(documented) == sorted(expected)
    assert documented == expected


@pytest.mark.req("R31")
def test_the_table_of_events_is_what_happens() -> None:
    """Each row of the page's include/exclude table says what the filter does."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")]
            for line in PAGE.split("## Events")[1].split("## ")[0].splitlines() if line.startswith("|")]
    types = [cell.strip("`") for cell in rows[0][2:]]
    assert types == ["SyncStarted", "SyncFailed", "UserAdded"]
    assert len(rows) == 6
    for include, exclude, *expected in rows[2:]:
        policy = EventPolicy(include=tuple(re.findall("`(.+?)`", include)),
                             exclude=tuple(re.findall("`(.+?)`", exclude)))
        assert ["yes" if policy.wants(name) else "no" for name in types] == expected
