"""A well-behaved plugin: two methods and a route."""
import os
import threading

from legacy_plugins.sdk import Plugin

plugin = Plugin("plain", version="1.0")
_never = threading.Event()


@plugin.method("who")
def who(params):
    """Its process, and what it was given: no two callers may ever get each other's answer."""
    return {"pid": os.getpid(), "parent": os.getppid(), "echo": params}


@plugin.method("wait")
def wait(params):
    """An answer that takes `seconds`."""
    _never.wait(params["seconds"])
    return who(params)


@plugin.route("/hello")
def hello(request):
    """A route."""
    return {"pid": os.getpid(), "path": request.path}


@plugin.on_shutdown
def goodbye():
    """Leaves a file `shutdown-PID` beside itself: it was asked to end."""
    open(f"shutdown-{os.getpid()}", "w").close()


plugin.run()
