"""From configuration to process: every check before anything runs, every failure in words that help."""
from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from legacy_plugins import PluginHost, PluginState, errors
from legacy_plugins.config.model import PluginConfig, TrustConfig
from legacy_plugins.host.launch import ProgramLauncher, StartDelayed

from .conftest import PROGRAMS, Recorder, configuration, plugin

Make = Callable[..., PluginHost]
TOKEN = "0123456789abcdef"


def script(folder: Path, text: str, mode: int = 0o755) -> Path:
    """An executable file."""
    path = folder / "program"
    path.write_bytes(text.encode("latin-1"))
    path.chmod(mode)
    return path


def launch(path: Path, **config: Any) -> Any:
    """Launch a program whose folder is trusted."""
    trust = TrustConfig(directories=(str(path.parent),), permissions="off")
    return ProgramLauncher(trust, TOKEN)(PluginConfig(name="a", command=str(path), **config))


@pytest.mark.req("R35")
@pytest.mark.fault("P1")
@pytest.mark.parametrize(("text", "mode", "said"), [
    ("#!/no/such/interpreter\n", 0o755, "needs the interpreter '/no/such/interpreter'"),
    ("#!/bin/sh\n", 0o644, "not executable"),
    ("\x7fELF\x02\x01\x01" + "\0" * 40, 0o755, "wrong architecture"),
])
def test_what_cannot_be_executed_says_why(tmp_path: Path, text: str, mode: int, said: str) -> None:
    """The error names the plugin and the cause, and is not worth another try."""
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(errors.PluginStartFailed, match="'a'") as caught:
        launch(script(tmp_path, text, mode))
    assert said in str(caught.value)
    assert not isinstance(caught.value, StartDelayed)
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.mark.req("R35")
@pytest.mark.fault("P1")
def test_a_missing_file_or_folder_says_which(tmp_path: Path) -> None:
    """A missing program, and a missing working directory, are told apart."""
    with pytest.raises(errors.PluginStartFailed, match="no such file"):
        launch(tmp_path / "absent")
    with pytest.raises(errors.PluginStartFailed, match="`cwd`"):
        launch(script(tmp_path, "#!/bin/sh\n"), cwd=str(tmp_path / "absent"))


def test_a_wrapper_that_was_not_found_starts_nothing(tmp_path: Path) -> None:
    """A bare name, which the loader leaves where PATH has no such program, is refused before anything runs."""
    trace = tmp_path / "trace"
    path = script(tmp_path, f"#!/bin/sh\ntouch {trace}\n")
    with pytest.raises(errors.PluginStartFailed, match=r"`wrapper` 'no-such-sandbox' was not found on PATH"):
        launch(path, wrapper=("no-such-sandbox", "--strict"))
    assert not trace.exists()


def test_a_wrapper_stands_in_front_of_the_command(make_host: Make, tmp_path: Path) -> None:
    """The operator's wrapper is executed with the command and its arguments as its own."""
    wrapper = script(tmp_path, '#!/bin/sh\nWRAPPED="$1" exec "$@"\n')
    host = make_host(plugin("a", wrapper=[str(wrapper)], env={"X": "1"}))
    facts = host["a"].request("facts")
    assert "python" in facts["env"]["WRAPPED"]
    assert facts["env"]["X"] == "1"


@pytest.mark.req("R29")
def test_the_checksum_is_compared_at_every_start(make_host: Make, tmp_path: Path) -> None:
    """A program that was changed since does not run again; both values are told."""
    path = tmp_path / "plugin.py"
    path.write_bytes((PROGRAMS / "plugin.py").read_bytes())
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    config = plugin("a", sha256=before.upper())
    config["args"][2] = str(path)
    host = make_host(config, trust={"directories": [str(tmp_path)], "commands": ["python"], "permissions": "off"})
    assert host["a"].request("echo", [1]) == [1]
    path.write_text("print('evil')\n")
    after = hashlib.sha256(path.read_bytes()).hexdigest()
    host["a"].restart()
    with pytest.raises(errors.UntrustedCommand, match=f"{after}.*{before}"):
        host["a"].request("echo")


