"""A client of a server: single requests, and a steady load, with every outcome in one of six classes."""
from __future__ import annotations

import http.client
import json
import socket
import threading
from collections import Counter
from typing import Any, Dict, FrozenSet, List, NamedTuple, Optional

#: A request that has no answer after so many seconds hangs. The plugins' own time-outs are far below.
HUNG_SECONDS = 20.0


class Answer(NamedTuple):
    """What became of a request.

    `outcome`: `ok` (2xx), `refused` (503 with Retry-After: the plugin is down and the library says so), `crashed` (502
    of the library: the plugin ended while it had this request), `error` (any other status), `cut` (the connection was
    refused or closed without an answer: the worker is gone), `hung`.
    """

    outcome: str
    status: int = 0
    body: str = ""

    def json(self) -> Any:
        """The body's value."""
        assert self.outcome == "ok", self
        return json.loads(self.body)


def ask(port: int, path: str, seconds: float = HUNG_SECONDS) -> Answer:
    """One GET request on a connection of its own; never raises for what the server does."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        body = response.read().decode("utf-8", "replace")
    except socket.timeout:
        return Answer("hung")
    except (OSError, http.client.HTTPException) as error:
        return Answer("cut", 0, repr(error))
    finally:
        connection.close()
    if 200 <= response.status < 300:
        return Answer("ok", response.status, body)
    if response.status == 503 and response.getheader("Retry-After") is not None:
        return Answer("refused", response.status, body)
    if response.status == 502 and "the plugin ended while it handled the request" in body:
        return Answer("crashed", response.status, body)
    return Answer("error", response.status, body)


class Request:
    """A request in a thread of its own, for what happens meanwhile."""

    def __init__(self, port: int, path: str) -> None:
        self._answer: Optional[Answer] = None
        self._thread = threading.Thread(target=self._run, args=(port, path), daemon=True)
        self._thread.start()

    def _run(self, port: int, path: str) -> None:
        self._answer = ask(port, path)

    def answer(self) -> Answer:
        """What became of it, once that is known."""
        self._thread.join(HUNG_SECONDS + 10)
        return self._answer or Answer("hung")


class Load:
    """Several clients that ask for `path` again and again, from `with` to its end.

    Each request has a tag, and an answer with another request's tag is an `error`. `seen`: the answers' bodies.
    """

    def __init__(self, port: int, path: str = "/call", clients: int = 4) -> None:
        self._port = port
        self._path = path
        self._end = threading.Event()
        self._lock = threading.Lock()  # guards what follows
        self.outcomes: Counter[str] = Counter()
        self.seen: List[Dict[str, Any]] = []
        self.bad: List[Answer] = []
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(HUNG_SECONDS + 10)

    def _run(self, client: int) -> None:
        count = 0
        while not self._end.is_set():
            count += 1
            tag = f"{client}-{count}"
            answer = ask(self._port, f"{self._path}?tag={tag}")
            if answer.outcome == "ok" and not answer.body:  # a server without Content-Length ended after the header
                answer = answer._replace(outcome="cut")
            elif answer.outcome == "ok" and answer.json()["tag"] != tag:
                answer = answer._replace(outcome="error")
            self._note(answer)
            if answer.outcome == "cut":
                self._end.wait(0.05)  # nobody listens just now

    def _note(self, answer: Answer) -> None:
        with self._lock:
            self.outcomes[answer.outcome] += 1
            if answer.outcome == "ok":
                self.seen.append(answer.json())
            else:
                self.bad.append(answer)

    def count(self, *outcomes: str) -> int:
        """How many requests ended so."""
        with self._lock:
            return sum(self.outcomes[outcome] for outcome in outcomes)

    def workers(self) -> FrozenSet[int]:
        """The workers that answered so far."""
        with self._lock:
            return frozenset(body["worker"] for body in self.seen)
