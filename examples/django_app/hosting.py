"""The service of this process, opened when it is first used."""
from __future__ import annotations

from functools import lru_cache

from django.conf import settings

from examples.sync_service.service import Service
from examples.sync_service.settings import open_service


@lru_cache(maxsize=None)
def _opened(instance: str, roots: str) -> Service:
    return open_service(instance, roots)


def current_service() -> Service:
    """The service that the settings describe."""
    return _opened(settings.SYNC_INSTANCE, settings.SYNC_ROOTS)
