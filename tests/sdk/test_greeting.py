"""How a plugin starts: handshake, hooks, readiness."""
from __future__ import annotations

from typing import Any, Dict

import pytest

from legacy_plugins import schemas
from legacy_plugins.protocol.handshake import HandshakeResult
from tests.examples.wire import SECONDS, WireError
from tests.sdk.plugin_process import HOLD, Start

DECLARED = """
plugin = Plugin("report", version="1.4.2", capabilities=["charts", "tables"])

@plugin.route("/reports/{id}", methods=["GET", "put"], auth=True, schema={"type": "object"}, name="report")
def report(request):
    '''One report,
    as JSON.

    More about it.
    '''

@plugin.route("/", methods="POST", description="Another one")
def other(request):
    '''Not used.'''

@plugin.on("Sync*")
@plugin.on("*Failed")
@plugin.on("Sync*")
def on(event):
    pass

plugin.run()
"""


@pytest.mark.req("R12", "R13", "R20")
def test_the_handshake_tells_what_was_declared(start: Start) -> None:
    """The answer has name, version, capabilities, routes, patterns of events, and is what the schema asks for."""
    answer = start(DECLARED).handshake("another-name")
    assert answer == {
        "name": "report", "version": "1.4.2", "capabilities": ["charts", "tables"], "protocolVersion": "1.0",
        "reverseRpc": True, "ready": True, "events": ["Sync*", "*Failed"],
        "routes": [{"path": "/reports/{id}", "method": ["GET", "PUT"], "auth": True, "schema": {"type": "object"},
                    "name": "report", "description": "One report, as JSON."},
                   {"path": "/", "method": ["POST"], "auth": False, "description": "Another one"}]}
    schemas.validator("handshake-result").validate(answer)
    assert HandshakeResult.parse(answer).events == ("Sync*", "*Failed")


@pytest.mark.req("R9", "R13")
@pytest.mark.parametrize("wanted", [True, False])
def test_the_least_handshake(start: Start, wanted: bool) -> None:
    """A plugin that declares nothing says so; reverse calls are declared unless the author forgoes them."""
    answer = start(f"Plugin('least', reverse_rpc={wanted}).run()").handshake()
    assert answer == {"name": "least", "version": "0.0.0", "capabilities": [], "protocolVersion": "1.0",
                      "reverseRpc": wanted, "ready": True}
    schemas.validator("handshake-result").validate(answer)


@pytest.mark.parametrize(("params", "accepted"), [
    ({"protocolVersions": ["2.0", "1.0"]}, True), ({}, True), (None, True), ([], True),
    ({"protocolVersions": ["1.0"], "limits": {"maxFrameBytes": "many"}, "unknown": 1}, True),
    ({"protocolVersions": ["2.0"]}, False), ({"protocolVersions": []}, False), ({"protocolVersions": "1.0"}, False),
])
def test_the_choice_of_the_protocols_version(share: Start, params: Any, accepted: bool) -> None:
    """Version 1.0 is chosen where it is offered or nothing is said; otherwise the handshake is refused, saying both."""
    plugin = share("Plugin('chooser').run()")
    answer = plugin.response(plugin.begin("plugin/handshake", params))
    if accepted:
        assert answer["result"]["protocolVersion"] == "1.0"
    else:
        assert answer["error"]["code"] == -32602
        assert "1.0" in answer["error"]["message"]
        assert repr(params["protocolVersions"]) in answer["error"]["message"]


HOOKS = HOLD + """
plugin = Plugin("hooked", ready=READY, max_workers=2)
steps = []
gate = threading.Event()

@plugin.on_start
def first():
    print("first hook began")
    gate.wait() if READY else hold("first hook")
    steps.append("first hook")

@plugin.on_start
def second():
    steps.append(threading.current_thread().name)
    plugin.route("/late")(lambda request: "late")

@plugin.health
def health():
    return "ok" if steps else "failing"

@plugin.method("steps")
def show(params):
    return steps
"""


def test_no_handler_runs_before_the_hooks(start: Start, tmp_path: Any) -> None:
    """The handshake's answer, methods and the health function wait for the hooks; what a hook declares is told."""
    plugin = start("READY = True\n" + HOOKS + "import signal\nsignal.signal(signal.SIGUSR1, lambda *_: gate.set())\n"
                                              "plugin.run()\n")
    plugin.log("first hook began")
    handshake = plugin.begin("plugin/handshake", {"protocolVersions": ["1.0"]})
    steps = plugin.begin("steps")
    assert plugin.request("plugin/health") == {"status": "ok"}
    assert len(plugin.messages) == 1
    plugin.process.send_signal(10)
    assert plugin.response(handshake)["result"]["routes"][0]["path"] == "/late"
    assert plugin.response(steps)["result"] == ["first hook", "MainThread"]
    assert plugin.request("plugin/health") == {"status": "ok"}


