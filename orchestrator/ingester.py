"""`python -m orchestrator.ingester`: the process that brings a home's journals into the database.

SIGTERM or SIGINT stops it after a last pass. Started twice for a home, the second one waits until the first is gone.
"""

import signal
import sys
import threading
from types import FrameType

from orchestrator import site


def main() -> int:
    """Run until told to stop. Returns the exit code."""
    stop = threading.Event()

    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    # First, so that a stop during the start is one too.
    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGINT, ask_to_stop)
    site.setup()
    from django.conf import settings  # the site must be set up first

    from runs import tailer

    tailer.run(settings.HOME, stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
