"""A host goes by another configuration: plugins come, go and change, whatever state they are in."""
from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Dict

import pytest

from legacy_plugins import PluginHost, PluginState, errors
from legacy_plugins.config.loader import load_config
from legacy_plugins.host.reload import ReloadReport
from legacy_plugins.rpc.deadline import Deadline

from .conftest import Gate, Recorder, configuration, plugin, wait_dead

Make = Callable[..., PluginHost]


def test_a_report_is_the_difference_of_two_configurations() -> None:
    """Names are told in the order of the configuration that has them; failures are no changes."""
    old = {one.name: one for one in load_config(configuration(plugin("a"), plugin("b"), plugin("c"))).plugins}
    new = load_config(configuration(plugin("d"), plugin("c", env={"X": "1"}), plugin("b"), plugin("e", enabled=False)))
    report = ReloadReport.between(old, new)
    assert report == ReloadReport(added=("d", "e"), removed=("a",), changed=("c",), unchanged=("b",))
    error = errors.PluginNotRunning("c")
    assert report.with_failures({"c": error}) == ReloadReport(("d", "e"), ("a",), (), ("b",), {"c": error})


@pytest.mark.req("R41")
def test_differences_are_applied_plugin_by_plugin(make_host: Make) -> None:
    """What is new is started, what is gone is stopped, what changed is replaced, what did not is left alone."""
    host = make_host(plugin("same"), plugin("gone"), plugin("other", env={"X": "1"}))
    host.start()
    pids = {name: host[name].pid for name in host}
    gone = host["gone"]
    report = host.reload(configuration(plugin("other", env={"X": "2"}), plugin("same"), plugin("new")))
    assert report == ReloadReport(added=("new",), removed=("gone",), changed=("other",), unchanged=("same",))
    assert list(host) == ["other", "same", "new"]
    assert host["same"].pid == pids["same"]
    assert host["other"].request("facts")["env"]["X"] == "2"
    assert host["new"].state is PluginState.READY
    assert pids["gone"] is not None
    assert wait_dead(pids["gone"], 0)
    with pytest.raises(errors.UnknownPlugin, match="other, same, new"):
        gone.request("echo")
    assert repr(gone) == "<PluginClient 'gone' removed>"


@pytest.mark.req("R41")
def test_faults_in_the_configuration_change_nothing(make_host: Make) -> None:
    """A `ConfigError` leaves plugins, processes and configuration as they were."""
    host = make_host(plugin("a"))
    host.start()
    pid, config = host["a"].pid, host.config
    with pytest.raises(errors.ConfigError, match="rpcTimeoutMs"):
        host.reload(configuration(plugin("a", rpcTimeoutMs="soon"), plugin("b")))
    assert host.config is config
    assert list(host) == ["a"]
    assert host["a"].request("facts")["pid"] == pid


@pytest.mark.req("R41")
def test_without_an_argument_the_file_is_read_again(tmp_path: Path) -> None:
    """A host that was made from a file reloads that file; one that was not says so."""
    path = tmp_path / "plugins.json"
    path.write_text('{"plugins": []}')
    host = PluginHost(str(path))
    path.write_text('{"plugins": [{"name": "a", "command": "/p", "enabled": false}]}')
    assert host.reload().added == ("a",)
    with pytest.raises(ValueError, match="no file"):
        PluginHost({"plugins": []}).reload()


def test_a_reload_of_a_host_that_was_never_used_starts_nothing(make_host: Make) -> None:
    """The difference is told, and the first use starts what is configured then."""
    host = make_host(plugin("a"), plugin("b"))
    host.status()
    threads = threading.active_count()
    report = host.reload(configuration(plugin("a", env={"X": "1"}), plugin("c")))
    assert (report.added, report.removed, report.changed) == (("c",), ("b",), ("a",))
    assert threading.active_count() == threads
    assert host["a"].state is PluginState.STOPPED
    assert host["a"].request("facts")["env"]["X"] == "1"
    assert host["c"].request("echo", [1]) == [1]


@pytest.mark.req("R41")
def test_a_plugin_that_is_starting_starts_anew(make_host: Make, make_gate: Callable[..., Gate]) -> None:
    """A reload does not wait for a start by the old configuration."""
    gate = make_gate()
    host = make_host(plugin("a", {"gate": gate.path}, shutdownTimeoutMs=200))
    host.start(wait=False)
    host.reload(configuration(plugin("a")))
    assert host["a"].state is PluginState.READY


@pytest.mark.req("R41")
def test_a_plugin_in_backoff_is_started_at_once(make_host: Make) -> None:
    """The new configuration may be the cure: nobody waits for the next try."""
    host = make_host(plugin("a", {"exit": 3}, restart={"backoffMs": 60_000}))
    host.start()
    assert host["a"].state is PluginState.BACKOFF
    host.reload(configuration(plugin("a")))
    assert host["a"].request("echo", [1]) == [1]


@pytest.mark.req("R41")
def test_a_plugin_that_failed_is_tried_again_even_unchanged(make_host: Make, tmp_path: Path) -> None:
    """What has failed leaves that state by a reload, whether its configuration changed or the world did."""
    flag = tmp_path / "database"
    config = plugin("a", {"crashUnless": str(flag)}, restart={"enabled": False})
    host = make_host(config)
    host.start()
    assert host["a"].state is PluginState.FAILED
    flag.touch()
    host.start()
    assert host["a"].state is PluginState.FAILED
    assert host.reload(configuration(config)).unchanged == ("a",)
    assert host["a"].state is PluginState.READY


