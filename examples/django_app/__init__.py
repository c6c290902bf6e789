"""The service of `examples/sync_service` as a Django project: people enter by `manage.py`, servers by `wsgi.py`."""
