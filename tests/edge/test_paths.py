"""Goal G11, paths: whatever the target, a plugin only gets paths that mean the same everywhere."""
from __future__ import annotations

import re

import pytest

from tests.edge.paths import TARGETS
from tests.edge.probe import ask
from tests.edge.site import Site

PREFIX = b"/api/plugins/liar"
# uWSGI takes what follows the first space for the protocol and repeats it, to the one who sent it: no valid answer,
# but nothing that an application could mend.
_NO_VERSION = {(site, case) for site in ("uwsgi", "uwsgi-router") for case in ("space", "two-versions")}
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\\\\\ufffd\ud800-\udfff]|%2[ef]|%5c|%25|%00", re.IGNORECASE)


@pytest.mark.fault("R3", "R4", "G11")
@pytest.mark.parametrize("case", TARGETS)
def test_no_plugin_gets_a_hostile_path(site: Site, case: str) -> None:
    """Refused, not found, or a path without a trace of it; no traceback, no second answer, the connection in step."""
    request = b"GET " + TARGETS[case].replace(b"%P%", PREFIX) + b" HTTP/1.1"
    if (site.name, case) in _NO_VERSION:
        with pytest.raises(AssertionError, match="not a status line"):
            ask(site.port, request)
        return
    answer, request_id = ask(site.port, request)
    for note in site.noted(request_id):
        values = [note["path"], *note["pathParams"].values()]
        for value in values:
            assert not _FORBIDDEN.search(value), value
            assert not {"", ".", ".."} & {part.partition(";")[0] for part in value.lstrip("/").split("/")}, value
    if answer is not None:
        assert answer.status in (200, 400, 404, 414, 431), answer
        assert b"Traceback" not in answer.body
        assert "x-injected" not in dict(answer.fields)
        assert (answer.status == 200) == bool(site.noted(request_id)), answer
