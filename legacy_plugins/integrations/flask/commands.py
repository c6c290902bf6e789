"""`flask plugins ...`: the plugins of an application, from the command line.

Owns what is Flask's about it; the commands are those of `legacy_plugins.commands`. Exit codes: 0, 1 where a plugin is
not ready, an answer is an error or the configuration has faults, 2 for wrong usage.
"""
from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import Callable, Iterator, Optional, Sequence

import click
from flask import current_app
from flask.cli import AppGroup

from legacy_plugins import commands
from legacy_plugins.errors import ConfigError, PluginError
from legacy_plugins.integrations.flask.application import current_plugins

plugins_group = AppGroup("plugins", help="Plugins of this application, started for the command alone.")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class FaultyConfiguration(ConfigError, click.ClickException):
    """A `ConfigError` at the command line, which click prints as it prints any error: no traceback, exit code 1."""

    def __init__(self, error: ConfigError) -> None:
        super().__init__(error.faults, plugin=error.plugin)

    def format_message(self) -> str:
        """All faults, one a line."""
        return "\n".join(("the plugins' configuration has faults", *self.faults))


@contextmanager
def faults_as_text() -> Iterator[None]:
    """Where a command is under way, faults of the configuration end it as `FaultyConfiguration`."""
    try:
        yield
    except ConfigError as error:
        if click.get_current_context(silent=True) is None:
            raise
        raise FaultyConfiguration(error) from None


def _run(command: Callable[[], commands.Answer]) -> None:
    """Print what a command answers, or why it cannot, and end with its exit code."""
    try:
        answer = command()
    except commands.WrongUsage as error:
        raise click.BadParameter(str(error), param_hint=error.argument) from None
    except PluginError as error:
        raise click.ClickException(commands.printable(str(error))) from None
    click.echo(answer.text)
    if answer.exit_code:
        sys.exit(answer.exit_code)


@plugins_group.command("list")
@_as_json
def list_plugins(as_json: bool) -> None:
    """Print each plugin with its state and version."""
    _run(lambda: commands.list_plugins(current_plugins().host, as_json))


@plugins_group.command("check")
@_as_json
def check_plugins(as_json: bool) -> None:
    """Start every plugin; exit with 1 where one that is enabled did not become ready."""
    _run(lambda: commands.check(current_plugins().host, as_json))


@plugins_group.command("routes")
@_as_json
def list_routes(as_json: bool) -> None:
    """Print the declared routes of all plugins that are ready, as they are served."""
    blueprint = current_plugins().blueprint
    _run(lambda: commands.list_routes(current_plugins().host, as_json,
                                      blueprint.bridges[0].prefix if blueprint is not None else lambda plugin: None))


@plugins_group.command("call")
@click.argument("plugin")
@click.argument("method")
@click.argument("params", default="null")
@click.option("--timeout", type=float, default=None, help="Seconds; the plugin's rpcTimeoutMs by default.")
def call_method(plugin: str, method: str, params: str, timeout: Optional[float]) -> None:
    """Call METHOD of PLUGIN with PARAMS (JSON) and print the result as JSON."""
    _run(lambda: commands.call(current_plugins().host, plugin, method, params, timeout))


@plugins_group.command("request")
@click.argument("method")
@click.argument("path")
@click.option("--data", default=None, help="The body; sent as JSON unless a Content-Type is given.")
@click.option("--header", "headers", multiple=True, metavar="NAME:VALUE", help="A header field; may be repeated.")
def send_request(method: str, path: str, data: Optional[str], headers: Sequence[str]) -> None:
    """Send an HTTP request for PATH through the application, hooks and all; exit with 1 for a status from 400 on."""
    settings = current_app.config
    server, root = settings["SERVER_NAME"] or "localhost", (settings["APPLICATION_ROOT"] or "/").strip("/")
    base_url = f"{settings['PREFERRED_URL_SCHEME']}://{server}/{root}"
    _run(lambda: commands.request(current_plugins().host, current_app, method, path, data=data, headers=headers,
                                  base_url=base_url))
