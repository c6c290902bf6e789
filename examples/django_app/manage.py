"""Django's command line for this project: `python examples/django_app/manage.py plugins list`."""
from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Run the command that the arguments name."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))  # the checkout: `examples` is found there
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "examples.django_app.settings")
    from django.core.management import execute_from_command_line
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
