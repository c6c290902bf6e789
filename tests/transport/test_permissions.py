"""Who else can change what runs: modes and owners along the whole way to a file."""
from __future__ import annotations

import os
from pathlib import Path
from typing import List

import pytest

from legacy_plugins.transport.permissions import foreign_writers

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes and owners are POSIX")
as_root = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture(name="program")
def make_program(tmp_path: Path) -> Path:
    """A program two directories below a private one: <tmp_path>/a/b/program."""
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    for path in (tmp_path, tmp_path / "a", folder):
        path.chmod(0o755)
    program = folder / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return program


def _places(faults: List[str]) -> List[str]:
    """The path that each fault names, in quotes at its beginning."""
    return [fault.split("'")[1] for fault in faults]


@pytest.mark.fault("T6")
@pytest.mark.parametrize("strict", [False, True])
def test_what_only_we_can_write_is_fine(program: Path, strict: bool) -> None:
    """A file of ours below directories of ours has no fault, and neither has one of root's."""
    assert foreign_writers(str(program), strict=strict) == []
    assert foreign_writers("/bin/sh", strict=strict) == []


@pytest.mark.fault("T6")
@pytest.mark.parametrize("place", ["a/b/program", "a/b", "a"])
def test_others_may_write_no_step(program: Path, tmp_path: Path, place: str) -> None:
    """A file, its directory or an ancestor that everybody can write is named, with its mode and what to do."""
    (tmp_path / place).chmod(0o757)
    faults = foreign_writers(str(program))
    assert _places(faults) == [str(tmp_path / place)]
    assert "mode 0757" in faults[0]
    assert "chmod o-w" in faults[0]


@pytest.mark.fault("T6")
@pytest.mark.parametrize("place", ["a/b/program", "a/b", "a"])
def test_the_group_counts_when_strict(program: Path, tmp_path: Path, place: str) -> None:
    """What the group can write is a fault under strict, and only there."""
    (tmp_path / place).chmod(0o775)
    assert foreign_writers(str(program)) == []
    assert _places(foreign_writers(str(program), strict=True)) == [str(tmp_path / place)]


@pytest.mark.fault("T6")
def test_all_places_are_named_at_once(program: Path, tmp_path: Path) -> None:
    """Each place with a fault is named once, in the order of the way."""
    for place in ("a", "a/b", "a/b/program"):
        (tmp_path / place).chmod(0o777)
    assert _places(foreign_writers(str(program))) == [str(tmp_path / place) for place in ("a", "a/b", "a/b/program")]


@pytest.mark.fault("T6")
@pytest.mark.parametrize("strict", [False, True])
def test_a_sticky_ancestor_is_fine(program: Path, tmp_path: Path, strict: bool) -> None:
    """An ancestor such as /tmp, where others can add entries but not rename ours, is no fault."""
    (tmp_path / "a").chmod(0o1777)
    assert foreign_writers(str(program), strict=strict) == []


@pytest.mark.fault("T6")
def test_a_sticky_directory_of_the_file_itself_is_not(program: Path, tmp_path: Path) -> None:
    """Whoever can add files beside a script can add modules that it imports, so the sticky bit does not help there."""
    (tmp_path / "a" / "b").chmod(0o1777)
    assert _places(foreign_writers(str(program))) == [str(tmp_path / "a" / "b")]


@as_root
@pytest.mark.fault("T6")
def test_a_strangers_entry_in_a_sticky_ancestor(program: Path, tmp_path: Path) -> None:
    """Below a sticky ancestor an entry of somebody else is a fault: its owner can replace it."""
    (tmp_path / "a").chmod(0o1777)
    os.chown(tmp_path / "a" / "b", 65534, 65534)
    faults = foreign_writers(str(program))
    assert _places(faults) == [str(tmp_path / "a" / "b")]
    assert "uid 65534" in faults[0]


@as_root
@pytest.mark.fault("T6")
@pytest.mark.parametrize("place", ["a/b/program", "a/b", "a"])
def test_the_owner_counts_when_strict(program: Path, tmp_path: Path, place: str) -> None:
    """What belongs to neither us nor root is a fault under strict, and only there."""
    os.chown(tmp_path / place, 65534, 65534)
    assert foreign_writers(str(program)) == []
    assert _places(foreign_writers(str(program), strict=True)) == [str(tmp_path / place)]


@as_root
@pytest.mark.fault("T6")
def test_the_owner_of_a_sticky_ancestor_counts_when_strict(program: Path, tmp_path: Path) -> None:
    """The owner of a sticky directory may rename what is in it; strict wants that to be us or root."""
    (tmp_path / "a").chmod(0o1777)
    os.chown(tmp_path / "a", 65534, 65534)
    assert foreign_writers(str(program)) == []
    assert _places(foreign_writers(str(program), strict=True)) == [str(tmp_path / "a")]


@pytest.mark.fault("T5", "T6")
def test_the_way_over_links_counts(program: Path, tmp_path: Path) -> None:
    """Directories that hold a link on the way, the last one or one in the middle, are steps like any other."""
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "link").symlink_to(program)
    (tmp_path / "folder").symlink_to(os.path.join("shared", "..", "shared", "inner"))
    (shared / "inner").symlink_to(program.parent)
    shared.chmod(0o777)
    for path in (shared / "link", tmp_path / "folder" / "program", tmp_path / "folder" / "." / ".." / "b" / "program"):
        assert _places(foreign_writers(str(path))) == [str(shared)], path
    assert foreign_writers(str(program)) == []


@pytest.mark.fault("T5")
def test_a_ring_of_links_ends(tmp_path: Path) -> None:
    """Links that lead back to each other are an error, not an endless walk."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        foreign_writers(str(tmp_path / "a"))
