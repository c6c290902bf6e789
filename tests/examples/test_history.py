"""The example's record of synchronisations: every outcome, several threads and several processes."""
from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import List

import pytest

from examples.sync_service.history import History
from tests.examples.wire import ROOT

WRITER = """
import sys
from pathlib import Path
from examples.sync_service.history import History
print("ready", flush=True)
sys.stdin.readline()
history = History(Path(sys.argv[1]))
for number in range(20):
    history.complete(history.begin("/s", sys.argv[2]), copied=number, skipped=0, deleted=0, size=1)
"""

DYING = """
import sys
from pathlib import Path
from examples.sync_service.history import History
History(Path(sys.argv[1])).begin("/dead", "/b")
"""


@pytest.fixture
def history(tmp_path: Path) -> History:
    """An empty record in a folder that is made for it."""
    return History(tmp_path / "deep" / "history.sqlite")


def test_a_synchronisation_is_recorded_from_its_start_to_its_end(history: History) -> None:
    """A row is `running` at first, then has its figures, its times and its outcome."""
    sync_id = history.begin("/a", "/b")
    running = history.recent()[0]
    assert (running["id"], running["outcome"], running["finished"]) == (sync_id, "running", None)
    history.complete(sync_id, copied=3, skipped=2, deleted=1, size=99)
    done = history.get(sync_id)
    assert done is not None
    assert (done["source"], done["target"], done["outcome"], done["error"]) == ("/a", "/b", "completed", None)
    assert (done["copied"], done["skipped"], done["deleted"], done["bytes"]) == (3, 2, 1, 99)
    assert done["started"] <= done["finished"]
    assert done["finished"].endswith("Z")


def test_a_failure_is_recorded_with_its_reason(history: History) -> None:
    """The outcome is `failed` and the error is there."""
    sync_id = history.begin("/a", "/b")
    history.fail(sync_id, "disk full")
    row = history.get(sync_id)
    assert row is not None
    assert (row["outcome"], row["error"]) == ("failed", "disk full")


def test_the_newest_come_first_and_no_more_than_asked(history: History) -> None:
    """`recent` is bounded and ordered; an unknown id is None."""
    ids = [history.begin("/a", str(number)) for number in range(5)]
    assert [row["id"] for row in history.recent(3)] == ids[:1:-1]
    assert history.get(999) is None


def test_rows_of_dead_processes_are_closed(history: History) -> None:
    """What a process that is gone had under way becomes a failure; what a living one has stays."""
    subprocess.run([sys.executable, "-c", DYING, str(history.path)], cwd=str(ROOT), check=True, timeout=60)
    alive = history.begin("/alive", "/b")
    assert history.close_interrupted() == 1
    assert [(row["id"] == alive, row["outcome"]) for row in history.recent()] == [(True, "running"), (False, "failed")]
    assert "interrupted" in history.recent()[1]["error"]


def test_threads_may_share_a_record(history: History) -> None:
    """Eight threads write at once; no row is lost and no id is given twice."""
    ids: List[int] = []
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait(20)
        ids.extend([history.begin("/a", "/b") for _ in range(10)])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(set(ids)) == len(history.recent(1000)) == 80


def test_processes_may_make_and_share_a_record(tmp_path: Path) -> None:
    """Four worker processes open the same new file at the same moment and write; every row is there."""
    path = tmp_path / "history.sqlite"
    workers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(number)], cwd=str(ROOT),
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
               for number in range(4)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write(b"go\n")
        worker.stdin.flush()
    errors = [worker.communicate(timeout=60)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0, 0], errors
    assert len(History(path).recent(1000)) == 80
