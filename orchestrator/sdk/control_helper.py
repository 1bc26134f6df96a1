"""Starting the helper of a home: who answers questions while no server runs (`python -m orchestrator.control`).

Whoever takes the helper's lock starts it and hands the lock over with the open file, so that it is held from before the
start until the helper's end, and fifty scripts that need one at the same moment start one.
"""

from __future__ import annotations

import os
import sys

from orchestrator.sdk.control_address import is_locked
from orchestrator.sdk.home import Home

if sys.platform != "win32":
    import fcntl

LOCK_FD_OPTION = "--lock-fd"
LOG_NAME = "control.log"


def start(home: Home) -> str:
    """Start the helper, unless somebody did or a server is starting. Returns at once: why it cannot be, else ""."""
    if os.environ.get("ORCHESTRATOR_RUN_ID"):
        # A worker's run sees neither the database nor the broker of its server, and a helper of its would make others.
        return "the worker that started this run knows no address for it; set ORCHESTRATOR_API_URL for the worker"
    if sys.platform == "win32":
        return "there is no helper on Windows; set ORCHESTRATOR_API_URL to a server"
    if not sys.executable:
        return "this program embeds Python, so that no helper can be started; set ORCHESTRATOR_API_URL to a server"
    if is_locked(home.server_lock):
        return ""
    try:
        home.make()
        lock = os.open(home.control_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_locked(home.ingest_lock):  # by an ingester that belongs to a server elsewhere, or for an instant
                return "another process brings this home's journals in; set ORCHESTRATOR_API_URL to its server"
            _spawn(home, lock)
        except BlockingIOError:  # it runs, or is being started
            pass
        finally:
            os.close(lock)
    except OSError as error:
        return f"it cannot be started: {error}"
    return ""


def _spawn(home: Home, lock: int) -> None:
    import subprocess  # 10 ms at import, only where a helper is started

    environment = {name: value for name, value in os.environ.items() if name != "ORCHESTRATOR_API_TOKEN"}
    environment["ORCHESTRATOR_HOME"] = str(home.root)
    with open(home.logs / LOG_NAME, "ab", opener=lambda path, flags: os.open(path, flags, 0o600)) as log:
        # It leaves this process at once (a fork in its first lines), so that no user's wait() meets a child of ours.
        subprocess.run(
            [sys.executable, "-m", "orchestrator.control", LOCK_FD_OPTION, str(lock)],
            env=environment,
            cwd=home.root,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(lock,),
            start_new_session=True,
            check=False,
        )
