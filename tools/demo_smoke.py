"""`make demo` and `make demo-django` as a reader runs them: serve, synchronise, answer for a plugin, end with Ctrl-C.

    python tools/demo_smoke.py [PYTHON [TARGET ...]]

For continuous integration, on Linux: it reads ``/proc`` to see that no process is left. The examples' own tests look at
what the application does; this looks at the command. Standard library only.
"""
from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any, Dict, List, Optional, Set, Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
START_SECONDS = 600  # the environment and the Rust plugin are made first
STOP_SECONDS = 30
TARGETS = ("demo", "demo-django")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def fetch(url: str, body: Optional[Dict[str, Any]] = None) -> Tuple[int, bytes]:
    """Status and body of a GET, or of a POST of JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def processes() -> Dict[int, Tuple[int, str]]:
    """pid -> (parent's pid, start time) of all processes; start times tell a pid from its next owner."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] != "Z":
                found[int(entry)] = (int(fields[1]), fields[19])
    return found


def descendants(root: int) -> Set[Tuple[int, str]]:
    """(pid, start time) of all processes below `root`."""
    table = processes()
    below, grown = {root}, True
    while grown:
        more = {pid for pid, (parent, _) in table.items() if parent in below} - below
        grown = bool(more)
        below |= more
    return {(pid, table[pid][1]) for pid in below if pid in table}


def wait_until(what: str, seconds: float, check: Any) -> Any:
    """Poll a condition of another process, which sends no news; its first true value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = check()
        if value:
            return value
        select.select([], [], [], 0.2)
    sys.exit(f"after {seconds:.0f} s still not: {what}")


def serving(base: str, demo: subprocess.Popen[bytes]) -> bool:
    """Whether the home page answers; ends this program where the demo has ended."""
    if demo.poll() is not None:
        sys.exit(f"the demo ended with exit code {demo.returncode}")
    try:
        return fetch(f"{base}/")[0] == 200
    except OSError:
        return False


def use(base: str) -> None:
    """Synchronise the sample folder and fetch the report that the Python plugin draws of it."""
    status, body = fetch(f"{base}/sync", {"source": "inbox", "target": "mirror"})
    if status != 200 or json.loads(body)["outcome"] != "completed":
        sys.exit(f"POST /sync answered {status}: {body.decode()}")
    status, body = fetch(f"{base}/api/plugins/report/report.svg")
    if status != 200 or b"<svg" not in body:
        sys.exit(f"the report answered {status}: {body.decode()}")


def run(target: str, python: str) -> None:
    """Run one demo from start to Ctrl-C."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    command = ["make", "--no-print-directory", target, f"PORT={port}", f"PYTHON={python}"]
    demo = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, start_new_session=True)
    started: Set[Tuple[int, str]] = set()
    try:
        wait_until("the home page answers", START_SECONDS, lambda: serving(base, demo))
        use(base)
        started = descendants(demo.pid)
    finally:
        if demo.poll() is None:
            os.killpg(demo.pid, signal.SIGINT)  # what Ctrl-C does in a terminal
            demo.wait(STOP_SECONDS)
    wait_until("all processes of the demo are gone", STOP_SECONDS, lambda: not {
        process for process in started if processes().get(process[0], (0, ""))[1] == process[1]})
    print(f"make {target}: served, synchronised, drew; {len(started)} processes ended with Ctrl-C", flush=True)


def main(arguments: List[str]) -> int:
    """Run the demos one after the other."""
    python, *targets = arguments or ["python3"]
    for target in targets or TARGETS:
        run(target, python)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
