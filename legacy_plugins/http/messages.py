"""A request as a web framework hands it over, and the answer it gets back: the contract between `http` and the skins.

Owns two frozen values. Made and read on the web server's thread of the request. Must not import a framework.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, List, Mapping, Optional, Sequence, Tuple

#: Header fields in order; a name may occur more than once.
HeaderList = Sequence[Tuple[str, str]]

#: Answers that never have a body (RFC 9110, sections 15.3.5 and 15.4.5).
BODILESS = (204, 304)
# A body of no bytes, which is stated (section 15.3.6); servers do not know that.
_RESET_CONTENT = 205


@dataclass(frozen=True)
class HttpRequest:
    """One HTTP request in the framework's view, after its own proxy settings.

    `path`: decoded, below the application's root. `raw_path`: the request target as the client sent it, where the
    server keeps it. `script_root`: where the application is mounted, "" or without a trailing slash. `content_length`
    in bytes, None where the client gave none. `read_body(n)`: at most n bytes, b"" at the end. `native`: the
    framework's own request, for the `authorize` hook. `request_id`: the client's X-Request-ID, as it came.
    `client_gone`: whether the client has gone away, where the server lets that be seen (see `disconnection`).
    """

    method: str
    path: str
    headers: HeaderList
    read_body: Callable[[int], bytes]
    raw_path: Optional[str] = None
    script_root: str = ""
    query: Optional[Mapping[str, List[str]]] = None
    content_type: Optional[str] = None
    content_length: Optional[int] = None
    client_address: Optional[str] = None
    scheme: str = "http"
    host: str = ""
    native: Any = None
    request_id: Optional[str] = None
    client_gone: Optional[Callable[[], bool]] = None


@dataclass(frozen=True)
class HttpResponse:
    """What the framework sends: `native` as it is; else status, headers, and `body` or the contents of `file`.

    `headers` are complete and checked; a Content-Length among them is right. `file`: a regular file's real path, to be
    sent with the framework's ranges and conditions. `native`: a response of the framework that `authorize` returned.
    """

    status: int
    headers: HeaderList = ()
    body: bytes = b""
    file: Optional[str] = None
    native: Any = None

    def header(self, name: str) -> Optional[str]:
        """The first value of a header field; `name` in lower case."""
        return next((value for field, value in self.headers if field.lower() == name), None)

    def finished(self, method: str, request_id: str) -> HttpResponse:
        """The same with the request's id and the body's length, and without the body where method or status allow none.

        A file's length is the framework's to say, since it depends on ranges and conditions.
        """
        identified = (*self.headers, ("X-Request-ID", request_id))
        if self.status in BODILESS:
            return HttpResponse(self.status, identified)
        if self.status == _RESET_CONTENT:
            return HttpResponse(self.status, (*identified, ("Content-Length", "0")))
        if self.file is not None:
            return HttpResponse(self.status, identified, file=self.file)
        whole = (*identified, ("Content-Length", str(len(self.body))))
        return HttpResponse(self.status, whole, b"" if method == "HEAD" else self.body)
