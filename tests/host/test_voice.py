"""What plugins say: each message to who is in charge, and what may not be said is refused and reported."""
from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable

import pytest

from legacy_plugins import PluginHost, PluginState, errors
from legacy_plugins.errors import PluginError
from legacy_plugins.host import incarnation
from legacy_plugins.testing import fake_plugin

from .conftest import LogBook, Recorder, flush_notices, plugin

Make = Callable[..., PluginHost]


def frame(body: str) -> str:
    """A frame with this body, which is ASCII."""
    return f"Content-Length: {len(body)}\r\n\r\n{body}"


BATCH = frame("[]")


@pytest.mark.req("R3")
@pytest.mark.fault("J8", "J13")
def test_one_fault_hurts_one_caller(make_host: Make, log: LogBook) -> None:
    """An answer with both result and error fails its own call; the calls beside it and after it are answered."""
    host = make_host(plugin("a"))
    client = host["a"]
    beside = client.submit("wait", {"seconds": 0.2, "value": "fine"})
    call = client.submit("wait", {"seconds": 30})
    client.request("raw", {"data": frame(f'{{"jsonrpc": "2.0", "id": {call.id}, "result": 1, "error": 2}}')})
    assert isinstance(call.exception(20), errors.ProtocolError)
    assert beside.result(20) == "fine"
    assert client.request("echo", [1]) == [1]
    assert client.status().faults == 1
    assert "the message began" in log.wait("of plugin 'a' broke the protocol").getMessage()


@pytest.mark.req("R3", "R36")
@pytest.mark.fault("J8")
def test_three_faults_within_a_while_end_the_process(make_host: Make, heard: Recorder) -> None:
    """The third message fault within `faults.perSeconds` is a crash that says so; the plugin is restarted."""
    host = make_host(plugin("a"))
    client = host["a"]
    for _ in range(2):
        client.request("raw", {"data": BATCH})
    call = client.submit("raw", {"data": BATCH})
    crash = heard.wait("plugin_crashed", "a")["crash"]
    assert crash.fault.startswith("protocol error: 3 messages within 60 s broke the protocol")
    assert crash.signal == "SIGKILL"
    assert isinstance(call.exception(20), errors.PluginCrashed) or call.result() is True
    heard.wait_state("a", "ready", 2)
    assert client.request("echo", [1]) == [1]


