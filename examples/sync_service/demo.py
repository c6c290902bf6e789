"""`python -m examples.sync_service.demo flask|django [--port 8000] [--workers 1]`: build the plugins, then serve.

A plugin whose language is missing here is left out with one line that says what to install; the others run. At the end
this process becomes gunicorn, so that Ctrl-C reaches the server and nothing stays between. All data is kept below
`build/demo/`, whichever application serves it. Set SYNC_ROOTS (folders separated by `:`) to synchronise folders of your
own.
"""
from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import Dict, List, Tuple

import yaml

from examples.cargo_build import CargoError, build

from .settings import HERE, PLUGINS

ROOT = HERE.parent.parent
INSTANCE = ROOT / "build" / "demo"

# name -> what gunicorn serves
APPLICATIONS: Dict[str, str] = {
    "flask": "examples.flask_app.wsgi:app", "django": "examples.django_app.wsgi:application"}

# A page of each plugin to look at, below the mount.
PAGES: Tuple[Tuple[str, str], ...] = (("backup-plugin", "backup/backups"), ("notifier", "notifier/events"),
                                      ("report", "report/report.svg"))


def missing_languages() -> Dict[str, str]:
    """Build what is to be built; the plugins that cannot run here, with the reason in one line."""
    missing: Dict[str, str] = {}
    try:
        print("Building backup-plugin (Rust) ...", flush=True)
        build(HERE / "plugins" / "backup-plugin")
    except CargoError as error:
        missing["backup-plugin"] = f"Rust: {error}"
    if shutil.which("node") is None:
        missing["notifier"] = "Node: node is not on PATH; install it: apt-get install nodejs"
    return missing


def configuration(missing: Dict[str, str]) -> Path:
    """The plugins' configuration: the one in the repository, or a copy beside it that disables what cannot run."""
    if not missing:
        return PLUGINS
    document = yaml.safe_load(PLUGINS.read_text(encoding="utf-8"))
    for plugin in document["plugins"]:
        if plugin["name"] in missing:
            plugin["enabled"] = False
    effective = HERE / "plugins.demo.yaml"
    partial = effective.with_name(f".{effective.name}.{os.getpid()}")
    partial.write_text("# Written by demo.py from plugins.yaml.\n" + yaml.safe_dump(document, sort_keys=False),
                       encoding="utf-8")
    os.replace(str(partial), str(effective))
    return effective


def sample_data(inbox: Path) -> None:
    """Something to synchronise, on the first run."""
    if inbox.exists():
        return
    (inbox / "letters").mkdir(parents=True)
    (inbox / "readme.txt").write_text("Put files here, then synchronise this folder.\n", encoding="utf-8")
    (inbox / "letters" / "first.txt").write_text("Dear reader,\n", encoding="utf-8")
    (inbox / "numbers.csv").write_text("".join(f"{n},{n * n}\n" for n in range(1000)), encoding="utf-8")


def port_is_free(port: int) -> bool:
    """Whether the server will be able to listen on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def announce(port: int, missing: Dict[str, str]) -> None:
    """Say what is left out and where to look; a plugin that is left out has nothing to look at."""
    for name, reason in missing.items():
        print(f"LEFT OUT: {name}: {reason}")
    base = f"http://127.0.0.1:{port}"
    pages = "\n             ".join(f"curl {base}/api/plugins/{page}" for name, page in PAGES if name not in missing)
    print(f"""
Home page    {base}/
Synchronise  curl -H 'Content-Type: application/json' -d '{{"source": "inbox", "target": "mirror"}}' {base}/sync
Plugins      {pages}
Ctrl-C stops the server and its plugins.
""", flush=True)


def set_environment(plugins: Path, instance: Path) -> None:
    """What the application reads; the operator's own SYNC_ROOTS come after the demo's folder."""
    roots = [str(instance / "data"), *filter(None, os.environ.get("SYNC_ROOTS", "").split(os.pathsep))]
    os.environ["SYNC_ROOTS"] = os.pathsep.join(roots)
    os.environ["SYNC_INSTANCE"] = str(instance)
    os.environ["LEGACY_PLUGINS_CONFIG"] = str(plugins)
    os.environ.setdefault("BACKUP_ROOT", str(instance / "backups"))


def server_command(application: str, port: int, workers: int) -> List[str]:
    """gunicorn with the settings beside this file."""
    return [sys.executable, "-m", "gunicorn", "--config", str(HERE / "gunicorn_conf.py"),
            "--bind", f"127.0.0.1:{port}", "--workers", str(workers), APPLICATIONS[application]]


def main() -> int:
    """Prepare everything, then become the server."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("application", choices=sorted(APPLICATIONS))
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--instance", type=Path, default=INSTANCE, help="folder of data, record and backups")
    options = parser.parse_args()
    if importlib.util.find_spec("gunicorn") is None:
        print(f"gunicorn is missing; install it: {sys.executable} -m pip install gunicorn", file=sys.stderr)
        return 1
    if not port_is_free(options.port):
        print(f"Port {options.port} is in use; choose another: PORT={options.port + 1}", file=sys.stderr)
        return 1
    missing = missing_languages()
    instance = options.instance.resolve()
    sample_data(instance / "data" / "inbox")
    set_environment(configuration(missing), instance)
    announce(options.port, missing)
    os.chdir(str(ROOT))
    command = server_command(options.application, options.port, options.workers)
    os.execv(command[0], command)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # while building; the server handles its own
        sys.exit(130)
