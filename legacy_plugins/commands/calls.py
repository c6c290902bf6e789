"""The command `call`: one call of one plugin, past all routes. Runs on the thread of the command."""
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Optional

from legacy_plugins.commands.answers import Answer, printable
from legacy_plugins.commands.arguments import call_params, check_seconds, rpc_method
from legacy_plugins.commands.session import started

if TYPE_CHECKING:
    from legacy_plugins.host import PluginHost


def call(host: PluginHost, plugin: str, method: str, params: str, timeout: Optional[float]) -> Answer:
    """The result as JSON.

    `params`: JSON text. `timeout`: seconds, by default the plugin's `rpcTimeoutMs`. Raises `WrongUsage` for arguments
    of which no call can be made, and `PluginError` for a call that fails.
    """
    rpc_method("METHOD", method)
    value = call_params("PARAMS", params)
    check_seconds("--timeout", timeout)
    with started(host):
        result = host.client(plugin).request(method, value, timeout)
    text = json.dumps(result, indent=2, ensure_ascii=False)
    if printable(text) != text:  # characters that JSON may have as they are, and a terminal obeys
        text = json.dumps(result, indent=2)
    return Answer(text)
