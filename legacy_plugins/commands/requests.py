"""The command `request`: one HTTP request through the whole application. Runs on the thread of the command.

Owns the request's making and the answer's text; the application is whatever callable its framework gives to servers.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Optional, Sequence

from werkzeug.test import Client

from legacy_plugins.commands.answers import Answer, printable
from legacy_plugins.commands.arguments import encoded, header_fields, http_method, http_path
from legacy_plugins.commands.session import started

if TYPE_CHECKING:
    from legacy_plugins.host import PluginHost


def request(host: PluginHost, application: Callable[..., Any], method: str, path: str, *, data: Optional[str],
            headers: Sequence[str], base_url: str = "http://localhost/") -> Answer:
    """Status line, header and body of the answer; exit code 1 for a status from 400 on.

    `application`: a WSGI application. `data`: the body, sent as JSON unless one of `headers` (texts, `NAME:VALUE`)
    gives another Content-Type. `base_url`: scheme, host and mount. Raises `WrongUsage` for arguments
    of which no request can be made.
    """
    method, path = http_method("METHOD", method), http_path("PATH", path)
    fields = header_fields("--header", headers)
    sent = None if data is None else encoded("--data", data)
    if data is not None and not any(name.lower() == "content-type" for name, _ in fields):
        fields.append(("Content-Type", "application/json"))
    with started(host):
        client = Client(application, use_cookies=False)  # its jar would take the place of a Cookie that was given
        response = client.open(path, method=method, data=sent, headers=fields, base_url=base_url)
        head = "\n".join([response.status, *(f"{name}: {value}" for name, value in response.headers)])
        body = response.get_data()
        response.close()
    return Answer(f"{head}\n\n{_shown(body)}", 1 if response.status_code >= 400 else 0)


def _shown(body: bytes) -> str:
    """The body as a terminal may have it."""
    return printable(body.decode("utf-8", "backslashreplace").replace("\r\n", "\n").rstrip("\n"))
