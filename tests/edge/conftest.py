"""One server of each kind for all tests of this folder, started when the first test wants it."""
from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Dict, Iterator

import pytest

from tests.edge.answers import DEADLY, LIES, TRUTH
from tests.edge.site import SERVERS, Site


@pytest.fixture(scope="session", params=SERVERS)
def site(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A running server; when its tests are over, it must have written no traceback."""
    folder = tmp_path_factory.mktemp(request.param)
    site = Site(request.param, folder, _cases(folder))
    _fill(site.files)
    try:
        yield site
    finally:
        site.stop()
    assert not re.findall(r"^.*Traceback \(most recent call last\):$", site.stderr(), re.MULTILINE)


def _cases(folder: Path) -> Dict[str, str]:
    told = {**LIES, **DEADLY, "the-file": TRUTH}
    return {name: lie.message.replace("%FILES%", str(folder / "files")) for name, lie in told.items()}


def _fill(files: Path) -> None:
    """What plugins may send, what they may not, and ways from the one to the other."""
    (files / "page").write_text("a page")
    (files / "data.bin").write_bytes(bytes(range(256)) * 4000)
    (files / "folder").mkdir()
    (files.parent / "secret").write_text("secret")
    (files / "link").symlink_to(files.parent / "secret")
    (files / "up").symlink_to(files.parent)
    os.mkfifo(str(files / "fifo"))
