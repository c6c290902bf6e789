"""The application that the servers serve: a few views around two plugins. It is imported as `served:app`.

SERVED_PLUGINS names the plugins' configuration. SERVED_EAGER=1 uses a plugin at import, which with a server that
preloads happens in its parent process.
"""
import ctypes
import logging
import os

from flask import Flask, jsonify, request

from legacy_plugins.integrations.flask import LegacyPlugins, register_error_handlers

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s")

plugins = LegacyPlugins()
app = Flask(__name__)
app.config["LEGACY_PLUGINS_CONFIG"] = os.environ["SERVED_PLUGINS"]
plugins.init_app(app)
register_error_handlers(app)


@app.route("/")
def index():
    """A view that knows nothing of plugins."""
    return jsonify(worker=os.getpid())


@app.route("/call")
def call():
    """Asks both plugins."""
    told = plugins["plain"].request("who", {"tag": request.args.get("tag")})
    deaf = plugins["deaf"].request("who", {})
    return jsonify(worker=os.getpid(), plain=told["pid"], deaf=deaf["pid"], parent=told["parent"],
                   tag=told["echo"]["tag"])


@app.route("/wait")
def wait():
    """Waits for a plugin, and leaves a file `waiting-TAG` to say so."""
    open(f"waiting-{request.args['tag']}", "w").close()
    told = plugins["plain"].request("wait", {"seconds": float(request.args["seconds"])}, timeout=60)
    return jsonify(worker=os.getpid(), plain=told["pid"])


@app.route("/stuck")
def stuck():
    """Stops this whole process, whatever its kind of concurrency: it sleeps in C and keeps the interpreter's lock."""
    while True:
        ctypes.PyDLL(None).pause()


if os.environ.get("SERVED_EAGER"):
    with app.app_context():
        EAGER = plugins["plain"].request("who", {})["pid"], plugins["deaf"].request("who", {})["pid"]
