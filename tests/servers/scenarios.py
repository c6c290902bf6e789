"""What is done to every server of web requests: the columns of the table.

Each function takes a cell and enters its figures. `title` is its name in the table. What a family names differently
(which signal reloads, which setting recycles) stands in the family's file, which makes scenarios of the functions here
or brings its own.
"""
from __future__ import annotations

import os
import re
import secrets
import signal
import time
from typing import Any, Callable, Dict, List, Set, TypeVar

from tests.servers.cells import Cell, Figures, Scenario, count, settle
from tests.servers.client import Load, Request
from tests.servers.processes import look
from tests.servers.server import PATIENCE, PLUGINS, Server

_F = TypeVar("_F", bound=Callable[..., Any])


def titled(title: str) -> Callable[[_F], _F]:
    """Give a scenario its name in the table."""
    def mark(scenario: _F) -> _F:
        scenario.title = title  # type: ignore[attr-defined]
        return scenario
    return mark


def nothing_yet(server: Server, figures: Figures) -> None:
    """Before first use there is no plugin anywhere."""
    early = [process for process in server.all() if process.token is not None]
    figures.expect(not early, f"{len(early)} plugins before first use")


def in_parent(server: Server, figures: Figures, allowed: int = 0) -> None:
    """Enter the plugins of a main process that serves no requests itself."""
    if server.pid not in server.workers():
        figures.parent += max(0, len(server.plugins(server.pid)) - allowed)


def waiting(server: Server, seconds: float) -> Request:
    """A request that a worker has, and that waits for its plugin for so long."""
    tag = secrets.token_hex(4)
    request = Request(server.port, f"/wait?tag={tag}&seconds={seconds}")
    server.wait((server.folder / f"waiting-{tag}").exists, "the request is on its way")
    return request


def use_all(server: Server, figures: Figures, *allowed: str) -> None:
    """Ask until every worker has answered."""
    with Load(server.port) as load:
        server.wait(lambda: len(server.workers()) == server.worker_count and load.workers() >= set(server.workers()),
                    "every worker has answered")
    figures.answered_all(load, *allowed)


#: What the interpreter and the library print when something is wrong with a fork or an exit.
_TROUBLE = re.compile(r"Exception ignored|Fatal Python error|Bad file descriptor|File \"\S*/legacy_plugins/")


def end(cell: Cell, server: Server, figures: Figures, number: int = signal.SIGTERM, *, noisy: bool = False,
        group: bool = False) -> None:
    """End the server and see that nothing is left.

    `noisy`: the server ends views by raising, which it logs. `group`: the signal goes to its whole process group, as
    from a terminal.
    """
    if group:
        os.killpg(server.pid, number)
    else:
        server.signal(number)
    if not server.wait_end():
        figures.hung += 1
        figures.broken.append(f"the server did not end within {PATIENCE:g} s")
        return
    began = time.monotonic()
    settle(cell, server, figures, began)
    figures.left([process for process in server.all() if process.token is None], "left of the server")
    log = server.log(10000)
    trouble = None if noisy else _TROUBLE.search(log)
    if trouble is not None:
        figures.broken.append(f"the log has trouble: ...{log[max(0, trouble.start() - 1000):trouble.end() + 1000]}...")


@titled("first request")
def first_request(cell: Cell, figures: Figures) -> None:
    """No plugin before the first requests, which come at once; all of them after it, and the parent has none."""
    with cell.server() as server:
        nothing_yet(server, figures)
        began = time.monotonic()
        first = [Request(server.port, "/call") for _ in range(8)]
        figures.answered(first[0].answer())
        figures.note = f"answered in {(time.monotonic() - began) * 1000:.0f} ms"
        for request in first[1:]:
            figures.answered(request.answer())
        count(server, figures)
        in_parent(server, figures)
        figures.answered(server.get("/api/plugins/deaf/hello"))
        end(cell, server, figures)


@titled("4 workers")
def four_workers(cell: Cell, figures: Figures) -> None:
    """Each of four workers has its own plugins, under load from several clients."""
    with cell.server(workers=4) as server:
        nothing_yet(server, figures)
        use_all(server, figures)
        count(server, figures)
        in_parent(server, figures)
        end(cell, server, figures)


