"""A Flask application with one view of its own and a plugin that lies, for a real server to run.

The environment's EDGE_FOLDER has the plugin's table of answers and its notes; see `tests/edge/site.py`.
"""
from __future__ import annotations

import json
import os

from flask import Flask, Response

from legacy_plugins.integrations.flask import LegacyPlugins

with open(os.path.join(os.environ["EDGE_FOLDER"], "plugins.json"), encoding="utf-8") as file:
    CONFIG = json.load(file)

app = Flask(__name__)
LegacyPlugins(app, config=CONFIG)


@app.route("/plain")
def plain() -> Response:
    """An ordinary view."""
    return Response("plain", mimetype="text/plain")
