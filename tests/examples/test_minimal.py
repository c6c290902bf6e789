"""The minimal examples: handshake, events, one route, in as few lines as promised."""
from __future__ import annotations

import sys
from pathlib import Path
from typing import Callable, Dict, List

import pytest

from tests.examples.wire import EXAMPLES, ROOT, Wire, WireError, program, rust_program

MINIMAL = EXAMPLES / "minimal"
COMMANDS: Dict[str, Callable[[], List[str]]] = {
    "Node": lambda: [program("node", "the minimal Node plugin"), str(MINIMAL / "minimal.js")],
    "Rust": lambda: [str(rust_program(MINIMAL / "rust", "the minimal Rust plugin"))],
    "Python": lambda: [sys.executable, str(MINIMAL / "minimal.py")],
}


@pytest.mark.req("R1", "R6", "R8", "R12", "R13", "R20", "R22", "R40")
@pytest.mark.parametrize("language", list(COMMANDS))
def test_it_answers_the_handshake_prints_events_and_serves_its_route(language: str) -> None:
    """The whole chain of a plugin: handshake, event, route, unknown method, shutdown, end of stdin."""
    with Wire(COMMANDS[language](), env={"PYTHONPATH": str(ROOT)}) as wire:
        metadata = wire.handshake(f"minimal-{language.lower()}")
        assert metadata["name"] == f"minimal-{language.lower()}"
        assert [route["path"] for route in metadata["routes"]] == ["/hello"]
        wire.event("SyncStarted", {"folder": "/daten/ä"}, 1)
        assert "/daten/ä" in wire.log("event SyncStarted")
        answer = wire.http("GET", "/hello")
        assert answer.get("status", 200) == 200
        assert answer["body"] == {"hello": f"from {language}", "method": "GET", "path": "/hello"}
        with pytest.raises(WireError) as caught:
            wire.request("no/such")
        assert caught.value.code == -32601
        wire.request("plugin/shutdown", {"reason": "test"})
        assert wire.end() == 0


@pytest.mark.parametrize(("file", "most"), [("minimal.js", 70), ("rust/src/main.rs", 70), ("minimal.py", 20)])
def test_it_is_small(file: str, most: int) -> None:
    """Each is one small file."""
    assert len(Path(MINIMAL / file).read_text(encoding="utf-8").splitlines()) <= most
