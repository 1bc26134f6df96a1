"""Where the Django apps lie, and how a server process finds them.

In a checkout the apps stand beside this package; an installed distribution carries them in `orchestrator/_site/`, so
that a user's own `flows/`, `runs/` and `tests/` never meet ours. Only server processes put that folder on `sys.path`.
"""

import gc
import os
import sys
from pathlib import Path

_CANNOT_BOOT = 3
_PACKAGE = Path(__file__).resolve().parent
ROOT = _PACKAGE / "_site" if (_PACKAGE / "_site").is_dir() else _PACKAGE.parent


def activate() -> None:
    """Make this a server process: the apps come first on `sys.path`, and Django knows its settings.

    First, because Celery and `python -m` put the working directory there, which may hold a user's `flows/`.
    """
    path = str(ROOT)
    if sys.path[:1] != [path]:
        sys.path[:] = [path, *(entry for entry in sys.path if entry != path)]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator.settings")


def load_settings() -> None:
    """Activate the site and read its settings; a wrong one ends the process in one line rather than a traceback.

    The exit code is the one by which gunicorn's master knows that starting another worker is of no use.
    """
    activate()
    from django.conf import settings  # only server processes pay for it
    from django.core.exceptions import ImproperlyConfigured

    try:
        _ = settings.INSTALLED_APPS
    except ImproperlyConfigured as error:
        print(f"Error: {error}", file=sys.stderr, flush=True)
        sys.exit(_CANNOT_BOOT)


def setup() -> None:
    """Activate the site and set Django up (160 ms, 43 MB).

    What is imported stays to the end, so it is left out of garbage collection: with it Python would look through all of
    that while it is imported, now and then, and once more as the process ends (0.2 s).
    """
    activate()
    import django  # only server processes pay for it
    from django.apps import apps

    if apps.ready:
        return
    gc.disable()
    try:
        django.setup()
    finally:
        gc.enable()
    gc.freeze()
