"""Forks Celery workers from a process that has everything imported, as the server does on Linux: it makes 50 cheap.

Run with `python -m`. Each line on standard input starts a worker of that number; its pid is printed.
"""

import os
import signal
import sys
from importlib import import_module
from pathlib import Path

from orchestrator import site
from orchestrator.server import forking, parts

site.setup()
for _module in (*parts.worker(1, 1).preload, "notifications.jobs", "notifications.transports.webhook"):
    import_module(_module)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those that ended are not waited for
print("ready", flush=True)
for _line in sys.stdin:
    _part = parts.worker(int(_line), 2)
    print(
        forking.fork_part(_part, dict(os.environ), os.getcwd(), Path(sys.argv[1]), sys.stdin.close, None).pid,
        flush=True,
    )
