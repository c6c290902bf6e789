"""The service of `examples/sync_service` as a Flask application: `app.create_app` is the factory."""
