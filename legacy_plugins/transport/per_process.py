"""What a process has once: its supervising thread, its guard, its plugins.

Made when it is first asked for, never at import, and never inherited: a forked child has its parent's memory, but the
parent's threads do not run in it and its locks may be held for ever. So does what was made before gevent replaced the
threads: its locks know nothing of greenlets. Any thread; nothing is locked, each step is one atomic operation of a
dict. Must not import anything of this package.
"""
from __future__ import annotations

import os
import threading
from typing import Any, Callable, Dict, Generic, Optional, Tuple, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """One value for each process, and for each kind of threads in it.

    `make()` makes it; two threads that ask at once may both make one, of which both get the same. `abandon(value)` is
    called in a forked child for each value of its parent, which is forgotten: it must touch no lock and signal no one.
    """

    def __init__(self, make: Callable[[], T], abandon: Callable[[T], None] = lambda _: None) -> None:
        self._make = make
        self._abandon = abandon
        self._values: Dict[Tuple[int, Any], T] = {}

    def get(self) -> T:
        """This process's; made now, if it was never asked for."""
        value = self._values.get((os.getpid(), threading.Lock))
        return self._first() if value is None else value

    def _first(self) -> T:
        self.abandon_inherited()
        return self._values.setdefault((os.getpid(), threading.Lock), self._make())

    def peek(self) -> Optional[T]:
        """This process's, None where it was never asked for."""
        return self._values.get((os.getpid(), threading.Lock))

    def abandon_inherited(self) -> None:
        """In a forked child: forget what its parents had. Does nothing in the process that made it."""
        pid = os.getpid()
        for key in [key for key in list(self._values) if key[0] != pid]:
            value = self._values.pop(key, None)
            if value is not None:
                self._abandon(value)