@titled("plugin crash")
def plugin_crash(cell: Cell, figures: Figures) -> None:
    """A plugin is killed under load: its requests fail at once, it comes back, nobody else notices."""
    with cell.server() as server:
        before = server.get("/call").json()
        request = waiting(server, 30)
        with Load(server.port, clients=2) as load:
            server.signal(signal.SIGKILL, before["plain"])
            server.wait(lambda: any(body["plain"] != before["plain"] for body in list(load.seen)),
                        "the plugin is there again")
        answer = request.answer()
        figures.expect(answer.outcome == "crashed", f"the request in flight got {answer}")
        figures.answered(answer, "crashed")
        figures.answered_all(load, "refused", "crashed")
        figures.expect({body["worker"] for body in load.seen} == {before["worker"]}, "another worker answered")
        figures.note = f"{load.count('refused')} refused meanwhile"
        count(server, figures)
        in_parent(server, figures)
        end(cell, server, figures)


def replaced(cell: Cell, server: Server, figures: Figures, provoke: Callable[[Server, int], None],
             *allowed: str) -> None:
    """Provoke the end of the one worker under load; another one must serve, with its own plugins, and no orphan."""
    first = server.get("/call").json()
    server.all()
    identity = look()[first["worker"]].identity
    with Load(server.port, clients=2) as load:
        server.wait(lambda: load.count("ok"), "requests are answered")
        provoke(server, first["worker"])
        server.wait(lambda: identity not in {process.identity for process in look().values()}, "the worker is gone")
        settle(cell, server, figures, time.monotonic())
        server.wait(lambda: load.workers() - {first["worker"]}, "another worker answers")
    figures.answered_all(load, *allowed)
    figures.expect(not {first["plain"], first["deaf"]} & {body["plain"] for body in load.seen
                                                          if body["worker"] != first["worker"]},
                   "the new worker uses the old one's plugins")
    server.wait(lambda: len(server.workers()) == 1, "one worker is left")
    figures.answered(server.get("/call"))
    count(server, figures)
    in_parent(server, figures)


@titled("worker SIGKILL")
def worker_kill(cell: Cell, figures: Figures) -> None:
    """A worker is killed with a request in flight: its plugins are gone, another one serves."""
    with cell.server() as server:
        request: List[Request] = []

        def kill(server: Server, worker: int) -> None:
            request.append(waiting(server, 30))
            server.signal(signal.SIGKILL, worker)

        replaced(cell, server, figures, kill, "cut")
        for one in request:
            figures.answered(one.answer(), "cut")
        end(cell, server, figures)


def timed_out(**settings: Any) -> Scenario:
    """A scenario: a view stops its whole worker; the server, with these settings, kills that one."""
    @titled("worker time-out")
    def worker_timeout(cell: Cell, figures: Figures) -> None:
        with cell.server(**settings) as server:
            request: List[Request] = []

            def stick(server: Server, worker: int) -> None:
                request.append(Request(server.port, "/stuck"))

            replaced(cell, server, figures, stick, "cut", "error")
            for one in request:
                figures.answered(one.answer(), "cut", "error")
            end(cell, server, figures, noisy=True)
    return worker_timeout


def recycled(*allowed: str, **settings: Any) -> Scenario:
    """A scenario: workers end after some requests, as these settings say; each has its own plugins."""
    @titled("recycling")
    def recycling(cell: Cell, figures: Figures) -> None:
        with cell.server(workers=2, **settings) as server:
            with Load(server.port) as load:
                server.wait(lambda: len(load.workers()) >= 5, "five workers have answered")
            figures.answered_all(load, *allowed)
            figures.note = f"{len(load.workers())} workers, {load.count('ok')} requests"
            hosts: Dict[int, Set[int]] = {}
            for body in load.seen:
                hosts.setdefault(body["plain"], set()).add(body["worker"])
            figures.expect(all(len(workers) == 1 for workers in hosts.values()), "a plugin served two workers")
            settle(cell, server, figures, time.monotonic())
            server.wait(lambda: {len(server.plugins(worker)) for worker in server.workers()} <= {0, len(PLUGINS)},
                        "every worker has all plugins, or none because nobody asked it")
            in_parent(server, figures)
            figures.workers = len(server.workers())
            figures.plugins = [len(server.plugins(worker)) for worker in server.workers()]
            end(cell, server, figures)
    return recycling