def test_a_stopped_plugin_stays_stopped(make_host: Make) -> None:
    """A reload starts nothing that somebody stopped; its next start is by the new configuration."""
    host = make_host(plugin("a"), plugin("b"))
    host.start()
    host["a"].stop()
    host.reload(configuration(plugin("a", env={"X": "1"}), plugin("b")))
    assert host["a"].state is PluginState.STOPPED
    host["a"].start()
    assert host["a"].request("facts")["env"]["X"] == "1"


@pytest.mark.req("R41")
def test_enabled_is_a_key_like_others(make_host: Make) -> None:
    """A plugin that the configuration disables is gone when the reload returns; enabled again it is ready."""
    host = make_host(plugin("a"), plugin("b", enabled=False))
    host.start()
    pid = host["a"].pid
    assert pid is not None
    host.reload(configuration(plugin("a", enabled=False), plugin("b")))
    assert [host[name].state for name in host] == [PluginState.DISABLED, PluginState.READY]
    assert wait_dead(pid, 0)
    host.reload(configuration(plugin("a"), plugin("b")))
    assert host["a"].request("echo", [1]) == [1]


def test_a_plugin_that_was_disabled_by_hand_stays_disabled(make_host: Make) -> None:
    """`disable()` outlasts a reload that changes other keys."""
    host = make_host(plugin("a"))
    host.start()
    host["a"].disable()
    host.reload(configuration(plugin("a", env={"X": "1"})))
    assert host["a"].state is PluginState.DISABLED


def test_after_stop_a_reload_starts_nothing(make_host: Make) -> None:
    """A stopped host takes the new configuration, and goes by it when it is started."""
    host = make_host(plugin("a"))
    host.start()
    host.stop()
    report = host.reload(configuration(plugin("a", env={"X": "1"}), plugin("b")))
    assert (report.added, report.changed) == (("b",), ("a",))
    assert {host[name].state for name in host} == {PluginState.STOPPED}
    host.start()
    assert host["a"].request("facts")["env"]["X"] == "1"
    assert host["b"].state is PluginState.READY


@pytest.mark.req("R27")
def test_keys_are_taken_even_where_nothing_runs(make_host: Make, heard: Recorder) -> None:
    """Log level, event filter and bounds of a plugin that was down at the reload are those of its next start."""
    host = make_host(plugin("a"))
    host.start()
    host["a"].stop()
    changes: Dict[str, Any] = {"logs": {"level": "ERROR"}, "events": {"exclude": ["Noise"]}}
    host.reload(configuration(plugin("a", **changes)))
    host["a"].start()
    assert host.broadcast("Noise").filtered == ("a",)
    host["a"].request("log", {"text": "INFO: small talk\nERROR: the disk is full\n"})
    assert heard.wait("plugin_log", "a")["message"] == "the disk is full"


def test_routes_follow(make_host: Make) -> None:
    """The snapshot of routes is another one after a reload that changed them, and the same while nothing changes."""
    host = make_host(plugin("a", {"answer": {"routes": [{"path": "/old", "method": "GET"}]}}))
    host.start()
    before = host.routes()
    assert host.routes() is before
    host.reload(configuration(plugin("a", {"answer": {"routes": [{"path": "/new", "method": "GET"}]}},
                                     routePrefix="/api/plugins/x")))
    assert [(route.prefix, route.route.path) for route in host.routes()] == [("/api/plugins/x", "/new")]
    host["a"].stop()
    assert host.routes() == ()


def test_reloads_follow_one_another(make_host: Make) -> None:
    """Several at a time are applied one after the other; host and plugins end with the same configuration."""
    host = make_host(plugin("a"))
    host.start()
    configs = [configuration(plugin("a", env={"X": str(number)})) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(host.reload, configs))
    assert all(report.changed == ("a",) for report in reports)
    assert host.config.plugins[0].env["X"] == host["a"].request("facts")["env"]["X"]


@pytest.mark.fault("P15")
def test_a_removed_plugin_cannot_be_started_by_who_still_has_it(make_host: Make, heard: Recorder) -> None:
    """A command that was under way when a reload took its plugin away raises, or does nothing if it came that far."""
    host = make_host(plugin("a"), plugin("b"))
    host.start()
    removed = host.used().plugin("b")
    host.reload(configuration(plugin("a")))
    with pytest.raises(errors.UnknownPlugin, match="removed"):
        removed.restart()
    removed.removed = False  # as for a thread that looked just before
    for command in (removed.start, removed.restart):
        command()
        assert removed.available.wait(removed.available.settled, 20)
        assert removed.available.view.state is PluginState.STOPPED
    assert heard.of("plugin_ready", "b") == [heard.wait("plugin_ready", "b")]
    with pytest.raises(errors.PluginNotRunning, match="removed from the configuration"):
        removed.available.connection(Deadline(1))


@pytest.mark.fault("P15")
def test_a_reload_where_nothing_ran_leaves_no_way_to_the_old_plugin(make_host: Make) -> None:
    """Who had it in hand cannot start a process that the host knows nothing of."""
    host = make_host(plugin("a", enabled=False))
    old = host.used().plugin("a")
    host.reload(configuration(plugin("a", env={"X": "1"})))
    with pytest.raises(errors.UnknownPlugin):
        old.start(enable=True)
    assert host["a"].request("facts")["env"]["X"] == "1"
