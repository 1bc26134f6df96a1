"""The file in a home that names the limited tags, so that scripts whose tags are not limited ask nobody.

It holds the tags of all teams: a script does not know whose it is. Whoever limits a tag writes it, and each worker's
sweep writes it on its own machine where it differs.
"""

import json
import logging
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from django.conf import settings

from orchestrator.sdk.home import Home
from runs.compiled import Column
from runs.models import ConcurrencyLimit

_log = logging.getLogger(__name__)
_unwritable: set[Path] = set()  # told once: a sweep tries every second


def refresh(home: Home | None = None) -> bool:
    """Write the file of a home, this process's by default, where it says something else than the database (one query).

    Returns:
        Whether it was written.
    """
    return write(home or settings.HOME, _limited_tags())


_limited_tags: Final = Column(lambda: ConcurrencyLimit.objects.order_by("tag").values_list("tag", flat=True).distinct())


def write(home: Home, limited: Iterable[str]) -> bool:
    """Have the file of a home name these tags. Without any a home gets no file, and one that is there is emptied.

    The file is renamed into place, so that a reader sees the old one or the new one. A disk that does not take it is
    logged: the next sweep tries again.

    Returns:
        Whether it was written.
    """
    path, tags = home.limits, sorted(limited)
    try:
        known = json.loads(path.read_bytes())["tags"]
    except FileNotFoundError:
        known = []
    except (OSError, ValueError, KeyError, TypeError):
        known = None
    if known == tags:
        return False
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=".limits-", dir=path.parent)  # 0600
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"version": 1, "tags": tags}, file, ensure_ascii=False)
        os.replace(temporary, path)
    except OSError as error:
        level = logging.DEBUG if path in _unwritable else logging.ERROR
        _log.log(level, "%s cannot be written, so that scripts here may not know of limits: %s", path, error)
        _unwritable.add(path)
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)
        return False
    _unwritable.discard(path)
    return True
