"""gunicorn's settings for the web part of `orchestrator server start`."""

import ctypes
import gc
import signal
import sys
from typing import Any

from orchestrator.environment import whole_number

worker_class = "asgi"
workers = whole_number("WEB_PROCESSES", 1, "how many processes answer for the site", minimum=1)
timeout = 60
graceful_timeout = 2
keepalive = 30
accesslog = None
errorlog = "-"
loglevel = "warning"
control_socket_disable = True
asgi_lifespan = "off"  # the site has none

_PR_SET_PDEATHSIG = 1


def post_worker_init(worker: Any) -> None:
    """Leave what was loaded out of garbage collection: going through it held up a request for 0.1 s, now and then."""
    gc.collect()
    gc.freeze()


def post_fork(server: Any, worker: Any) -> None:
    """Let no worker outlive its gunicorn, even one that was killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
