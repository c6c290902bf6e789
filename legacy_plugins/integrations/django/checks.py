"""The system checks: what can be told of the project's plugins without starting one.

Owns the ids, which never change their meaning. E001: the setting LEGACY_PLUGINS. E002: the configuration that it names.
E003: the function that AUTHORIZE names. E004: where the URLs are included. W001: a program that may not run. W002: a
program that cannot run. W003: a trust that is switched off. W004: URLs that are not included. W005: routes that nobody
may call. W006: threads.
"""
from __future__ import annotations

import sys
from typing import Any, Iterator, List

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning

from legacy_plugins.commands.programs import program_faults
from legacy_plugins.errors import ConfigError, UntrustedCommand
from legacy_plugins.http.prefixes import PluginPrefixes
from legacy_plugins.integrations.django import plugins
from legacy_plugins.integrations.django.mounts import mounts
from legacy_plugins.integrations.django.project import ProjectPlugins
from legacy_plugins.integrations.django.settings import NAME, PluginSettings, config_faults, named_hook, read_settings

_INCLUDE = "path('api/plugins/', include('legacy_plugins.integrations.django.urls'))"


def check_plugins(**_options: Any) -> List[CheckMessage]:
    """All messages about plugins. Warnings are looked for where there are no errors."""
    given = read_settings()
    errors = list(_errors(given))
    if errors:
        return errors
    project = plugins.project
    return [*_programs(project), *_urls(project), *_threads()]


def _errors(given: PluginSettings) -> Iterator[CheckMessage]:
    for fault in given.faults:
        yield Error(fault, hint=f"Correct {NAME} in the settings module {settings.SETTINGS_MODULE!r}."
                    if hasattr(settings, "SETTINGS_MODULE") else f"Correct {NAME} in the settings.", id=_id("E001"))
    source = given.config if isinstance(given.config, str) else f"{NAME}['CONFIG']"
    for fault in config_faults(given):
        yield Error(fault, hint=f"Correct {source}; the documentation's page on the configuration has every key.",
                    id=_id("E002"))
    if given.authorize is not None:
        try:
            named_hook(given.authorize)
        except ConfigError as error:
            yield Error(str(error), hint="Give the dotted path of a function(request, plugin, route).", id=_id("E003"))


def _programs(project: ProjectPlugins) -> Iterator[CheckMessage]:
    config = project.host.config
    for fault in program_faults(config):
        if isinstance(fault, UntrustedCommand):
            more = f" Folders may be trusted in {NAME}['TRUST'] too." if "trusted directory" in str(fault) else ""
            yield CheckWarning(str(fault), hint="It will not be started on this machine. What to do is said in "
                               f"the message.{more}", id=_id("W001"))
        else:
            yield CheckWarning(str(fault), hint="It cannot be started on this machine. Build or install it, or say "
                               "`enabled: false`.", id=_id("W002"))
    if config.trust.permissions == "off":
        yield CheckWarning("trust.permissions is off: whoever may write a plugin's file can run code as this user",
                           hint="Leave `trust.permissions` out, and run chmod o-w on what the start then complains "
                                "about.", id=_id("W003"))


def _urls(project: ProjectPlugins) -> Iterator[CheckMessage]:
    config = project.host.config
    places = mounts() if hasattr(settings, "ROOT_URLCONF") else []
    if not places:
        yield CheckWarning("the plugins' routes are not served: their URLs are not included",
                           hint=f"Add {_INCLUDE} to the project's URLs; or, where only calls and events are wanted, "
                                f"silence {_id('W004')}.", id=_id("W004"))
        return
    for place in places:
        if place.path is None:
            yield Error(f"plugins cannot be served below {place.pattern!r}, which has variables: their own prefixes "
                        "are fixed", hint=f"Include them under a fixed prefix: {_INCLUDE}. A regular expression begins "
                        "with ^ and escapes what means more than itself.", id=_id("E004"))
            continue
        for fault in PluginPrefixes(config, place.path.rstrip("/")).faults:
            yield Error(fault, hint="Every `routePrefix` lies below the place where the URLs are included.",
                        id=_id("E004"))
    closed = [plugin.name for plugin in config.plugins if plugin.enabled and not plugin.http.public_routes]
    if closed and project.hook() is None:
        yield CheckWarning(f"nobody may call the routes of {', '.join(closed)}: each request is answered with 403",
                           hint=f"Set {NAME}['AUTHORIZE'], or list what is open to everybody in the plugin's "
                                f"`http.publicRoutes`; where they have no routes, silence {_id('W005')}.",
                           id=_id("W005"))


def _threads() -> Iterator[CheckMessage]:
    options = getattr(sys.modules.get("uwsgi"), "opt", None)  # the module exists inside uWSGI alone
    if options is not None and not {"enable-threads", "threads", b"enable-threads", b"threads"} & set(options):
        yield CheckWarning("uWSGI runs without threads: plugins would start and never be heard",
                           hint="Start uWSGI with --enable-threads.", id=_id("W006"))


def _id(number: str) -> str:
    return f"legacy_plugins.{number}"