def reloaded(number: int, *allowed: str) -> Scenario:
    """A scenario: the server gets its signal for a reload, under load. `allowed`: what it may do to requests."""
    @titled("reload")
    def reload(cell: Cell, figures: Figures) -> None:
        with cell.server(workers=2) as server:
            with Load(server.port) as load:
                server.wait(lambda: len(load.workers()) == 2, "both workers have answered")
                old = set(server.workers())
                server.all()
                server.signal(number)
                server.wait(lambda: not old & set(server.workers()), "the old workers are gone")
                settle(cell, server, figures, time.monotonic())
                server.wait(lambda: len(load.workers() - old) >= 2, "both new workers have answered")
            figures.answered_all(load, *allowed)
            use_all(server, figures)
            count(server, figures)
            in_parent(server, figures)
            end(cell, server, figures)
    return reload


def stopped(title: str, number: int, *allowed: str, group: bool = False, orderly: bool = False) -> Scenario:
    """A scenario: the server is told to end while a request waits for a plugin. `allowed`: what may become of it.

    `orderly`: the server leaves each worker the time to ask its plugins to end, and these the time to do so. (A plugin
    that is busy with an interrupted request when it is asked may not get as far.)
    """
    @titled(title)
    def stop(cell: Cell, figures: Figures) -> None:
        with cell.server(workers=2) as server:
            use_all(server, figures)
            count(server, figures)
            in_parent(server, figures)
            request = waiting(server, 1)
            began = time.monotonic()
            end(cell, server, figures, number, noisy="error" in allowed, group=group)
            asked = len(list((server.folder / "plugins").glob("shutdown-*")))
            figures.expect(asked >= server.worker_count or not orderly, f"{asked} plugins ended in order")
            figures.note = f"ended in {(time.monotonic() - began) * 1000:.0f} ms, {asked} plugins in order"
            figures.answered(request.answer(), *allowed)
    return stop


def kill_main(cell: Cell, server: Server, figures: Figures) -> None:
    """Kill the main process: its workers end by themselves, and nothing is left."""
    if server.exit_code is None:
        server.signal(signal.SIGKILL)
        server.wait_end()
    server.wait(lambda: not [process for process in server.all() if process.token is None],
                "the workers end with their parent")
    settle(cell, server, figures, time.monotonic())


def main_killed(**settings: Any) -> Scenario:
    """A scenario: the main process is killed. `settings`: in which workers notice it soon."""
    @titled("main SIGKILL")
    def kill(cell: Cell, figures: Figures) -> None:
        with cell.server(workers=2, **settings) as server:
            use_all(server, figures)
            count(server, figures)
            in_parent(server, figures)
            kill_main(cell, server, figures)
    return kill


def used_before_fork(*, idle: bool = True, **settings: Any) -> Scenario:
    """A scenario: the application uses plugins at import, in the parent; the workers have their own all the same.

    `idle`: workers that nobody asked yet keep nothing of the parent's either, which takes Python's fork hooks.
    """
    @titled("used before fork")
    def use(cell: Cell, figures: Figures) -> None:
        with cell.server(workers=2, eager=True, **settings) as server:
            server.wait(lambda: len(server.plugins(server.pid)) == len(PLUGINS), "the parent has its plugins")
            own = {process.identity for process in server.plugins(server.pid)}
            use_all(server, figures)
            count(server, figures)
            worker = server.workers()[0]
            server.signal(signal.SIGKILL, worker)
            server.wait(lambda: worker not in server.workers(), "the worker is gone")
            settle(cell, server, figures, time.monotonic())
            use_all(server, figures)
            count(server, figures)
            figures.expect(own == {process.identity for process in server.plugins(server.pid)},
                           "what the workers did changed the parent's plugins")
            in_parent(server, figures, allowed=len(PLUGINS))
            figures.note = f"the parent keeps {len(own)} of its own"
            if idle:
                last = server.workers()
                server.signal(signal.SIGKILL, last[0])
                server.wait(lambda: len(set(server.workers()) - set(last)) == 1, "a worker is there that nobody asked")
            for worker in server.workers():
                server.signal(signal.SIGSTOP, worker)  # they hold what they inherited, and close nothing more
            server.signal(signal.SIGKILL)
            server.wait_end()
            settle(cell, server, figures, time.monotonic())
            for process in server.all():
                if process.token is None:
                    server.signal(signal.SIGCONT, process.pid)
            kill_main(cell, server, figures)
    return use
