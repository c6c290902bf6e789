"""What a WSGI server imports: the application, and where its log goes.

The lines of the plugins arrive in `legacy_plugins.plugin.<name>` like any other log.
"""
from __future__ import annotations

import logging

from .app import create_app

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")

app = create_app()
