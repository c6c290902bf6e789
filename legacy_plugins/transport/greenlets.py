"""Whether "thread" means the system's threads or gevent's greenlets in this process, and whether that can work.

gevent replaces modules of the standard library, all or some, when the program says so. The library looks such names up
when it uses them and works on either kind, but not on a mixture: a thread of the system's that waits for a greenlet, or
a greenlet in a wait that gevent knows nothing of, stops the whole process. What a name is tells who made it, so gevent
is never imported here.

`service_thread` makes the library's own threads. Unlike the system's, greenlets go on in a forked child, where whatever
they wait for may end; each of them sees that it is in another process than it was started in, and touches nothing.
Any thread.
"""
from __future__ import annotations

import os
import queue
import select
import subprocess
import sys
import threading
from typing import Any, Callable, Dict, List, Optional

from legacy_plugins.errors import PluginStartFailed

_FIRST = "call gevent.monkey.patch_all() first thing in the program, before anything uses plugins"
_kinds: Dict[int, Any] = {}  # what made the locks when plugins were first used in a process
_strays: List[threading.Event] = []  # what greenlets wait for in a forked child; one that is forgotten would be ended


def cooperative() -> bool:
    """Whether gevent has replaced the threads, so that nothing may block outside its own functions."""
    return _is_gevents(threading.Lock)


def check_threads() -> None:
    """At the first use of plugins in a process. Raises `PluginStartFailed` where they could only hang."""
    why = _eventlet() or _partial() or _late() or _elsewhere()
    if why is not None:
        raise PluginStartFailed(message=f"plugins cannot be used in this process: {why}")


def service_thread(run: Callable[..., None], name: str, *args: Any) -> threading.Thread:
    """A daemon thread that runs `run(*args)`; not started yet."""
    return threading.Thread(target=_serve, name=name, args=(os.getpid(), run, args), daemon=True)


def _serve(owner: int, run: Callable[..., None], args: Any) -> None:
    try:
        run(*args)
    finally:
        if os.getpid() != owner and cooperative():  # in a forked child `threading` chokes on its end
            _strays.append(threading.Event())
            _strays[-1].wait()


def _eventlet() -> Optional[str]:
    patcher = sys.modules.get("eventlet.patcher")
    replaced = getattr(patcher, "already_patched", ())
    if not any(name in replaced for name in ("thread", "select", "subprocess", "os")):
        return None
    return "eventlet has replaced parts of the standard library, which is not supported; use threads, or gevent"


def _partial() -> Optional[str]:
    replaced = {"threading": cooperative(), "select": _is_gevents(getattr(select, "poll", None)),
                "subprocess": _is_gevents(subprocess.Popen),
                "queue": queue.SimpleQueue.__module__ != "_queue"}  # older gevents put Python's own in its place
    left: List[str] = [name for name, by_gevent in replaced.items() if not by_gevent]
    if len(left) in (0, len(replaced)) or left == ["threading", "select", "subprocess"]:  # a queue alone hurts nobody
        return None
    return (f"gevent has replaced {', '.join(name for name in replaced if name not in left)}, but not "
            f"{', '.join(left)}; {_FIRST}, without leaving any of these out")


def _late() -> Optional[str]:
    if _kinds.setdefault(os.getpid(), threading.Lock) is threading.Lock:
        return None
    return f"they were used here before gevent replaced the threads; {_FIRST}"


def _elsewhere() -> Optional[str]:
    if not (cooperative() and sys.platform.startswith("linux") and threading.get_native_id() != os.getpid()):
        return None
    return ("gevent runs greenlets in the thread that starts them, and this one, of a thread pool perhaps, may stop at "
            "any time; use plugins in the main thread first, by PluginHost.start() for example")


def _is_gevents(thing: Any) -> bool:
    return str(getattr(thing, "__module__", "")).partition(".")[0] == "gevent"
