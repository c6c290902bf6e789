"""The Celery application: tasks around two plugins.

SERVED_REDIS names the broker. SERVED_SIGNALS=1 has the pool's children start their plugins at once.
"""
import ctypes
import logging
import os
import signal

from celery import Celery

from legacy_plugins import PluginHost, errors

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s")

app = Celery("tasks", broker=os.environ["SERVED_REDIS"], backend=os.environ["SERVED_REDIS"])
app.conf.update(broker_connection_retry_on_startup=True, worker_prefetch_multiplier=1)
host = PluginHost(os.environ["SERVED_PLUGINS"])

if os.environ.get("SERVED_SIGNALS"):
    from legacy_plugins.integrations.celery import connect_signals

    connect_signals(host)


@app.task(name="index")
def index():
    """A task that knows nothing of plugins."""
    return {"worker": os.getpid()}


@app.task(name="call", throws=(errors.PluginError,))
def call(tag=None):
    """Asks both plugins."""
    told = host["plain"].request("who", {"tag": tag})
    deaf = host["deaf"].request("who", {})
    return {"worker": os.getpid(), "plain": told["pid"], "deaf": deaf["pid"], "parent": told["parent"],
            "tag": told["echo"]["tag"]}


@app.task(name="wait", throws=(errors.PluginError,))
def wait(tag, seconds):
    """Waits for a plugin, and leaves a file `waiting-TAG` to say so."""
    open(f"waiting-{tag}", "w").close()
    told = host["plain"].request("wait", {"seconds": float(seconds)}, timeout=60)
    return {"worker": os.getpid(), "plain": told["pid"]}


@app.task(name="stuck")
def stuck():
    """Stops the whole child: it sleeps in C, keeps the interpreter's lock, and is deaf to signals."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while True:
        ctypes.PyDLL(None).pause()
