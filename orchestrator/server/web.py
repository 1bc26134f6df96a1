"""gunicorn's settings for the web part of `orchestrator server start`."""

import ctypes
import signal
import sys
from typing import Any

accesslog = None
errorlog = "-"
control_socket_disable = True
asgi_lifespan = "off"  # the site has none
proc_name = "orchestrator-web"

_PR_SET_PDEATHSIG = 1


def post_fork(server: Any, worker: Any) -> None:
    """Let no worker outlive its gunicorn, even one that was killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
