"""The backup plugin, alone: what it says on the wire and what it leaves on disk."""
from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path
from typing import Callable, Iterator, List, Optional

import pytest

from examples.cargo_build import cargo
from tests.examples.wire import EXAMPLES, Wire, WireError, rust_program

CRATE = EXAMPLES / "sync_service" / "plugins" / "backup-plugin"
FILE_ROUTE = "/backups/{id}/files/{path...}"
EX_CONFIG = 78


@pytest.fixture(scope="module")
def executable() -> str:
    """The plugin's program, built once."""
    return str(rust_program(CRATE, "backup-plugin"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The plugin's backup folder."""
    return tmp_path / "backups"


@pytest.fixture
def start(executable: str, root: Path) -> Iterator[Callable[..., Wire]]:
    """Start backup plugins on that folder; all are ended after the test."""
    started: List[Wire] = []

    def begin(*arguments: str, backup_root: Optional[Path] = root) -> Wire:
        env = {} if backup_root is None else {"BACKUP_ROOT": str(backup_root)}
        started.append(Wire([executable, *arguments], env=env))
        return started[-1]

    yield begin
    for wire in started:
        wire.__exit__(None, None, None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files, a folder in it, and a link that leads out."""
    folder = tmp_path / "target"
    (folder / "sub" / "empty").mkdir(parents=True)
    (folder / "a.txt").write_text("alpha", encoding="utf-8")
    (folder / "sub" / "b ü.bin").write_bytes(bytes(range(256)))
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "outside").symlink_to(tmp_path)
    return folder


def completed(wire: Wire, folder: Path, sequence: int = 1) -> None:
    """Send the event that a synchronisation of the folder sends."""
    wire.event("SyncCompleted", {"id": sequence, "source": "/src", "target": str(folder)}, sequence)


@pytest.mark.req("R1", "R12", "R13", "R20", "R40")
def test_handshake_declares_what_it_is_and_its_routes(start: Callable[..., Wire]) -> None:
    """Name, version, capabilities, events and routes are there; POST /backups has a schema without a pattern."""
    result = start().handshake("backup-plugin")
    assert (result["name"], result["protocolVersion"], result["reverseRpc"]) == ("backup-plugin", "1.0", False)
    assert result["events"] == ["SyncCompleted"]
    assert {(route["method"], route["path"]) for route in result["routes"]} == {
        ("GET", "/backups"), ("POST", "/backups"), ("GET", "/backups/{id}"), ("GET", FILE_ROUTE), ("GET", "/status")}
    schema = next(route["schema"] for route in result["routes"] if route["method"] == "POST")
    assert schema["required"] == ["label"]
    assert "pattern" not in json.dumps(schema)


@pytest.mark.req("R8", "R17")
def test_a_completed_synchronisation_is_backed_up(start: Callable[..., Wire], folder: Path, root: Path) -> None:
    """By event alone a dated folder appears that holds the same files; links are left out and counted."""
    wire = start()
    completed(wire, folder)
    wire.log("backed up")
    listed = wire.http("GET", "/backups")["body"]["backups"]
    assert [(b["label"], b["files"], b["bytes"], b["skipped"]) for b in listed] == [("synchronisation 1", 2, 261, 2)]
    assert re.fullmatch(r"\d{8}T\d{6}Z", listed[0]["id"])
    copy = root / listed[0]["id"] / "files"
    assert sorted(str(p.relative_to(copy)) for p in copy.rglob("*")) == ["a.txt", "sub", "sub/b ü.bin", "sub/empty"]
    assert (copy / "sub" / "b ü.bin").read_bytes() == bytes(range(256))
    assert [entry.name for entry in root.iterdir()] == [listed[0]["id"]]
    assert sorted(entry.name for entry in (root / listed[0]["id"]).iterdir()) == ["backup.json", "files", "files.json"]


def test_two_backups_in_one_second_have_two_folders(start: Callable[..., Wire], folder: Path) -> None:
    """Events that fall into the same second do not meet in one folder, in one process or in two."""
    wires = [start(), start()]
    for sequence in range(1, 6):
        for wire in wires:
            completed(wire, folder, sequence)
    for wire in wires:
        wire.request("plugin/shutdown", {"reason": "let the copies end"})
    listed = wires[0].http("GET", "/backups")["body"]["backups"]
    assert len({backup["id"] for backup in listed}) == 10
    assert all(backup["files"] == 2 for backup in listed)
    assert [b["createdAt"] for b in listed] == sorted((b["createdAt"] for b in listed), reverse=True)


def test_only_so_many_backups_are_kept(start: Callable[..., Wire], folder: Path, root: Path, tmp_path: Path) -> None:
    """With `keep = 2` in its own configuration file the oldest go, and nothing half removed stays."""
    config = tmp_path / "config.toml"
    config.write_text("# mine\nroot = 'backups' # relative to this file\nkeep = 2\n", encoding="utf-8")
    wire = start("--config", str(config), backup_root=None)
    for sequence in range(1, 6):
        completed(wire, folder, sequence)
    wire.request("plugin/shutdown", {"reason": "let the copies end"})
    listed = wire.http("GET", "/backups")["body"]["backups"]
    assert [backup["sync"] for backup in listed] == [5, 4]
    assert len(list(root.iterdir())) == 2


@pytest.mark.req("R22")
def test_a_backup_can_be_asked_for(start: Callable[..., Wire], folder: Path) -> None:
    """POST /backups copies the last synchronised folder; before any synchronisation it says that there is none."""
    wire = start()
    assert wire.http("POST", "/backups", body={"label": "early"})["status"] == 409
    completed(wire, folder)
    answer = wire.http("POST", "/backups", body={"label": "before the update"})
    assert (answer["status"], answer["body"]["label"]) == (201, "before the update")
    assert answer["headers"]["location"] == f"backups/{answer['body']['id']}"
    again = start()  # another process knows the folder from the newest backup
    assert again.http("POST", "/backups", body={"label": "later"})["body"]["source"] == str(folder)


def test_details_list_the_files_in_pages(start: Callable[..., Wire], folder: Path) -> None:
    """GET /backups/{id} has the counts and the files, a part of them where asked."""
    wire = start()
    completed(wire, folder)
    backup = wire.http("POST", "/backups", body={"label": "x"})["body"]
    details = wire.http("GET", "/backups/{id}", id=backup["id"])
    assert details["body"]["entries"] == [{"path": "a.txt", "size": 5}, {"path": "sub/b ü.bin", "size": 256}]
    second = wire.http("GET", "/backups/{id}", id=backup["id"], query={"offset": ["1"], "limit": ["1"]})
    assert [entry["path"] for entry in second["body"]["entries"]] == ["sub/b ü.bin"]
    assert wire.http("GET", "/backups/{id}", id=backup["id"], query={"limit": ["-1"]})["status"] == 400
    for unknown in ("20000101T000000Z", "..", ".", "", "../backups", "x" * 300):
        assert wire.http("GET", "/backups/{id}", id=unknown)["status"] == 404


def test_a_file_is_handed_out_with_its_type(start: Callable[..., Wire], folder: Path) -> None:
    """A file's bytes come as base64 with a content type; HTML and SVG are never more than bytes."""
    (folder / "page.html").write_text("<script>", encoding="utf-8")
    wire = start()
    completed(wire, folder)
    backup = wire.http("POST", "/backups", body={"label": "x"})["body"]["id"]
    for path, kind, content in (("a.txt", "text/plain; charset=utf-8", b"alpha"),
                                ("sub/b ü.bin", "application/octet-stream", bytes(range(256))),
                                ("page.html", "application/octet-stream", b"<script>")):
        answer = wire.http("GET", FILE_ROUTE, id=backup, path=path)
        assert (answer["status"], answer["headers"]["content-type"]) == (200, kind)
        assert answer["bodyEncoding"] == "base64"
        assert base64.b64decode(answer["body"], validate=True) == content


@pytest.mark.parametrize("path", [
    "../backup.json", "sub/../../backup.json", "/etc/passwd", "//etc/passwd", "..", ".", "", "sub", "sub/",
    "./a.txt", "sub//b ü.bin", "a.txt/", "a.txt\0", "link.txt", "linked/secret.txt", "missing.txt", "a.txt/x", "pipe",
    "long" * 100,
])
def test_nothing_outside_a_backup_is_handed_out(start: Callable[..., Wire], folder: Path, root: Path, tmp_path: Path,
                                                path: str) -> None:
    """Whatever does not name a regular file, step by step and without links, does not exist."""
    wire = start()
    completed(wire, folder)
    backup = wire.http("POST", "/backups", body={"label": "x"})["body"]["id"]
    (root / backup / "files" / "linked").symlink_to(tmp_path)
    (root / backup / "files" / "link.txt").symlink_to(tmp_path / "secret.txt")
    os.mkfifo(str(root / backup / "files" / "pipe"))
    answer = wire.http("GET", FILE_ROUTE, id=backup, path=path)
    assert answer["status"] == 404
    assert "secret" not in json.dumps(answer["body"]).replace("secret.txt", "")


def test_a_large_file_is_refused(start: Callable[..., Wire], folder: Path, root: Path, tmp_path: Path) -> None:
    """Over `max_file_bytes` the answer is 413 and names the limit."""
    config = tmp_path / "config.toml"
    config.write_text("max_file_bytes = 4\n", encoding="utf-8")
    wire = start("--config", str(config))
    completed(wire, folder)
    backup = wire.http("POST", "/backups", body={"label": "x"})["body"]["id"]
    answer = wire.http("GET", FILE_ROUTE, id=backup, path="a.txt")
    assert answer["status"] == 413
    assert "4 bytes" in answer["body"]["error"]


@pytest.mark.req("R7")
def test_free_space_is_what_the_system_says(start: Callable[..., Wire], root: Path) -> None:
    """backup/freeSpace answers for its own folder, for a given one, and for one that does not exist yet."""
    wire = start()
    wire.handshake()
    statistics = os.statvfs(str(root))
    available = statistics.f_bavail * statistics.f_frsize
    for params in ({}, {"path": str(root)}, {"path": str(root / "not" / "yet")}):
        free = wire.request("backup/freeSpace", params)["freeBytes"]
        assert abs(free - available) < max(available // 10, 1 << 28)
    with pytest.raises(WireError) as caught:
        wire.request("backup/freeSpace", {"path": "relative"})
    assert caught.value.code == -32602


@pytest.mark.req("R3")
def test_a_long_copy_does_not_hold_up_answers(start: Callable[..., Wire], tmp_path: Path) -> None:
    """A health request sent behind a request for a large backup is answered before it."""
    large = tmp_path / "large"
    large.mkdir()
    for number in range(2000):
        (large / f"{number}.txt").write_bytes(b"x" * 2000)
    wire = start()
    completed(wire, large)
    body = {"route": "/backups", "path": "/backups", "method": "POST", "body": {"label": "x"}}
    wire.send({"id": 1001, "method": "plugin/handleRequest", "params": body},
              {"id": 1002, "method": "plugin/health", "params": {}})
    assert wire.response(1002)["result"]["details"]["pending"] >= 1
    assert wire.response(1001)["result"]["body"]["files"] == 2000
    assert [message["id"] for message in wire.messages] == [1002, 1001]


def test_its_own_folder_is_never_copied_into_itself(start: Callable[..., Wire], folder: Path) -> None:
    """A backup folder inside the target is left out; a target inside the backup folder is refused."""
    inside = folder / "backups"
    wire = start(backup_root=inside)
    completed(wire, folder)
    wire.log("backed up")
    assert wire.http("GET", "/backups")["body"]["backups"][0]["files"] == 2
    completed(wire, inside, 2)
    assert "lies inside the backup folder" in wire.log("no backup of")


@pytest.mark.req("R14")
def test_a_failed_backup_shows_in_health_and_status(start: Callable[..., Wire], tmp_path: Path, folder: Path,
                                                    root: Path) -> None:
    """Health is degraded with the reason until a backup succeeds; nothing half made is left."""
    wire = start()
    assert wire.request("plugin/health")["status"] == "ok"
    completed(wire, tmp_path / "gone")
    wire.log("no backup of")
    wire.request("plugin/shutdown", {"reason": "let the copier settle"})
    assert wire.request("plugin/health")["status"] == "degraded"
    status = wire.http("GET", "/status")["body"]
    assert "gone" in status["lastFailure"]
    assert (status["backups"], status["pending"]) == (0, 0)
    assert list(root.iterdir()) == []


def test_what_dead_processes_left_is_swept_away(start: Callable[..., Wire], root: Path) -> None:
    """At its start a plugin removes partial backups of processes that are gone, and those alone."""
    for name, owner in ((".partial-20240101T000000Z", "999999999"), (".partial-20240101T000001Z", str(os.getpid()))):
        (root / name).mkdir(parents=True)
        (root / name / "owner").write_text(owner, encoding="ascii")
    (root / ".trash-20240101T000002Z").mkdir()
    start().handshake()
    assert [entry.name for entry in root.iterdir()] == [".partial-20240101T000001Z"]


@pytest.mark.parametrize("text", ["root", "keep = many", "speed = 3", "root = \"x", "[table]", "keep = 1 2"])
@pytest.mark.req("R10")
def test_a_faulty_configuration_file_ends_it_with_78(start: Callable[..., Wire], tmp_path: Path, text: str) -> None:
    """EX_CONFIG tells the host not to try again; the log names the file and the line."""
    config = tmp_path / "config.toml"
    config.write_text("# first line\n" + text + "\n", encoding="utf-8")
    wire = start("--config", str(config))
    assert wire.process.wait(20) == EX_CONFIG
    assert f"{config}, line 2" in json.loads(wire.log("line 2"))["message"]


@pytest.mark.parametrize("arguments", [["--config"], ["--config", "/no/such/file"], ["--other", "x"], []])
def test_without_a_sensible_configuration_it_ends_with_78(start: Callable[..., Wire], arguments: List[str]) -> None:
    """Wrong arguments, a missing file, and no backup folder at all are configuration faults."""
    assert start(*arguments, backup_root=None).process.wait(20) == EX_CONFIG


@pytest.mark.req("R4", "R5")
def test_unknown_methods_and_broken_messages_get_standard_errors(start: Callable[..., Wire]) -> None:
    """-32601, -32700 and -32600 as in the standard; unknown notifications are ignored; the talk goes on."""
    wire = start()
    with pytest.raises(WireError) as caught:
        wire.request("backup/nothing")
    assert caught.value.code == -32601
    wire.notify("$/unknown", {})
    wire.send_bytes(b"Content-Length: 4\r\n\r\n{no}")
    assert wire.response(None)["error"]["code"] == -32700
    wire.send({"id": "odd", "params": {}})
    assert wire.response("odd")["error"]["code"] == -32600
    assert wire.request("plugin/health")["status"] == "ok"
    assert wire.http("GET", "/nothing")["status"] == 404


@pytest.mark.req("R6")
@pytest.mark.parametrize("junk", [
    b"Content-Length: 2\n\n{}", b"Content-Length: +2\r\n\r\n{}", b"{}\r\n\r\n",
    b"Content-Length: 9999999999\r\n\r\n", b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
])
def test_a_stream_that_is_not_the_protocol_ends_the_process(start: Callable[..., Wire], junk: bytes) -> None:
    """A framing fault is logged and ends the process with a failure."""
    wire = start()
    wire.handshake()
    wire.send_bytes(junk)
    assert wire.process.wait(20) == 1
    assert json.loads(wire.log("stream is broken"))["level"] == "error"


@pytest.mark.req("R15")
def test_a_stop_lets_backups_end(start: Callable[..., Wire], folder: Path, root: Path) -> None:
    """An event taken just before the end of stdin still leads to a backup; the exit code is 0."""
    wire = start()
    completed(wire, folder)
    assert wire.end() == 0
    assert len(list(root.iterdir())) == 1


def test_its_own_unit_tests_pass(executable: str) -> None:
    """Calendar, base64, df's columns and the configuration file's grammar have tests in Rust."""
    assert "test result: ok" in cargo(CRATE, "test", "--release")
