"""docs/wire.md against the implementation: its transcript byte by byte, its tables of codes and methods."""
from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Tuple

import pytest
from flask import Flask

from legacy_plugins import PluginHost, schemas
from legacy_plugins.integrations.flask import create_blueprint
from legacy_plugins.protocol import handshake, messages
from legacy_plugins.protocol.codec import JsonCodec
from legacy_plugins.protocol.framing import FrameDecoder, encode_frame
from tests.docs.pages import ROOT, blocks

PAGE = ROOT / "docs" / "wire.md"
HOST, PLUGIN = ">", "<"

# Plays the plugin's part: reads one frame of the host for each of its own, whatever it says, and notes its bytes.
PLAYER = """
import json, sys

def read_frame():
    header = sys.stdin.buffer.readline() + sys.stdin.buffer.readline()
    return header + sys.stdin.buffer.read(int(header.split()[1])) if header else b""

steps, notes = json.load(open(sys.argv[1])), open(sys.argv[2], "wb", buffering=0)
for writer, text in steps:
    if writer == ">":
        notes.write(read_frame())
    else:
        sys.stdout.buffer.write(text.encode("utf-8"))
        sys.stdout.buffer.flush()
sys.stdin.buffer.read()
"""


class Frame(NamedTuple):
    """A frame of the transcript: who wrote it, and its bytes."""

    writer: str
    data: bytes

    @property
    def body(self) -> Any:
        """The message."""
        return json.loads(self.data.split(b"\r\n\r\n", 1)[1].decode("utf-8"))


def _transcript() -> List[Frame]:
    (block,) = (block for block in blocks(PAGE) if block.language == "wire")
    frames: List[Frame] = []
    for line in block.text.splitlines():
        writer, text = line[0], line[2:]
        assert writer in (HOST, PLUGIN), line
        data = text.replace("\\r\\n", "\r\n").encode("utf-8")
        if text.startswith("Content-Length:"):
            frames.append(Frame(writer, data))
        else:
            assert writer == frames[-1].writer, line
            frames[-1] = Frame(writer, frames[-1].data + data)
    return frames


def test_the_lengths_of_the_transcript_are_right() -> None:
    """Each side's bytes, one after the other, are whole frames: every length is that of its body, in bytes."""
    frames = _transcript()
    assert len(frames) >= 7
    for writer in (HOST, PLUGIN):
        decoder = FrameDecoder()
        bodies = decoder.feed(b"".join(frame.data for frame in frames if frame.writer == writer))
        assert decoder.error is None
        assert not decoder.partial
        assert bodies == [frame.data.split(b"\r\n\r\n", 1)[1] for frame in frames if frame.writer == writer]


def test_the_messages_of_the_transcript_are_right() -> None:
    """Each body is a JSON-RPC message in our own spelling: encoding what it says gives the same bytes again."""
    codec = JsonCodec()
    for frame in _transcript():
        value = frame.body
        messages.parse_message(value)
        assert encode_frame(codec.encode(value).encode("utf-8")) == frame.data


def test_the_examples_fit_the_schemas() -> None:
    """Params and results on the page, in the transcript and outside of it, are valid by the package's JSON Schemas."""
    sent = {frame.body["method"]: frame.body["params"] for frame in _transcript() if "method" in frame.body}
    answers = {frame.body["id"]: frame.body["result"] for frame in _transcript() if "result" in frame.body}
    request, response = (json.loads(block.text) for block in blocks(PAGE) if block.language == "json")
    for name, value in [
        ("handshake-params", sent[handshake.HANDSHAKE]), ("handshake-result", answers[1]),
        ("event-params", sent[handshake.ON_EVENT]), ("http-request-params", sent[handshake.HANDLE_REQUEST]),
        ("http-response-result", answers[2]), ("http-request-params", request), ("http-response-result", response),
    ]:
        schemas.validator(name).validate(value)


# What differs from run to run, in the order of the host's frames; everything else is compared byte by byte.
_VARIABLE = [(rb'"eventId":"[^"]+"', b'"eventId":"?"'), (rb'"timestamp":"[^"]+"', b'"timestamp":"?"'),
             (rb'"requestId":"[^"]+"', b'"requestId":"?"'), (rb'"deadlineMs":[0-9]+', b'"deadlineMs":0')]


