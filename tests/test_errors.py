"""The exception tree: its shape, its texts, and that every class survives the way between two processes."""
from __future__ import annotations

import concurrent.futures
import pickle
from types import SimpleNamespace
from typing import Dict, List, Type

import pytest

from legacy_plugins import errors

# The tree as it is documented: class -> (its direct base in the tree, HTTP status).
TREE = {
    "ConfigError": ("PluginError", 500),
    "UntrustedCommand": ("ConfigError", 503),
    "UnknownPlugin": ("PluginError", 404),
    "ProtocolError": ("PluginError", 502),
    "FrameTooLarge": ("ProtocolError", 413),
    "InvalidMessage": ("ProtocolError", 502),
    "RpcError": ("PluginError", 502),
    "ParseError": ("RpcError", 502),
    "InvalidRequest": ("RpcError", 502),
    "MethodNotFound": ("RpcError", 502),
    "InvalidParams": ("RpcError", 502),
    "InternalError": ("RpcError", 502),
    "PluginUnavailable": ("PluginError", 503),
    "PluginNotRunning": ("PluginUnavailable", 503),
    "PluginStartFailed": ("PluginUnavailable", 503),
    "HandshakeFailed": ("PluginStartFailed", 503),
    "PluginCrashed": ("PluginUnavailable", 502),
    "PluginBusy": ("PluginUnavailable", 503),
    "PluginTimeout": ("PluginError", 504),
}
STANDARD_CODES = {-32700: "ParseError", -32600: "InvalidRequest", -32601: "MethodNotFound", -32602: "InvalidParams",
                  -32603: "InternalError"}


def _classes() -> Dict[str, Type[errors.PluginError]]:
    found = [errors.PluginError]
    for cls in found:
        found.extend(sub for sub in cls.__subclasses__() if sub.__module__ == errors.__name__ and sub not in found)
    return {cls.__name__: cls for cls in found}


def _examples() -> List[errors.PluginError]:
    crash = {"exit_code": 3}  # any value that pickles; the real report is the host's
    return [
        errors.PluginError("it broke", plugin="backup"),
        errors.ConfigError(["/plugins/0: no command", "/version: 2, expected 1"]),
        errors.UntrustedCommand(["/usr/bin/nc is not trusted"], plugin="backup"),
        errors.UnknownPlugin("no plugin 'backpu'; known: backup", plugin="backpu"),
        errors.ProtocolError("two Content-Length fields", plugin="backup"),
        errors.FrameTooLarge("20000000 bytes, at most 16777216", plugin="backup"),
        errors.InvalidMessage("neither result nor error", plugin="backup"),
        errors.RpcError(17, "disk full", {"free": 0}, plugin="backup"),
        *(errors.rpc_error(code, "no", [1], plugin="backup") for code in STANDARD_CODES),
        errors.PluginUnavailable("backup", "backoff", 1.5),
        errors.PluginNotRunning("backup", "stopped"),
        errors.PluginStartFailed("backup", "failed", message="no such file", crash=crash),
        errors.HandshakeFailed("backup", "failed", 2.0, message="no answer within 5.0 s", crash=crash),
        errors.PluginCrashed(crash, "backup", "backoff", 2.0),
        errors.PluginBusy("backup", "ready", 0.1, message="1024 calls are pending"),
        errors.PluginTimeout("no answer to 'x' within 5.0 s", plugin="backup"),
    ]


def test_tree_is_the_documented_one() -> None:
    """Each class has the base that the documentation draws, and there is no class besides those."""
    classes = _classes()
    assert {name: cls.__bases__[0].__name__ for name, cls in classes.items() if name != "PluginError"} == {
        name: base for name, (base, _) in TREE.items()}
    assert sorted([*classes, "rpc_error"]) == sorted(errors.__all__)


@pytest.mark.parametrize("error", _examples(), ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_every_class_survives_pickling(error: errors.PluginError, protocol: int) -> None:
    """An error that went through a task queue has the class, the text and every attribute of the one sent."""
    copy = pickle.loads(pickle.dumps(error, protocol))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.args == error.args
    assert vars(copy) == vars(error)
    assert copy.http_status == error.http_status


def test_pickling_is_tried_for_every_class() -> None:
    """The examples above leave no class of the tree out."""
    assert {type(error).__name__ for error in _examples()} == set(_classes())


@pytest.mark.parametrize("error", _examples(), ids=lambda error: type(error).__name__)
def test_http_status(error: errors.PluginError) -> None:
    """A web edge answers each class with the documented status."""
    assert error.http_status == TREE.get(type(error).__name__, ("", 502))[1]


@pytest.mark.req("R5")
@pytest.mark.parametrize("code", sorted(STANDARD_CODES))
def test_standard_codes_have_classes(code: int) -> None:
    """Each standard JSON-RPC error code comes out as the class of its name, with code, message and data."""
    error = errors.rpc_error(code, "why", {"at": 1}, plugin="backup")
    assert type(error).__name__ == STANDARD_CODES[code]
    assert (error.code, error.message, error.data, error.plugin) == (code, "why", {"at": 1}, "backup")
    assert str(code) in str(error)
    assert "why" in str(error)
    assert "backup" in str(error)


@pytest.mark.req("R5")
@pytest.mark.parametrize(("code", "status"), [(1, 502), (399, 502), (400, 400), (404, 404), (499, 499), (500, 502),
                                              (-32000, 502)])
def test_business_error_chooses_a_client_status(code: int, status: int) -> None:
    """A plugin's own code is a plain RpcError; only 400-499 becomes the HTTP status."""
    error = errors.rpc_error(code, "no")
    assert type(error) is errors.RpcError
    assert error.http_status == status


def test_timeout_is_every_timeout_error() -> None:
    """`except TimeoutError` and `except concurrent.futures.TimeoutError` both catch a PluginTimeout."""
    error = errors.PluginTimeout("late", plugin="backup")
    assert isinstance(error, TimeoutError)
    assert isinstance(error, concurrent.futures.TimeoutError)


def test_unknown_plugin_is_a_key_error_that_reads_well() -> None:
    """`except KeyError` catches an unknown name, and the text is the sentence, not its repr."""
    error = errors.UnknownPlugin("no plugin 'x'; known: a, b", plugin="x")
    assert isinstance(error, KeyError)
    assert str(error) == "no plugin 'x'; known: a, b"


def test_config_error_lists_every_fault() -> None:
    """All faults of a configuration are in `faults` and in the text."""
    error = errors.ConfigError(["first", "second"])
    assert error.faults == ("first", "second")
    assert str(error) == "first\nsecond"


def test_crash_details_stay_out_of_the_text() -> None:
    """What a plugin wrote to stderr is on `error.crash` alone; the text has the report's summary."""
    crash = SimpleNamespace(plugin="backup", summary="exit code 3", stderr_tail=("password=hunter2",))
    error = errors.PluginCrashed(crash)
    assert error.plugin == "backup"
    assert error.crash is crash
    assert "exit code 3" in str(error)
    assert "hunter2" not in str(error)


def test_unavailable_says_when_to_try_again() -> None:
    """The text names the plugin, its state and the seconds to wait, where a start is coming."""
    assert "try again in 1.5 s" in str(errors.PluginUnavailable("backup", "backoff", 1.5))
    assert "try again" not in str(errors.PluginUnavailable("backup", "stopped"))
