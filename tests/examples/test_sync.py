"""The example's engine: one folder made a copy of another, and nothing else touched."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict

import pytest

from examples.sync_service import sync
from examples.sync_service.sync import SyncError, check_folders, folder_size, synchronise


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with files, folders, an empty folder and an empty file."""
    source = tmp_path / "source"
    (source / "sub" / "deep").mkdir(parents=True)
    (source / "empty").mkdir()
    (source / "a.txt").write_bytes(b"alpha")
    (source / "nothing").write_bytes(b"")
    (source / "sub" / "deep" / "b ü.bin").write_bytes(os.urandom(3 << 20))
    return source


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A folder that does not exist yet."""
    return tmp_path / "target"


def tree(folder: Path) -> Dict[str, Any]:
    """Everything in a folder: files by content, links by where they lead, folders as None."""
    found: Dict[str, Any] = {}
    for path in folder.rglob("*"):
        content: Any = os.readlink(str(path)) if path.is_symlink() else None if path.is_dir() else path.read_bytes()
        found[str(path.relative_to(folder))] = content
    return found


def test_a_first_run_copies_everything(source: Path, target: Path) -> None:
    """Files, folders and empty folders are in the target; modes and times are the source's."""
    os.chmod(str(source / "a.txt"), 0o640)
    os.utime(str(source / "a.txt"), (1_600_000_000, 1_600_000_000))
    result = synchronise(source, target)
    assert (result.copied, result.skipped, result.deleted, result.size) == (3, 0, 0, folder_size(source))
    assert tree(target) == tree(source)
    status = (target / "a.txt").stat()
    assert (status.st_mode & 0o777, int(status.st_mtime)) == (0o640, 1_600_000_000)


def test_a_second_run_copies_only_what_changed(source: Path, target: Path) -> None:
    """Content decides, by SHA-256: the same size and time with other bytes is copied, a new time alone is not."""
    synchronise(source, target)
    times = (source / "a.txt").stat()
    (source / "a.txt").write_bytes(b"ALPHA")
    os.utime(str(source / "a.txt"), ns=(times.st_atime_ns, times.st_mtime_ns))
    os.utime(str(source / "nothing"), (1, 1))
    (source / "new.txt").write_bytes(b"new")
    result = synchronise(source, target)
    assert (result.copied, result.skipped, result.size) == (2, 2, 8)
    assert tree(target) == tree(source)


def test_what_only_the_target_has_stays_unless_deletion_is_asked_for(source: Path, target: Path) -> None:
    """Extra files, folders and links go with `delete`, and links are removed themselves, not what they lead to."""
    (target / "extra" / "deep").mkdir(parents=True)
    (target / "extra" / "deep" / "file").write_bytes(b"x")
    (target / "out").symlink_to(source)
    assert synchronise(source, target).deleted == 0
    assert (target / "extra" / "deep" / "file").exists()
    assert synchronise(source, target, delete=True).deleted == 2
    assert tree(target) == tree(source)
    assert (source / "a.txt").exists()


def test_links_in_the_source_are_neither_followed_nor_copied(source: Path, target: Path, tmp_path: Path) -> None:
    """A link to a file, to a folder, to nowhere, in a circle, and a pipe are counted and left out."""
    (tmp_path / "secret").write_bytes(b"secret")
    (source / "file-link").symlink_to(tmp_path / "secret")
    (source / "folder-link").symlink_to(tmp_path)
    (source / "broken").symlink_to("nowhere")
    (source / "circle").symlink_to(source)
    os.mkfifo(str(source / "pipe"))
    result = synchronise(source, target)
    assert (result.copied, result.links) == (3, 5)
    assert "secret" not in str(sorted(tree(target)))


@pytest.mark.parametrize("place", ["sub", "a.txt"])
def test_links_in_the_target_are_never_written_through(source: Path, target: Path, tmp_path: Path, place: str) -> None:
    """A link where a folder or a file belongs is an error; with `delete` the link gives way. Its goal is untouched."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(b"kept")
    target.mkdir()
    (target / place).symlink_to(outside if place == "sub" else outside / "kept")
    with pytest.raises(SyncError, match=place):
        synchronise(source, target)
    assert tree(outside) == {"kept": b"kept"}
    synchronise(source, target, delete=True)
    assert tree(target) == tree(source)
    assert tree(outside) == {"kept": b"kept"}


def test_a_file_and_a_folder_of_one_name_are_an_error_without_deletion(source: Path, target: Path) -> None:
    """What stands in the way is named; with `delete` it is replaced, in both directions."""
    (target / "a.txt").mkdir(parents=True)
    (target / "a.txt" / "inside").write_bytes(b"x")
    with pytest.raises(SyncError, match=r"a\.txt stands where a file belongs"):
        synchronise(source, target)
    assert synchronise(source, target, delete=True).deleted == 1
    (source / "a.txt").unlink()
    (source / "a.txt").mkdir()
    with pytest.raises(SyncError, match=r"a\.txt stands where a folder belongs"):
        synchronise(source, target)
    synchronise(source, target, delete=True)
    assert tree(target) == tree(source)


@pytest.mark.parametrize("places", [("x", "x"), ("x", "x/y"), ("x/y", "x"), ("x", "link"), ("x", "link/y"),
                                    ("x", "new/../x/y")])
def test_a_folder_is_never_synchronised_with_itself_or_a_part_of_itself(tmp_path: Path, places: Any) -> None:
    """The same folder, a child and a parent are refused, also by way of a link."""
    (tmp_path / "x" / "y").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "x")
    before = tree(tmp_path)
    with pytest.raises(SyncError, match=r"same folder|lies in the other"):
        synchronise(tmp_path / places[0], tmp_path / places[1], delete=True)
    assert tree(tmp_path) == before


def test_neighbours_with_a_common_beginning_are_two_folders(tmp_path: Path) -> None:
    """`data` and `data-copy` do not lie in each other."""
    (tmp_path / "data").mkdir()
    check_folders(tmp_path / "data", tmp_path / "data-copy")


@pytest.mark.parametrize("places", [("missing", "t"), ("file", "t"), ("folder", "file")])
def test_both_must_be_folders(tmp_path: Path, places: Any) -> None:
    """A missing source, and a file in either place, are refused with its path."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(SyncError, match="is not a folder"):
        synchronise(tmp_path / places[0], tmp_path / places[1])


def test_a_file_is_replaced_whole_or_not_at_all(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where copying fails half-way the old file is still there, whole, and no temporary file beside it."""
    synchronise(source, target)
    (source / "a.txt").write_bytes(b"other")

    def torn(file: Any) -> Any:
        yield b"oth"
        raise OSError("disk full")

    monkeypatch.setattr(sync, "_chunks", torn)
    with pytest.raises(OSError, match="disk full"):
        sync._copy(source / "a.txt", target / "a.txt")
    assert (target / "a.txt").read_bytes() == b"alpha"
    assert sorted(path.name for path in target.iterdir()) == sorted(path.name for path in source.iterdir())
