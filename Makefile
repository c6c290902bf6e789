# Every target does its own set-up in .venv/ inside this checkout; nothing is installed anywhere else.
# Prerequisites: make, and Python 3.8 or newer with its venv module (Debian and Ubuntu: python3-venv).
PYTHON ?= python3
PORT ?= 8000
WORKERS ?= 1
# Further arguments for pytest: make test ARGS="-k framing -x"
ARGS ?=

environment = "$(PYTHON)" tools/environment.py

.PHONY: help demo demo-django test check requirements servers clean
.DEFAULT_GOAL := help

help:
	@echo 'make demo [PORT=8000] [WORKERS=n]   run the example application with its plugins, on Flask'
	@echo 'make demo-django                    the same service on Django; PORT and WORKERS as above'
	@echo 'make test [ARGS="-k name"]          run the tests'
	@echo 'make check                          ruff, mypy --strict, import-linter, guard tests'
	@echo 'make requirements                   print every requirement with the tests that prove it'
	@echo 'make servers                        every server through every mishap: orphans, hung requests, errors'
	@echo 'make clean                          remove everything that the targets made'
	@echo 'PYTHON=/path/to/python3 chooses the interpreter.'

demo:
	@bin=$$($(environment) demo) && exec "$$bin/python" -m examples.sync_service.demo flask --port $(PORT) --workers $(WORKERS)

demo-django:
	@bin=$$($(environment) demo) && exec "$$bin/python" -m examples.sync_service.demo django --port $(PORT) --workers $(WORKERS)

test:
	@bin=$$($(environment) test) && exec "$$bin/python" -m pytest $(ARGS)

# All of them, whatever the first ones say.
check:
	@bin=$$($(environment) check) || exit 1; failed=0; \
	"$$bin/python" -m ruff check . || failed=1; \
	"$$bin/python" -m mypy || failed=1; \
	"$$bin/lint-imports" || failed=1; \
	"$$bin/python" -m pytest tests/guards || failed=1; \
	exit $$failed

requirements:
	@bin=$$($(environment) test) && exec "$$bin/python" tools/requirements_table.py

# Some minutes; the tests run a part of it.
servers:
	@bin=$$($(environment) test) && exec "$$bin/python" tools/server_table.py $(ARGS)

clean:
	rm -rf .venv .tox build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
