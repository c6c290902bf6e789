"""The example's service: allowed folders, one writer a folder, the record and the events."""
from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest

from examples.sync_service.events import SyncCompleted, SyncFailed, SyncStarted
from examples.sync_service.history import History
from examples.sync_service.locks import FolderBusy, folder_lock
from examples.sync_service.service import OutsideRoots, Service
from examples.sync_service.sync import SyncError

Heard = List[Tuple[str, Dict[str, Any]]]


@pytest.fixture
def service(tmp_path: Path) -> Service:
    """A service that may synchronise below `data` and `more`."""
    for root in ("data", "more"):
        (tmp_path / root).mkdir()
    (tmp_path / "data" / "in").mkdir()
    (tmp_path / "data" / "in" / "file").write_bytes(b"12345")
    roots = [tmp_path / "data", tmp_path / "more"]
    return Service(History(tmp_path / "history.sqlite"), roots, tmp_path / "locks")


@pytest.fixture
def heard() -> Iterator[Heard]:
    """What the three signals send, in order."""
    heard: Heard = []

    def listener(name: str) -> Any:
        return lambda sender, **facts: heard.append((name, facts))

    receivers = [(signal, listener(signal.name)) for signal in (SyncStarted, SyncCompleted, SyncFailed)]
    for signal, receiver in receivers:
        signal.connect(receiver, weak=False)
    yield heard
    for signal, receiver in receivers:
        signal.disconnect(receiver)


@pytest.mark.req("R16")
def test_a_synchronisation_sends_its_start_and_its_completion(service: Service, heard: Heard, tmp_path: Path) -> None:
    """SyncStarted, then SyncCompleted with the figures of the record; the files are there by then."""
    record = service.run(*service.folders("in", str(tmp_path / "more" / "out")))
    assert (record["outcome"], record["copied"], record["bytes"]) == ("completed", 1, 5)
    assert [name for name, _ in heard] == ["SyncStarted", "SyncCompleted"]
    assert heard[1][1] == {key: record[key] for key in
                           ("id", "source", "target", "copied", "skipped", "deleted", "bytes")}
    assert (tmp_path / "more" / "out" / "file").read_bytes() == b"12345"


@pytest.mark.req("R16")
def test_a_failure_is_recorded_and_sent(service: Service, heard: Heard, tmp_path: Path) -> None:
    """SyncFailed says why, and so does the record."""
    (tmp_path / "data" / "out" / "file").mkdir(parents=True)
    record = service.run(*service.folders("in", "out"))
    assert record["outcome"] == "failed"
    assert [name for name, _ in heard] == ["SyncStarted", "SyncFailed"]
    assert "stands where a file belongs" in heard[1][1]["error"] == record["error"]


@pytest.mark.parametrize("path", ["../outside", "/etc", "link", "link/deeper", "in/../../outside"])
def test_folders_outside_the_roots_are_refused(service: Service, heard: Heard, tmp_path: Path, path: str) -> None:
    """Neither as source nor as target, nor by way of a link; the error names SYNC_ROOTS."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path / "outside")
    for pair in ((path, "out"), ("in", path)):
        with pytest.raises(OutsideRoots, match="SYNC_ROOTS"):
            service.folders(*pair)
    assert heard == []


@pytest.mark.parametrize("path", ["", "a\0b", "a\nb", "\udcff"])
def test_what_is_no_path_is_refused(service: Service, path: str) -> None:
    """An empty path and characters that no folder of ours has are refused as such."""
    with pytest.raises(SyncError, match="is not the path"):
        service.folders(path, "out")


def test_a_folder_has_one_writer_at_a_time(service: Service, heard: Heard, tmp_path: Path) -> None:
    """While a folder is held it, what is in it, and what is around it are busy; its neighbours are not."""
    held = tmp_path / "more" / "held"
    with folder_lock(tmp_path / "locks", held):
        for busy in (held, held / "inside", tmp_path / "more"):
            with pytest.raises(FolderBusy):
                service.run(tmp_path / "data" / "in", busy)
        assert service.run(*service.folders("in", str(tmp_path / "more" / "other")))["outcome"] == "completed"
    assert service.run(*service.folders("in", str(held)))["outcome"] == "completed"
    assert [name for name, _ in heard] == ["SyncStarted", "SyncCompleted"] * 2


def _hold(locks: str, folder: str, connection: Any) -> None:
    with folder_lock(Path(locks), Path(folder)):
        connection.send("held")
        connection.recv()


def test_the_lock_of_another_process_counts_and_dies_with_it(tmp_path: Path) -> None:
    """A worker that is killed while it synchronises leaves the folder free."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    worker = context.Process(target=_hold, args=(str(tmp_path / "locks"), str(tmp_path / "x"), theirs))
    worker.start()
    assert ours.poll(60)
    assert ours.recv() == "held"
    with pytest.raises(FolderBusy), folder_lock(tmp_path / "locks", tmp_path / "x"):
        pass
    worker.kill()
    worker.join(60)
    worker.close()
    ours.close()
    theirs.close()
    with folder_lock(tmp_path / "locks", tmp_path / "x"):
        pass
