"""All families of servers, in the order of the table. A new family is a file with a `FAMILY`, and a line here."""
from __future__ import annotations

from typing import List

from tests.servers import celery, gunicorn, reloaders, uwsgi, waitress
from tests.servers.cells import Family

FAMILIES: List[Family] = [
    gunicorn.FAMILY, uwsgi.FAMILY, waitress.FAMILY, reloaders.FLASK, reloaders.DJANGO, celery.FAMILY]
