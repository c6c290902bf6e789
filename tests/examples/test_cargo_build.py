"""How Rust examples are built: which sources of crates are tried, and what is said when none works."""
from __future__ import annotations

from pathlib import Path
from typing import Callable

import pytest

from examples import cargo_build
from examples.cargo_build import CargoError, CargoMissing, build

# A stand-in for cargo: `fetch` succeeds where the named folder of crates has serde_json, or online where allowed.
FAKE_CARGO = """#!/bin/sh
echo "$*" >> "$LOG"
folder=$(echo "$*" | sed -n 's/.*source.packaged.directory="\\([^"]*\\)".*/\\1/p')
case $1 in
fetch)
    [ -z "$folder" ] && [ -n "$ONLINE" ] && exit 0
    [ -n "$folder" ] && [ -e "$folder/serde_json" ] && exit 0
    echo 'error: no matching package named `serde_json` found' >&2; exit 101;;
build)
    [ -n "$BROKEN" ] && { echo 'error: expected `;`' >&2; exit 101; }
    mkdir -p "$CARGO_TARGET_DIR/release" && cp src/main.rs "$CARGO_TARGET_DIR/release/thing";;
esac
"""
FAKE_APT = '#!/bin/sh\n[ "$2" = librust-serde-json-dev ] && : > one.deb\n'
FAKE_DPKG = '#!/bin/sh\nmkdir -p "$3/usr/share/cargo/registry/serde_json"\n'


@pytest.fixture
def crate(tmp_path: Path) -> Path:
    """A crate of one file."""
    (tmp_path / "thing" / "src").mkdir(parents=True)
    (tmp_path / "thing" / "Cargo.toml").write_text('[package]\nname = "thing"\n', encoding="utf-8")
    (tmp_path / "thing" / "src" / "main.rs").write_text("fn main() {}\n", encoding="utf-8")
    return tmp_path / "thing"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put stand-ins for programs on PATH, and everything else of cargo_build below the test's folder."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.setattr(cargo_build, "WORK", tmp_path / "work")
    monkeypatch.setattr(cargo_build, "SYSTEM_CRATES", tmp_path / "system")
    which = cargo_build.shutil.which
    monkeypatch.setattr(cargo_build.shutil, "which", lambda name: which(name, path=str(programs)))

    def add(**texts: str) -> None:
        for name, text in texts.items():
            program = programs / name.replace("_", "-")
            program.write_text(text, encoding="utf-8")
            program.chmod(0o755)

    return add


def test_installed_crates_come_first(crate: Path, fake: Callable[..., None], tmp_path: Path) -> None:
    """With the distribution's crates installed nothing else is asked; the program lands where cargo puts it."""
    fake(cargo=FAKE_CARGO)
    (tmp_path / "system" / "serde_json").mkdir(parents=True)
    assert build(crate) == crate / "target" / "release" / "thing"
    assert (crate / "target" / "release" / "thing").read_text(encoding="utf-8") == "fn main() {}\n"
    assert all(str(tmp_path / "system") in line for line in (tmp_path / "log").read_text().splitlines())
    assert not (crate / "Cargo.lock").exists()


def test_then_the_registry(crate: Path, fake: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them cargo's own registry serves."""
    fake(cargo=FAKE_CARGO)
    monkeypatch.setenv("ONLINE", "1")
    assert build(crate).is_file()


def test_then_packages_that_are_unpacked_here(crate: Path, fake: Callable[..., None], tmp_path: Path) -> None:
    """Without a registry the packages that cargo misses are fetched and unpacked, without root."""
    fake(cargo=FAKE_CARGO, apt_get=FAKE_APT, dpkg_deb=FAKE_DPKG)
    assert build(crate).is_file()
    assert (tmp_path / "work" / "packages" / "usr" / "share" / "cargo" / "registry" / "serde_json").is_dir()


def test_nothing_works_is_one_line_with_a_command(crate: Path, fake: Callable[..., None]) -> None:
    """Where no source has the crates the error says so and what to install."""
    fake(cargo=FAKE_CARGO)
    with pytest.raises(CargoMissing, match=r"no matching package.*apt-get install librust-serde-json-dev") as caught:
        build(crate)
    assert "\n" not in str(caught.value)


def test_without_cargo_the_command_that_installs_it_is_named(crate: Path, fake: Callable[..., None]) -> None:
    """No cargo on PATH is told apart from everything else."""
    with pytest.raises(CargoMissing, match="cargo is not on PATH; install it: apt-get install cargo"):
        build(crate)


def test_a_faulty_crate_is_not_a_missing_one(crate: Path, fake: Callable[..., None],
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    """What the compiler refuses is an error with its complaint, so that no test is skipped for it."""
    fake(cargo=FAKE_CARGO)
    monkeypatch.setenv("ONLINE", "1")
    monkeypatch.setenv("BROKEN", "1")
    with pytest.raises(CargoError, match="expected `;`") as caught:
        build(crate)
    assert not isinstance(caught.value, CargoMissing)


def test_what_has_not_changed_is_not_copied_again(crate: Path, fake: Callable[..., None], tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """cargo compiles what is newer, so the copy keeps its times; removed files leave the copy too."""
    fake(cargo=FAKE_CARGO)
    monkeypatch.setenv("ONLINE", "1")
    (crate / "src" / "old.rs").write_text("", encoding="utf-8")
    build(crate)
    copy = tmp_path / "work" / "crates" / "thing-registry" / "src"
    before = (copy / "main.rs").stat().st_mtime_ns
    (crate / "src" / "old.rs").unlink()
    build(crate)
    assert (copy / "main.rs").stat().st_mtime_ns == before
    assert not (copy / "old.rs").exists()
