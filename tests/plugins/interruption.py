"""What a signal handler does that raises: an exception in the middle of the library's code, at each line in turn."""
from __future__ import annotations

import linecache
import sys
from pathlib import Path
from types import FrameType
from typing import Any, Callable, Iterator

from tests.plugins.programs import ROOT

LIBRARY = str(ROOT / "legacy_plugins") + "/"


class Interrupted(BaseException):
    """As SystemExit, KeyboardInterrupt, or the soft time limit of a task queue."""


class _Tracer:
    """Raises in the calling thread before the n-th line that it runs in the files given."""

    def __init__(self, number: int, files: Any) -> None:
        self._left = number
        self._files = files
        self.raised = ""

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(LIBRARY) or Path(name).name not in self._files:
            return None
        if event == "line" and not self.raised:
            line = linecache.getline(name, frame.f_lineno).strip()
            # Python runs signal handlers before a lock is taken and after it was let go, never in between.
            if not line.startswith("with "):
                self._left -= 1
                if self._left < 0:
                    self.raised = f"{Path(name).name}:{frame.f_lineno}: {line}"
                    raise Interrupted(self.raised)
        return self


def interrupt_each_line(prepare: Callable[[], Callable[[], Any]], files: Any) -> Iterator[str]:
    """Run `prepare()()` again and again, the second call interrupted at one more line each time; where that was.

    Ends when the action runs to its end uninterrupted. Lines run by other threads do not count.
    """
    for number in range(10_000):
        action, tracer = prepare(), _Tracer(number, files)
        before = sys.gettrace()
        sys.settrace(tracer)
        try:
            action()
        except Interrupted:
            pass
        finally:
            sys.settrace(before)
        if not tracer.raised:
            return
        yield tracer.raised
    raise AssertionError("the action never ends")
