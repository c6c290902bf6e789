"""The running examples against their own openapi.json: schemathesis sends what that allows, and odder things.

Every answer must be no server error, and what the document says of it: status, media type, header fields, schema. An
example runs as `make demo` runs it, in a folder of the test's. With EXAMPLES=200 in the environment a run is longer.
"""
from __future__ import annotations

import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from importlib import metadata
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 100
DOCUMENT = "/api/plugins/openapi.json"
CHECKS = ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
          "response_schema_conformance"]
#: What releases from 4 on know besides: that methods and paths are told rightly, and that what is allowed is taken.
MORE_CHECKS = ["unsupported_method", "allow_header_conformance", "positive_data_acceptance", "negative_data_rejection"]
_tick = threading.Event()  # never set


def _release() -> Tuple[int, ...]:
    """The release of schemathesis that is installed."""
    return tuple(map(int, metadata.version("schemathesis").split(".")[:2]))


def _needs(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs the package `{package}`")


@pytest.fixture(scope="module", params=["flask", "django"])
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an example, which has synchronised once, so that its plugins have something to tell."""
    for package in (request.param, "gunicorn", "schemathesis"):
        _needs(package)
    if _release() < (3, 39):
        pytest.skip("needs schemathesis 3.39 or newer, which knows that `*/*` stands for any media type")
    folder = tmp_path_factory.mktemp("example")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with open(folder / "output", "wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "examples.sync_service.demo", request.param, "--port", str(port), "--instance",
             str(folder / "instance")], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            env={**os.environ, "BACKUP_ROOT": str(folder / "backups")})
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_for(url, server)
        _sent(url + "/sync", {"source": "inbox", "target": "mirror"})
        yield url
    finally:
        server.terminate()
        server.wait(SECONDS)


def _wait_for(url: str, server: Any) -> None:
    """Wait until the application answers and its plugins are ready; the first build takes a while."""
    end = time.monotonic() + SECONDS
    states = {"none": "seen"}
    while set(states.values()) - {"ready", "disabled"}:
        assert server.poll() is None
        assert time.monotonic() < end, states
        _tick.wait(0.05)
        try:
            _sent(url + DOCUMENT)
            states = _sent(url + "/healthz")["plugins"]
        except urllib.error.URLError:
            pass


def _sent(url: str, body: Any = None) -> Dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=SECONDS) as response:
        answer: Dict[str, Any] = json.load(response)
    return answer


def _command(url: str, examples: int) -> List[str]:
    """The command line of the release that is installed."""
    program = [str(Path(sys.executable).with_name("schemathesis")), "run", url]
    if _release() >= (4, 0):
        return [*program, "--checks", ",".join(CHECKS + MORE_CHECKS), "--max-examples", str(examples), "--seed", "1",
                "--continue-on-failure", "--request-timeout", "30", "--suppress-health-check", "all"]
    checks = [part for check in CHECKS for part in ("--checks", check)]
    return [*program, *checks, "--hypothesis-max-examples", str(examples), "--hypothesis-seed", "1",
            "--experimental", "openapi-3.1", "--request-timeout", "30000", "--hypothesis-deadline", "30000",
            "--hypothesis-suppress-health-check", "too_slow,data_too_large,filter_too_much"]


@pytest.mark.timeout(20 * SECONDS)
@pytest.mark.req("R22")
@pytest.mark.fault("R2", "R20")
def test_every_answer_is_what_the_document_says(example: str, tmp_path: Path) -> None:
    """No failure in any operation of the document, and no operation left out."""
    paths = _sent(example + DOCUMENT)["paths"]
    operations = [(path, method) for path, item in paths.items() for method in item if method != "parameters"]
    assert len(operations) >= 6  # of the report plugin alone, which needs no other language
    command = _command(example + DOCUMENT, int(os.environ.get("EXAMPLES", "15")))
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=10 * SECONDS, text=True, encoding="utf-8",
                          env={**os.environ, "PYTHONUTF8": "1", "NO_COLOR": "1"})
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    tested = re.search(r"Tested: (\d+)|Collected API operations: (\d+)", done.stdout)
    assert tested is not None, done.stdout[-5000:]
    assert int(tested.group(1) or tested.group(2)) == len(operations)
