"""`manage.py plugins ...`: the plugins of a project, from the command line.

Owns what is Django's about it; the commands are those of `legacy_plugins.commands`. Exit codes: 0, 1 where a plugin is
not ready, an answer is an error or the configuration has faults, 2 for wrong usage.
"""
from __future__ import annotations

import sys
from typing import Any, Callable, Dict, Optional

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.http import HttpRequest
from django.http.request import validate_host
from django.http.response import HttpResponseBase

from legacy_plugins import commands
from legacy_plugins.errors import ConfigError, PluginError
from legacy_plugins.integrations.django import plugins
from legacy_plugins.integrations.django.mounts import mounts


class Command(BaseCommand):
    """The management command."""

    help = "Plugins of this project, started for the command alone."
    requires_system_checks = ()  # what is wrong with plugins is told here too, and nothing else is asked

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare list, check, routes, call and request."""
        actions = parser.add_subparsers(dest="action", required=True)
        for name, text in (("list", "Print each plugin with its state and version."),
                           ("check", "Start every plugin; exit with 1 where one that is enabled did not become ready."),
                           ("routes", "Print the declared routes of all plugins that are ready, as they are served.")):
            actions.add_parser(name, help=text).add_argument("--json", action="store_true", help="Print JSON.")
        call = actions.add_parser("call", help="Call a method of a plugin and print the result as JSON.")
        call.add_argument("plugin")
        call.add_argument("method")
        call.add_argument("params", nargs="?", default="null", help="JSON.")
        call.add_argument("--timeout", type=float, help="Seconds; the plugin's rpcTimeoutMs by default.")
        request = actions.add_parser("request", help="Send an HTTP request through the project, middleware and all; "
                                                     "exit with 1 for a status from 400 on.")
        request.add_argument("method")
        request.add_argument("path")
        request.add_argument("--data", help="The body; sent as JSON unless a Content-Type is given.")
        request.add_argument("--header", action="append", default=[], dest="headers", metavar="NAME:VALUE",
                             help="A header field; may be repeated.")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run one of them, print what it answers, and end with its exit code."""
        try:
            answer = _ACTIONS[options["action"]](options)
        except commands.WrongUsage as error:
            raise CommandError(f"{error.argument}: {error}", returncode=2) from None
        except ConfigError as error:
            raise CommandError("\n".join(("the plugins' configuration has faults", *error.faults))) from None
        except PluginError as error:
            raise CommandError(commands.printable(str(error))) from None
        self.stdout.write(answer.text)
        if answer.exit_code:
            sys.exit(answer.exit_code)


def _request(options: Dict[str, Any]) -> commands.Answer:
    return commands.request(plugins.host, _Application(), options["method"], options["path"], data=options["data"],
                            headers=options["headers"], base_url=f"{'https' if settings.SECURE_SSL_REDIRECT else 'http'}://{_host()}/")


_ACTIONS: Dict[str, Callable[[Dict[str, Any]], commands.Answer]] = {
    "list": lambda options: commands.list_plugins(plugins.host, options["json"]),
    "check": lambda options: commands.check(plugins.host, options["json"]),
    "routes": lambda options: commands.list_routes(plugins.host, options["json"], _prefix),
    "call": lambda options: commands.call(plugins.host, options["plugin"], options["method"], options["params"],
                                          options["timeout"]),
    "request": _request,
}


def _prefix(plugin: str) -> Optional[str]:
    """The path under which a plugin is served."""
    paths = [place.path for place in mounts() if place.path is not None]
    return plugins.project.bridge(paths[0].rstrip("/")).prefix(plugin) if paths else None


def _host() -> str:
    """A name that ALLOWED_HOSTS has."""
    allowed = settings.ALLOWED_HOSTS
    if not allowed or validate_host("localhost", allowed):
        return "localhost"
    return str(allowed[0]).lstrip(".")


class _Application(WSGIHandler):
    """The project as servers get it, but for the check for forged requests, which has no browser to look for here."""

    def get_response(self, request: HttpRequest) -> HttpResponseBase:
        """Answer one request."""
        request._dont_enforce_csrf_checks = True
        response: HttpResponseBase = super().get_response(request)
        return response