def test_faults_that_are_far_apart_are_forgiven(make_host: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults that lie further apart than `faults.perSeconds` never end the process."""
    offset = [0.0]
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + offset[0])
    monkeypatch.setattr(incarnation, "time", clock)
    host = make_host(plugin("a", faults={"limit": 2, "perSeconds": 60}))
    client = host["a"]
    pid = client.request("facts")["pid"]
    for _ in range(5):
        client.request("raw", {"data": BATCH})
        assert client.request("facts")["pid"] == pid
        offset[0] += 61.0
    assert client.status().faults == 5


@pytest.mark.req("R3", "R36")
@pytest.mark.fault("F1", "F14")
def test_a_framing_error_ends_the_process_and_says_so(make_host: Make) -> None:
    """Text among the frames fails every pending call with a crash that quotes it and says what to do."""
    host = make_host(plugin("a", restart={"backoffMs": 60_000}))
    client = host["a"]
    pending = client.submit("wait", {"seconds": 30})
    client.submit("raw", {"data": "debug: here I am\n"})
    error = pending.exception(20)
    assert isinstance(error, errors.PluginCrashed)
    assert "non-protocol data to stdout" in error.crash.fault
    assert "debug: here I am" in error.crash.fault
    assert "stderr" in str(error)
    assert client.last_crash == error.crash
    assert client.state is PluginState.BACKOFF


@pytest.mark.fault("F17", "P5")
@pytest.mark.parametrize(("number", "said"), [(signal.SIGSEGV, "a crash in native code"), (signal.SIGKILL, "memory")])
def test_a_crash_in_the_middle_of_an_answer_is_a_crash(make_host: Make, number: int, said: str) -> None:
    """It is told by its signal, with the diagnosis, and is not taken for a broken protocol."""
    host = make_host(plugin("a", restart={"backoffMs": 60_000}))
    error = host["a"].submit("signal", {"number": number, "said": 'Content-Length: 100\r\n\r\n{"json'}).exception(20)
    assert isinstance(error, errors.PluginCrashed)
    assert (error.crash.fault, error.crash.signal) == (None, signal.Signals(number).name)
    assert said in str(error)


@pytest.mark.fault("J15", "L1")
def test_errors_that_name_no_call_are_told_within_bounds(make_host: Make, log: LogBook) -> None:
    """A storm of them makes one warning, escaped, on the dispatch thread; nobody is hurt."""
    host = make_host(plugin("a"))
    body = json.dumps({"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "what?\n\x1b[2J"}})
    frame = f"Content-Length: {len(body)}\r\n\r\n{body}"
    assert host["a"].request("raw", {"data": frame * 500}) is True
    flush_notices()
    (record,) = log.containing("named no call")
    assert "what?\\n\\x1b[2J" in record.getMessage()
    assert record.threadName == "legacy-plugins-dispatch"
    assert host["a"].status().faults == 0


@pytest.mark.fault("P6")
def test_a_closed_stdout_is_a_crash(make_host: Make) -> None:
    """A plugin that lives on without stdout is ended at once, whatever it does."""
    host = make_host(plugin("a", restart={"backoffMs": 60_000}))
    call = host["a"].submit("closeStdout")
    error = call.exception(20)
    assert isinstance(error, errors.PluginCrashed)
    assert "stdout" in str(error)


@pytest.mark.fault("P7")
def test_a_closed_stdin_is_a_crash(make_host: Make) -> None:
    """A plugin that can no longer be told anything is ended at the next write."""
    host = make_host(plugin("a", restart={"backoffMs": 60_000}))
    client = host["a"]
    client.request("closeStdin")
    call = client.submit("echo")
    error = call.exception(20)
    assert isinstance(error, errors.PluginCrashed)
    assert "closed stdin" in str(error)


@pytest.mark.req("R2", "R42")
def test_a_granted_event_comes_out_as_a_signal(make_host: Make, heard: Recorder) -> None:
    """What `events.publish` matches is sent as `plugin_event` with payload and metadata, and counted."""
    host = make_host(plugin("a", events={"publish": ["Report*"]}))
    host["a"].request("publish", {"eventType": "ReportBuilt", "payload": {"x": 1}, "metadata": {"y": 2}})
    assert heard.wait("plugin_event", "a") == {"event_type": "ReportBuilt", "payload": {"x": 1}, "metadata": {"y": 2}}
    assert host["a"].status().events["published"] == 1


@pytest.mark.req("R42")
@pytest.mark.parametrize(("params", "reason"), [
    ({"eventType": "Other"}, "events.publish allows ['Report*']"),
    ({"payload": 1}, "schema"), ([1], "schema"), (None, "schema")])
def test_other_published_events_are_refused(make_host: Make, heard: Recorder, log: LogBook, params: Any,
                                            reason: str) -> None:
    """What is not granted, or has the wrong shape, is announced as dropped and logged; no receiver gets it."""
    host = make_host(plugin("a", events={"publish": ["Report*"]}))
    with fake_plugin(host, "a") as fake:
        fake.tell_host("plugin/publishEvent", params)
        assert reason in heard.wait("event_dropped", "a")["reason"]
        assert reason in log.wait("were refused").getMessage()
    assert heard.of("plugin_event") == []


@pytest.mark.req("R19")
def test_acknowledgements_as_request_and_as_notification(make_host: Make, heard: Recorder) -> None:
    """`plugin/ackEvent` confirms either way; an id that nothing waits for is refused, or ignored."""
    host = make_host(plugin("a", events={"ack": True}))
    with fake_plugin(host, "a") as fake:
        ids = [host.broadcast(kind).event_id for kind in "AB"]
        fake.wait_for_events(2)
        assert fake.call_host("plugin/ackEvent", {"eventId": ids[0]}) == {}
        fake.tell_host("plugin/ackEvent", {"eventId": ids[1]})
        assert [heard.wait("event_acknowledged", "a", count)["event_id"] for count in (1, 2)] == ids
        for params in ({"eventId": ids[0]}, {"eventId": 7}, {}, [ids[0]], None):
            with pytest.raises(errors.InvalidParams):
                fake.call_host("plugin/ackEvent", params)
        fake.tell_host("plugin/ackEvent", {"eventId": ids[0]})
        assert host["a"].status().events["acknowledged"] == 2


@pytest.mark.fault("J17")
def test_requests_of_a_plugin_that_shuts_down_are_refused(make_host: Make, tmp_path: Path) -> None:
    """From the moment it was asked to end, a plugin's calls are answered with an error, and no service runs."""
    trace, called = tmp_path / "trace", threading.Event()
    host = make_host(plugin("a", {"askAtShutdown": "host/x", "trace": str(trace)}, allowReverseRpc=True),
                     services={"host/x": lambda params, caller: called.set()})
    host.start()
    host.stop()
    answer = json.loads(trace.read_text().splitlines()[2].rsplit(" ", 1)[0])
    assert answer["error"] == {"code": -32603, "message": "the host is shutting this plugin down"}
    assert not called.is_set()


@pytest.mark.parametrize("method", ["$/progress", "$/setTrace", "$/cancelRequest", "window/logMessage"])
def test_unknown_notifications_are_ignored(make_host: Make, method: str) -> None:
    """A language server's notifications, and ours with params that are not ours, are no faults."""
    host = make_host(plugin("a"))
    with fake_plugin(host, "a", {"echo": lambda params: params}) as fake:
        for params in ({"token": 1, "value": 2}, [1], None, {"id": {}}, {"id": 99}):
            fake.tell_host(method, params)
        assert host["a"].request("echo", [1]) == [1]
        assert host["a"].status().faults == 0


@pytest.mark.req("R42")
def test_outcomes_of_calls_are_announced(make_host: Make, heard: Recorder) -> None:
    """`request_finished` tells method and outcome of the application's calls, and of no others."""
    host = make_host(plugin("a"))

    def fail(params: Any) -> Any:
        raise errors.RpcError(7, "no")
    with fake_plugin(host, "a", {"good": lambda params: 1, "bad": fail}):
        host["a"].request("good")
        with pytest.raises(PluginError):
            host["a"].request("bad")
    flush_notices()
    finished = heard.of("request_finished", "a")
    assert [(facts["method"], facts["outcome"]) for facts in finished] == [("good", "answered"), ("bad", "failed")]
    assert all(facts["duration"] >= 0 for facts in finished)


def test_the_wire_has_the_same_rules_for_every_id(make_host: Make) -> None:
    """Answers with ids of another type, or that were never issued, are faults and resolve nothing."""
    host = make_host(plugin("a", faults={"limit": 100}))
    client = host["a"]
    call = client.submit("wait", {"seconds": 30})
    for wrong in (f'"{call.id}"', f"{call.id}.0", "true", "999999", "[1]"):
        client.request("raw", {"data": frame(f'{{"jsonrpc": "2.0", "id": {wrong}, "result": 1}}')})
    assert not call.done()
    assert client.status().faults == 5
    assert call.cancel()


FORGED = "bad\n2026-01-01 token=SECRET \x1b[2J INFO legacy_plugins.plugin.b plugin=b all is well"
REDACTED: Any = {"redact": ["token=\\S+"]}


@pytest.mark.req("R26")
@pytest.mark.fault("L3")
@pytest.mark.parametrize("how", [
    {"handshakeError": {"code": 5, "message": FORGED}}, {"answer": {"name": FORGED}},
    {"answer": {"reverseRpc": FORGED}}, {"answer": {"routes": [{"path": FORGED, "method": "GET"}]}},
], ids=["error", "name", "shape", "route"])
def test_a_failed_handshake_forges_no_line(make_host: Make, log: LogBook, heard: Recorder, how: Any) -> None:
    """What is quoted of a handshake is escaped and redacted in the log, the status, the signal and the error."""
    host = make_host(plugin("a", how, logs=REDACTED, restart={"enabled": False}, expect={"name": "a"}))
    host.start()
    with pytest.raises(errors.PluginStartFailed) as caught:
        host["a"].request("echo")
    flush_notices()
    texts = [record.getMessage() for record in log.records]
    texts += [host["a"].status().reason, str(caught.value), heard.wait("plugin_unavailable", "a")["reason"]]
    report = host["a"].last_crash
    assert report is not None
    texts += [report.summary]
    for text in texts:
        assert "SECRET" not in text
        assert text.isprintable(), text
    assert "[redacted]" in str(caught.value)


@pytest.mark.req("R26")
@pytest.mark.fault("L3")
def test_a_health_error_forges_no_line(make_host: Make, log: LogBook, heard: Recorder) -> None:
    """What a plugin answers to a health check is escaped and redacted, in the warning as in the crash report."""
    host = make_host(plugin("a", {"health": {"status": "failing", "message": FORGED}}, logs=REDACTED,
                            health={"enabled": True, "intervalMs": 50, "failures": 2}, restart={"enabled": False}))
    host.start()
    heard.wait_state("a", "failed")
    flush_notices()
    report = host["a"].last_crash
    assert report is not None
    assert "bad\\n2026" in report.summary
    for text in (*(record.getMessage() for record in log.records), report.summary, host["a"].status().reason):
        assert "SECRET" not in text
        assert text.isprintable(), text


@pytest.mark.req("R26")
@pytest.mark.fault("L3")
def test_what_broke_the_protocol_is_quoted_without_its_secrets(make_host: Make, log: LogBook, heard: Recorder) -> None:
    """A broken message, an error answer to nothing, and noise between frames are redacted where they are quoted."""
    host = make_host(plugin("a", logs=REDACTED, restart={"enabled": False}))
    host["a"].request("raw", {"data": frame('{"token=SECRET": 1')})
    host["a"].request("raw", {"data": frame('{"jsonrpc":"2.0","id":null,"error":{"code":5,"message":"token=SECRET"}}')})
    assert "[redacted]" in log.wait("broke the protocol").getMessage()
    assert "[redacted]" in log.wait("named no call").getMessage()
    with pytest.raises(PluginError, match="redacted"):
        host["a"].request("raw", {"data": "noise token=SECRET\n"})
    heard.wait_state("a", "failed")
    flush_notices()
    report = host["a"].last_crash
    assert report is not None
    assert "[redacted]" in report.summary
    for text in (*(record.getMessage() for record in log.records), host["a"].status().reason):
        assert "SECRET" not in text


@pytest.mark.parametrize("method", ["plugin/ready", "plugin/publishEvent"])
def test_a_notification_sent_as_a_request_is_explained(make_host: Make, log: LogBook, method: str) -> None:
    """Its author learns what to change, in the answer and in the log, instead of being sent after a missing grant."""
    host = make_host(plugin("a"))
    answer = host["a"].request("ask", {"method": method, "params": {}})
    assert answer["error"]["code"] == -32600
    assert "it is a notification" in answer["error"]["message"]
    assert "it is a notification" in log.wait(method).getMessage()