def test_a_plugin_may_say_that_it_is_ready_later(start: Start) -> None:
    """With ready=False the handshake is answered before the hooks, which may call the host; then comes plugin/ready."""
    plugin = start("READY = False\n" + HOOKS + "plugin.on_start(plugin.ready)\nplugin.on_start(plugin.ready)\n"
                                               "plugin.run()\n")
    answer = plugin.handshake()
    assert answer["ready"] is False
    assert "routes" not in answer
    steps = plugin.begin("steps")
    plugin.answer(plugin.held("first hook"))
    ready = plugin.message("plugin/ready")
    assert [route["path"] for route in ready["params"]["routes"]] == ["/late"]
    schemas.validator("ready-params").validate(ready["params"])
    assert plugin.response(steps)["result"] == ["first hook", "MainThread"]
    assert plugin.request("steps") == ["first hook", "MainThread"]
    assert [message["method"] for message in plugin.messages if "method" in message] == ["test/hold", "plugin/ready"]


def test_a_plugin_that_was_ready_sooner_says_so_in_the_handshake(start: Start) -> None:
    """When `plugin.ready()` comes before the handshake, the handshake says ready, and nothing needs to follow."""
    plugin = start("""
    plugin = Plugin("soon", ready=False)
    plugin.on_start(plugin.ready)
    plugin.on_start(lambda: print("ready"))
    plugin.run()
    """)
    plugin.log("ready")
    assert plugin.handshake()["ready"] is True
    assert plugin.end() == 0
    assert len(plugin.messages) == 1


@pytest.mark.fault("P2")
def test_a_hook_that_fails_fails_the_handshake(start: Start) -> None:
    """The host learns from the handshake's error why the plugin cannot start, and the process ends with 1."""
    plugin = start("""
    import signal
    plugin = Plugin("broken")
    gate = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: gate.set())

    @plugin.on_start
    def load():
        print("loading")
        gate.wait()
        raise FileNotFoundError("the model is not there")

    plugin.run()
    """)
    plugin.log("loading")
    call = plugin.begin("plugin/handshake", {})
    assert plugin.request("plugin/health") == {"status": "ok"}  # so the handshake was read
    plugin.process.send_signal(10)
    assert plugin.error(call) == {
        "code": -32603, "message": "the plugin could not start: FileNotFoundError: the model is not there"}
    assert plugin.process.wait(SECONDS) == 1
    plugin.log("FileNotFoundError: the model is not there")


def test_a_hook_may_choose_the_exit_code(start: Start) -> None:
    """`sys.exit(78)` in a hook ends the plugin with that code, even while a thread of its own still runs."""
    plugins = [start(f"""
    plugin = Plugin("misconfigured")

    @plugin.on_start
    def check():
        threading.Thread(target=threading.Event().wait).start()
        sys.exit({said})

    plugin.run()
    """) for said in ("78", "", "'a sentence'")]
    assert [plugin.process.wait(SECONDS) for plugin in plugins] == [78, 0, 1]


@pytest.mark.parametrize("call", ["plugin.host.request('host/user')", "plugin.publish('Event')",
                                  "plugin.host.notify('host/tell')"])
def test_a_hook_cannot_call_the_host_before_the_handshake(start: Start, call: str) -> None:
    """Without ready=False a hook that calls the host is told why that cannot work, instead of waiting for ever."""
    plugin = start(f"""
    plugin = Plugin("early")
    plugin.on_start(lambda: {call})
    plugin.run()
    """)
    assert plugin.process.wait(SECONDS) == 1
    assert "ready=False" in plugin.log("RuntimeError: the host takes nothing")


def test_a_hook_does_not_wait_for_ever_for_the_handshake(start: Start) -> None:
    """With ready=False a hook that calls the host fails when no handshake has come within its time-out."""
    plugin = start("""
    plugin = Plugin("lonely", ready=False)
    plugin.on_start(lambda: plugin.host.request("host/user", timeout=0.05))
    plugin.run()
    """)
    assert plugin.process.wait(SECONDS) == 1
    plugin.log("PluginTimeout: the host sent no handshake within 0.05 s")


def test_what_is_declared_too_late_is_refused(start: Start) -> None:
    """After the handshake routes and subscriptions cannot be added any more; the author is told so."""
    plugin = start("""
    plugin = Plugin("late")
    WAYS = {"route": lambda: plugin.route("/late"), "on": lambda: plugin.on("Late*")}

    @plugin.method("declare")
    def declare(params):
        try:
            WAYS[params["what"]]()
        except RuntimeError as error:
            return str(error)

    plugin.run()
    """)
    params: Dict[str, Any]
    for params in ({"what": "route"}, {"what": "on"}):
        assert plugin.request("declare", params) is None
    plugin.handshake()
    for params in ({"what": "route"}, {"what": "on"}):
        assert "before the plugin is ready" in plugin.request("declare", params)


def test_the_handshake_may_be_repeated(start: Start) -> None:
    """A second handshake gets the same answer."""
    plugin = start(DECLARED)
    assert plugin.handshake() == plugin.handshake()
    with pytest.raises(WireError):
        plugin.request("plugin/unknown")
