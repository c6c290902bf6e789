"""A small service as an old application has it: it synchronises folders, and plugins add to it. No framework in here.

`flask_app` and `django_app` beside this folder are its two skins; `python -m examples.sync_service.demo flask` (or
`django`) builds the plugins and serves one of them.
"""