@pytest.mark.req("R27", "R28", "R34")
@pytest.mark.fault("T9", "T12")
def test_folder_and_environment_are_the_configured_ones(make_host: Make, tmp_path: Path,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    """`cwd`, `args`, `env` with references filled in, and nothing of the host's environment but what is named."""
    monkeypatch.setenv("API_TOKEN", "restricted")
    monkeypatch.setenv("LD_PRELOAD_LIKE", "x")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    host = make_host(plugin("a", cwd=str(tmp_path), env={"TOKEN": "${API_TOKEN}", "LEVEL": "${NONE:-info}"}))
    facts = host["a"].request("facts")
    assert facts["cwd"] == str(tmp_path)
    assert (facts["env"]["TOKEN"], facts["env"]["LEVEL"]) == ("restricted", "info")
    harmless = {"PATH", "LANG", "TZ", "TMPDIR", "HOME", "TOKEN", "LEVEL", "LEGACY_PLUGINS_TOKEN"}
    assert {name for name in facts["env"] if not name.startswith("LC_")} <= harmless
    assert "restricted" not in repr(host.config)


def test_limits_are_in_force_before_the_plugin_runs(make_host: Make) -> None:
    """`limits.openFiles` is what the process sees."""
    host = make_host(plugin("a", limits={"openFiles": 40}))
    pid = host["a"].request("facts")["pid"]
    assert host["a"].pid == pid
    limits = Path(f"/proc/{pid}/limits").read_text("utf-8")
    (line,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
    assert line.split()[3:5] == ["40", "40"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change users")
def test_the_program_runs_as_its_user(make_host: Make, heard: Recorder) -> None:
    """`uid` and `gid` are the process's own."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = script(Path(folder), "#!/bin/sh\necho \"$(id -u) $(id -g)\" >&2\nexec cat\n")
        host = make_host({"name": "a", "command": str(path), "handshake": "none", "uid": 65534, "gid": 65533},
                         trust={"directories": [folder], "permissions": "off"})
        host.start()
        assert heard.wait("plugin_log", "a")["message"] == "65534 65533"
        host.stop()


@pytest.mark.req("R35", "R36")
@pytest.mark.fault("P21")
def test_want_of_resources_is_worth_another_try(make_host: Make, heard: Recorder, monkeypatch: pytest.MonkeyPatch
                                                ) -> None:
    """A start that fails for want of descriptors is repeated after the backoff, and then works."""
    spawn, failures = subprocess.Popen, [errno.EMFILE, errno.EAGAIN]

    class Scarce(spawn):  # type: ignore[type-arg,misc,valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            if failures and "plugin.py" in str(args[0]):
                code = failures.pop()
                raise OSError(code, os.strerror(code))
            super().__init__(*args, **kwargs)
    monkeypatch.setattr(subprocess, "Popen", Scarce)
    host = make_host(plugin("a"))
    host.start()
    heard.wait_state("a", "ready")
    assert heard.states("a") == ["starting", "backoff", "starting", "backoff", "starting", "ready"]
    assert "out of resources" in heard.of("plugin_unavailable", "a")[0]["reason"]
    assert host["a"].status().restarts == 2


def test_a_launcher_that_raises_anything_fails_the_start(make_host: Make, heard: Recorder) -> None:
    """A defect on the way to the process ends in the state `failed`, with the error in its reason."""
    host = make_host(plugin("a"), plugin("b"))

    def broken(config: PluginConfig) -> Any:
        raise LookupError("what is this")
    host.substitute("a", broken)
    host.start()
    assert host["a"].state is PluginState.FAILED
    assert "what is this" in host["a"].status().reason
    assert host["b"].state is PluginState.READY


class SlowReading:
    """Reads a file for its checksum only when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.threads: List[str] = []
        monkeypatch.setattr("legacy_plugins.host.launch.file_sha256", self)

    def __call__(self, path: str) -> str:
        self.threads.append(threading.current_thread().name)
        self.begun.set()
        assert self.go_on.wait(20)
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _pinned(name: str, **config: Any) -> Dict[str, Any]:
    return plugin(name, sha256=hashlib.sha256((PROGRAMS / "plugin.py").read_bytes()).hexdigest(), **config)


@pytest.mark.fault("B3")
def test_reading_for_a_checksum_holds_up_no_other_plugin(make_host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are started, called, timed out and stopped meanwhile; the plugin starts once its file was read, once."""
    reading = SlowReading(monkeypatch)
    host = make_host(_pinned("a"), plugin("b"))
    host.start(wait=False)
    assert reading.begun.wait(20)
    host["b"].wait_ready(20)
    assert host["b"].request("echo", [1]) == [1]
    with pytest.raises(errors.PluginTimeout):
        host["b"].submit("wait", {"seconds": 0.5}, 0.05).result(20)
    host["b"].restart(timeout=20)
    assert host["b"].state is PluginState.READY
    assert host["a"].state is PluginState.STARTING
    reading.go_on.set()
    assert host["a"].request("echo", [2]) == [2]
    assert reading.threads == ["a-checksum"]


@pytest.mark.fault("B3")
@pytest.mark.parametrize("end", ["stop", "disable"])
def test_a_start_that_is_being_prepared_can_be_stopped(make_host: Any, monkeypatch: pytest.MonkeyPatch, end: str
                                                       ) -> None:
    """At once, whatever the reading does; it starts nothing later. The next start reads anew."""
    reading = SlowReading(monkeypatch)
    host = make_host(_pinned("a"))
    host.start(wait=False)
    assert reading.begun.wait(20)
    getattr(host["a"], end)(timeout=10)
    wanted = PluginState.STOPPED if end == "stop" else PluginState.DISABLED
    assert host["a"].state is wanted
    reading.go_on.set()
    host["a"].restart(timeout=20)
    assert host["a"].request("echo", [2]) == [2]
    assert reading.threads == ["a-checksum"] * 2
    host["a"].stop(timeout=10)
    assert host["a"].state is PluginState.STOPPED


def test_a_reload_reads_beforehand_too(make_host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old process serves while the file is read, and the new one after it."""
    reading = SlowReading(monkeypatch)
    host = make_host(plugin("a"))
    host.start()
    old = host["a"].pid
    reloading = threading.Thread(target=lambda: host.reload(configuration(_pinned("a"))))
    reloading.start()
    assert reading.begun.wait(20)
    assert host["a"].request("echo", [1]) == [1]
    assert host["a"].pid == old
    reading.go_on.set()
    reloading.join(20)
    assert host["a"].request("echo", [2]) == [2]
    assert host["a"].pid != old
    assert reading.threads == ["a-checksum"]


def test_what_was_read_counts_for_that_file_only(tmp_path: Path) -> None:
    """A file that was changed after it was read is read again, and refused."""
    program = tmp_path / "p"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    config = PluginConfig("a", str(program), executable=str(program),
                          sha256=hashlib.sha256(program.read_bytes()).hexdigest())
    launcher = ProgramLauncher(TrustConfig((str(tmp_path),), (), "off"), "t" * 16)
    launcher.read(config)
    program.write_text("#!/bin/sg\n")
    with pytest.raises(errors.UntrustedCommand, match="sha256"):
        launcher.check(config)
