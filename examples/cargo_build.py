"""Build a Rust example: `python -m examples.cargo_build examples/minimal/rust` prints the path of its program.

An author runs `cargo build --release` and is done. A checkout must also build where the crate registry is out of
reach, so this tries, in this order,

1. the crates that Debian and Ubuntu package (librust-serde-json-dev), where they are installed;
2. the registry that cargo is set up for, with a bound on the time that it may take;
3. the same packages, fetched with `apt-get download` and unpacked below `build/`; this needs no root.

It works on a copy of the crate below `build/`, one for each of these, because each has a lock file of its own. The
finished program is put where cargo itself would have put it: `<crate>/target/release/<name>`.
"""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable, Iterator, List, NamedTuple, Sequence, Tuple

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "examples"
SYSTEM_CRATES = Path("/usr/share/cargo/registry")
INSTALL_CARGO = "apt-get install cargo librust-serde-json-dev (or rustup, for the newest)"
INSTALL_CRATES = "apt-get install librust-serde-json-dev"

RESOLVE_SECONDS = 60
COMPILE_SECONDS = 600


class CargoError(Exception):
    """The crate cannot be built: the compiler's complaint."""


class CargoMissing(CargoError):
    """cargo, or the crates that are needed, are not to be had here; the message is one line and says what to do."""


class Source(NamedTuple):
    """Where crates come from: a name for its folder, cargo's flags, and what fetches what cargo says is missing."""

    name: str
    flags: Tuple[str, ...]
    supply: Callable[[str], bool]


def build(crate: Path) -> Path:
    """Build the crate in the folder `crate`, optimised, and return the path of its program. Raises `CargoError`."""
    crate = crate.resolve()
    cargo(crate, "build", "--release")
    name = _package_name(crate)
    program = crate / "target" / "release" / name
    program.parent.mkdir(parents=True, exist_ok=True)
    partial = program.with_name(f".{name}.{os.getpid()}")
    shutil.copy2(str(WORK / "target" / "release" / name), str(partial))
    os.replace(str(partial), str(program))
    return program


def cargo(crate: Path, *command: str) -> str:
    """Run `cargo <command>` on a copy of the crate with the first source that has its crates; its standard output.

    Raises `CargoMissing` where cargo is missing or no source has the crates, `CargoError` where the command fails.
    """
    if shutil.which("cargo") is None:
        raise CargoMissing(f"cargo is not on PATH; install it: {INSTALL_CARGO}")
    complaints: List[str] = []
    for source in _sources():
        copy = _copy(crate, source)
        if _resolve(copy, source, complaints):
            done = _run(("cargo", *command, "--offline", *source.flags), copy, COMPILE_SECONDS)
            if done.returncode:
                raise CargoError(f"cargo {command[0]} failed for {crate.name}:\n{done.stderr.strip()}")
            return done.stdout
    said = "; ".join(dict.fromkeys(complaints))
    raise CargoMissing(f"the crates of {crate.name} cannot be had here ({said}); install them: {INSTALL_CRATES}")


def _sources() -> Iterator[Source]:
    if SYSTEM_CRATES.is_dir():
        yield Source("system", _directory_flags(SYSTEM_CRATES), lambda complaint: False)
    yield Source("registry", (), lambda complaint: False)
    if shutil.which("apt-get") and shutil.which("dpkg-deb"):
        yield Source("packages", _directory_flags(_unpacked()), _download_missing)


def _directory_flags(folder: Path) -> Tuple[str, ...]:
    return ("--config", 'source.crates-io.replace-with="packaged"',
            "--config", f'source.packaged.directory="{folder}"')


def _unpacked() -> Path:
    folder = WORK / "packages" / "usr" / "share" / "cargo" / "registry"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _resolve(copy: Path, source: Source, complaints: List[str]) -> bool:
    """Whether the source has all crates, after it was allowed to supply what cargo misses."""
    for _ in range(16):
        done = _run(("cargo", "fetch", *source.flags), copy, RESOLVE_SECONDS)
        if done.returncode == 0:
            return True
        if not source.supply(done.stderr):
            complaints.append(_reason(done.stderr))
            return False
    return False


def _download_missing(complaint: str) -> bool:
    """Fetch the distribution's package of the crate that cargo misses; whether there is one."""
    missing = re.search(r"no matching package named `([A-Za-z0-9_-]+)` found", complaint)
    if missing is None:
        return False
    downloads = WORK / "packages" / missing.group(1)
    shutil.rmtree(str(downloads), ignore_errors=True)
    downloads.mkdir(parents=True)
    package = "librust-{}-dev".format(missing.group(1).replace("_", "-"))
    if _run(("apt-get", "download", package), downloads, RESOLVE_SECONDS).returncode:
        return False
    unpacked = [_run(("dpkg-deb", "-x", str(file), str(WORK / "packages")), downloads, RESOLVE_SECONDS).returncode
                for file in downloads.glob("*.deb")]
    return unpacked == [0]


def _copy(crate: Path, source: Source) -> Path:
    """The crate's files below `build/`. What has not changed is not written, or cargo would compile it again."""
    copy = WORK / "crates" / f"{crate.name}-{source.name}"
    files = [Path("Cargo.toml"), *sorted(file.relative_to(crate) for file in (crate / "src").rglob("*.rs"))]
    for stale in (copy / "src").rglob("*.rs"):
        if stale.relative_to(copy) not in files:
            stale.unlink()
    for file in files:
        target = copy / file
        target.parent.mkdir(parents=True, exist_ok=True)
        content = (crate / file).read_bytes()
        if not target.is_file() or target.read_bytes() != content:
            target.write_bytes(content)
    return copy


def _run(command: Sequence[str], folder: Path, seconds: int) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ, CARGO_TARGET_DIR=str(WORK / "target"), CARGO_TERM_COLOR="never", LC_ALL="C",
                       CARGO_NET_RETRY="0", CARGO_HTTP_TIMEOUT="10")
    try:
        return subprocess.run(command, cwd=str(folder), env=environment, stdin=subprocess.DEVNULL, check=False,
                              capture_output=True, encoding="utf-8", errors="replace", timeout=seconds)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"error: {command[0]} took more than {seconds} s")


def _reason(stderr: str) -> str:
    """The last line of a complaint: cargo goes from the general to the particular."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return lines[-1] if lines else "cargo says nothing"


def _package_name(crate: Path) -> str:
    found = re.search(r'^name\s*=\s*"([^"]+)"', (crate / "Cargo.toml").read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise CargoError(f"{crate / 'Cargo.toml'} names no package")
    return found.group(1)


def main() -> int:
    """Build the crate folders given as arguments."""
    try:
        for crate in sys.argv[1:]:
            print(build(Path(crate)))
    except CargoError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