def _settled(data: bytes) -> bytes:
    """Bodies of a stream with what varies replaced; the lengths were checked by the decoder."""
    decoder = FrameDecoder()
    bodies = b"\n".join(decoder.feed(data))
    assert decoder.error is None
    assert not decoder.partial
    for pattern, replacement in _VARIABLE:
        bodies = re.sub(pattern, replacement, bodies)
    return bodies


def _replay(folder: Path) -> Tuple[Any, bytes]:
    """Let a real host talk to the transcript's plugin; what the HTTP client got, and what the host wrote."""
    frames = _transcript()
    event = next(frame.body["params"] for frame in frames if frame.body.get("method") == handshake.ON_EVENT)
    (folder / "player.py").write_text(PLAYER, "utf-8")
    (folder / "steps.json").write_text(json.dumps([[f.writer, f.data.decode("utf-8")] for f in frames]), "utf-8")
    configuration: Dict[str, Any] = {
        "trust": {"directories": [str(folder)], "commands": ["python"], "permissions": "off"},
        "plugins": [{"name": "hello", "command": "python", "http": {"publicRoutes": ["*"]},
                     "args": [str(folder / name) for name in ("player.py", "steps.json", "notes")]}],
    }
    host = PluginHost(configuration, name="shop", version="2.4.0")
    app = Flask(__name__)
    app.register_blueprint(create_blueprint(host), url_prefix="/api/plugins")
    with host:
        host["hello"].wait_ready(20)
        metadata = {key: value for key, value in event["metadata"].items() if key not in ("eventId", "sequence")}
        host.broadcast(event["eventType"], event["payload"], metadata or None)
        response = app.test_client().get("/api/plugins/hello/greetings/Ada", headers={
            "User-Agent": "curl/8.5.0", "Accept": "application/json"})
    return response, (folder / "notes").read_bytes()


@pytest.mark.req("R4", "R6", "R7", "R8", "R39")
def test_a_real_host_writes_the_transcript(tmp_path: Path) -> None:
    """Talking to a plugin that replays its part, the host writes the transcript's bytes, and serves its answer."""
    response, written = _replay(tmp_path)
    assert response.status_code == 200, response.get_data()
    (answer,) = (frame.body["result"]["body"] for frame in _transcript()
                 if frame.writer == PLUGIN and "body" in (frame.body["result"] or {}))
    assert response.get_json() == answer
    assert _settled(written) == _settled(b"".join(frame.data for frame in _transcript() if frame.writer == HOST))


def _section(title: str) -> str:
    return PAGE.read_text("utf-8").split(f"\n{title}\n", 1)[1].split("\n## ", 1)[0]


@pytest.mark.req("R5", "R39")
def test_the_page_has_every_code_that_we_use() -> None:
    """The page's table of error codes has the ones that the implementation sends."""
    ours = {value for name, value in vars(messages).items() if name.isupper() and isinstance(value, int) and value < 0}
    assert ours
    assert ours <= {int(code) for code in re.findall(r"^\| (-\d+) \|", _section("### Error codes"), re.M)}


@pytest.mark.req("R39")
def test_the_page_has_every_method() -> None:
    """Each method of the protocol is on the page."""
    ours = {value for name, value in vars(handshake).items()
            if name.isupper() and isinstance(value, str) and value.startswith(("plugin/", "$/"))}
    assert len(ours) == 10
    assert {method for method in ours if f"`{method}`" not in PAGE.read_text("utf-8")} == set()


@pytest.mark.req("R39")
def test_the_page_has_the_handshake_that_we_send() -> None:
    """The handshake's table of params has the keys that the host sends, and no other."""
    table = _section("## Methods that the host calls").split("Result:")[0]
    sent = handshake.handshake_params("a", "b", "c", reverse_rpc=False, max_frame_bytes=1)
    assert re.findall(r"^\| `(\w+)` \|", table, re.M) == list(sent)


@pytest.mark.req("R6")
def test_the_page_says_how_to_frame() -> None:
    """The three lines that the page gives for a frame are what the encoder writes."""
    shown = _section("## Frames").split("```text\n")[1].split("```")[0]
    header, blank, _ = shown.splitlines()
    frame = encode_frame(b"{}")
    assert frame == (header.replace("<n>", "2") + blank).replace("\\r\\n", "\r\n").encode() + b"{}"
