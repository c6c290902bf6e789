"""`multiprocessing` by fork in a process whose plugins run: each child has its own, which end with it."""
from __future__ import annotations

import json
import subprocess
import sys
from typing import Dict, List

import pytest

from tests.host.conftest import configuration, plugin, wait_dead
from tests.servers.server import ROOT

SCRIPT = """
import json, multiprocessing, os, signal, sys, threading
from legacy_plugins import PluginHost

host = PluginHost(json.loads(sys.argv[1]))
barrier = None

def pids():
    return {"worker": os.getpid(), "plugins": [host[name].request("facts")["pid"] for name in host]}

def together(count):
    barrier.wait(60)  # every child has one of these
    return pids()

def many(number):
    assert host["plain"].request("echo", {"number": number}) == {"number": number}
    return os.getpid()

def stay(queue):
    queue.put(pids())
    threading.Event().wait()

def pool(context, end):
    global barrier
    barrier = context.Barrier(4)
    with context.Pool(4) as children:
        told = children.map(together, range(4), 1)
        assert set(children.map(many, range(400), 5)) <= {one["worker"] for one in told}
        getattr(children, end)()
        children.join()
    return told

def killed(context, end):
    queue = context.SimpleQueue()
    process = context.Process(target=stay, args=(queue,))
    process.start()
    told = queue.get()
    getattr(process, end)()
    process.join()
    return [told]

if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    host.start()
    before = pids()
    told = {"pool closed": pool(context, "close"), "pool terminated": pool(context, "terminate"),
            "process terminated": killed(context, "terminate"), "process killed": killed(context, "kill")}
    assert pids() == before, "the parent's plugins changed"
    assert [host[name].status().restarts for name in host] == [0, 0]
    host.stop()
    print(json.dumps({"parent": before, **told}))
"""


@pytest.fixture(scope="module")
def told() -> Dict[str, List[Dict[str, object]]]:
    """What the parent and the children of each kind told of their plugins."""
    config = configuration(plugin("plain"), plugin("deaf", {"deaf": True}, shutdownTimeoutMs=300))
    done = subprocess.run([sys.executable, "-c", SCRIPT, json.dumps(config)], cwd=str(ROOT), timeout=100,
                          stdin=subprocess.DEVNULL, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    answer: Dict[str, List[Dict[str, object]]] = json.loads(done.stdout)
    return answer


@pytest.mark.fault("H1", "H2", "H3", "H5")
@pytest.mark.parametrize("kind", ["pool closed", "pool terminated", "process terminated", "process killed"])
def test_children_have_plugins_of_their_own(told: Dict[str, List[Dict[str, List[int]]]], kind: str) -> None:
    """No two processes share a plugin, and a child's plugins are gone however it ended: none runs exit handlers."""
    everybody = [pid for children in told.values() for one in (children if isinstance(children, list) else [children])
                 for pid in one["plugins"]]
    assert len(everybody) == len(set(everybody))
    assert len({str(one["worker"]) for one in told[kind]}) == (4 if kind.startswith("pool") else 1)
    for child in told[kind]:
        assert all(wait_dead(pid) for pid in child["plugins"]), f"orphans of {child['worker']}"
