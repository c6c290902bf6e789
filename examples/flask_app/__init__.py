"""A small service as an old application has it: it synchronises folders, and plugins add to it.

`app.create_app` is the application; `python -m examples.flask_app.demo` builds the plugins and serves it.
"""
