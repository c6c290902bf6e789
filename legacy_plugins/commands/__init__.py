"""What an operator asks of the plugins at a command line, for any front end that prints it.

A front end (`flask plugins`, `manage.py plugins`) parses its arguments, calls one function here, prints what that
returns, and ends with its exit code: 0, 1 where a plugin is not ready or an answer is an error, 2 for wrong usage.
"""
from __future__ import annotations

from legacy_plugins.commands.answers import Answer, printable
from legacy_plugins.commands.arguments import WrongUsage
from legacy_plugins.commands.calls import call
from legacy_plugins.commands.listings import check, list_plugins, list_routes
from legacy_plugins.commands.requests import request

__all__ = ["Answer", "WrongUsage", "call", "check", "list_plugins", "list_routes", "printable", "request"]
