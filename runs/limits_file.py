"""The file in a home that names the limited tags, so that scripts whose tags are not limited ask nobody.

It holds the tags of all teams: a script does not know whose it is. Whoever limits a tag writes it, and each worker's
sweep writes it on its own machine where it differs.
"""

import json
import logging
import os
import tempfile
from contextlib import suppress

from django.conf import settings

from orchestrator.sdk.home import Home
from runs.models import ConcurrencyLimit

_log = logging.getLogger(__name__)


def refresh(home: Home | None = None) -> bool:
    """Write the file of a home, where it says something else than the database; this process's home by default.

    Returns:
        Whether it was written. Without a limit a home gets no file, and one that is there is emptied.

    Queries: one. The file is renamed into place, so that a reader sees the old one or the new one. A disk that does not
    take it is logged.
    """
    path = (home or settings.HOME).limits
    tags = list(ConcurrencyLimit.objects.order_by("tag").values_list("tag", flat=True).distinct())
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
        _log.error("%s cannot be written, so that scripts here may not know of limits: %s", path, error)
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)
        return False
    return True
