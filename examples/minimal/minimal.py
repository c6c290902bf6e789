"""A whole plugin in Python on `legacy_plugins.sdk`: prints events, has one route, GET /hello."""
from legacy_plugins.sdk import Plugin

plugin = Plugin("minimal-python", version="1.0.0")


@plugin.on("*")
def show(event):
    print(f"event {event.type}: {event.payload}")  # the sdk sends what is printed to standard error


@plugin.route("/hello", methods=["GET"])
def hello(request):
    return {"hello": "from Python", "method": request.method, "path": request.path}


plugin.run()
