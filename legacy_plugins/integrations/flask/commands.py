"""`flask plugins ...`: the plugins of an application, from the command line.

Owns five commands. Each starts the plugins in its own process and stops them before it ends; a server that runs
elsewhere is not touched. Exit codes: 0, 1 where a plugin is not ready or an answer is an error, 2 for wrong usage.
"""
from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import click
from flask import current_app
from flask.cli import AppGroup

from legacy_plugins.errors import PluginError
from legacy_plugins.host import PluginHost, PluginState, PluginStatus
from legacy_plugins.integrations.flask.application import current_plugins

plugins_group = AppGroup("plugins", help="Plugins of this application, started for the command alone.")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@contextmanager
def _started() -> Iterator[PluginHost]:
    """The application's host with its plugins started; they are stopped whatever happens."""
    host = current_plugins().host
    try:
        host.start(wait=True)
        yield host
    finally:
        host.stop()


def _print(rows: Sequence[Dict[str, Any]], as_json: bool) -> None:
    """Rows as JSON, or as a table with the keys for its head."""
    if as_json:
        click.echo(json.dumps(list(rows), indent=2))
        return
    if not rows:
        click.echo("none")
        return
    table: List[Tuple[str, ...]] = [tuple(rows[0]), *(tuple(map(str, row.values())) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table)]
    for line in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


def _status_row(status: PluginStatus) -> Dict[str, Any]:
    return {"name": status.name, "state": status.state.value, "version": status.version or "",
            "required": status.required, "restarts": status.restarts, "reason": status.reason}


@plugins_group.command("list")
@_as_json
def list_plugins(as_json: bool) -> None:
    """Print each plugin with its state and version."""
    with _started() as host:
        _print([_status_row(status) for status in host.status()], as_json)


@plugins_group.command("check")
@_as_json
def check_plugins(as_json: bool) -> None:
    """Start every plugin; exit with 1 where one that is enabled did not become ready."""
    with _started() as host:
        statuses = host.status()
        _print([_status_row(status) for status in statuses], as_json)
    if any(status.state not in (PluginState.READY, PluginState.DISABLED) for status in statuses):
        sys.exit(1)


@plugins_group.command("routes")
@_as_json
def list_routes(as_json: bool) -> None:
    """Print the declared routes of all plugins that are ready, as they are served."""
    blueprint = current_plugins().blueprint
    with _started() as host:
        rows = []
        for entry in host.routes():
            policy = host.config.plugin(entry.plugin).http
            served = blueprint.bridges[0].prefix(entry.plugin) if blueprint is not None else None
            route = entry.route
            rows.append({"methods": ",".join(route.methods), "path": (served or "(not served) ") + route.path,
                         "plugin": entry.plugin, "auth": route.auth,
                         "public": any(policy.is_public(method, route.path) for method in route.methods),
                         "description": route.description})
        _print(rows, as_json)


@plugins_group.command("call")
@click.argument("plugin")
@click.argument("method")
@click.argument("params", default="null")
@click.option("--timeout", type=float, default=None, help="Seconds; the plugin's rpcTimeoutMs by default.")
def call_method(plugin: str, method: str, params: str, timeout: Optional[float]) -> None:
    """Call METHOD of PLUGIN with PARAMS (JSON) and print the result as JSON."""
    try:
        value = json.loads(params)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint="PARAMS") from None
    with _started() as host:
        try:
            result = host.client(plugin).request(method, value, timeout)
        except PluginError as error:
            raise click.ClickException(str(error)) from None
    click.echo(json.dumps(result, indent=2, ensure_ascii=False))


@plugins_group.command("request")
@click.argument("method")
@click.argument("path")
@click.option("--data", default=None, help="The body; sent as JSON unless a Content-Type is given.")
@click.option("--header", "headers", multiple=True, metavar="NAME:VALUE", help="A header field; may be repeated.")
def send_request(method: str, path: str, data: Optional[str], headers: Sequence[str]) -> None:
    """Send an HTTP request for PATH through the application, hooks and all; exit with 1 for a status from 400 on."""
    fields = [_field(header) for header in headers]
    if data is not None and not any(name.lower() == "content-type" for name, _ in fields):
        fields.append(("Content-Type", "application/json"))
    with _started():
        response = current_app.test_client().open(path, method=method.upper(), data=data, headers=fields)
        status, body = response.status, response.get_data()
    click.echo(status)
    for name, value in response.headers:
        click.echo(f"{name}: {value}")
    click.echo()
    click.echo(body, nl=not body.endswith(b"\n"))
    if response.status_code >= 400:
        sys.exit(1)


def _field(header: str) -> Tuple[str, str]:
    name, colon, value = header.partition(":")
    if not colon:
        raise click.BadParameter(f"{header!r} is not NAME:VALUE", param_hint="--header")
    return name.strip(), value.strip()
