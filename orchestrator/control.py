"""`python -m orchestrator.control`: the helper of a home, which answers questions of engines while no server runs.

An engine starts it when it needs one (`orchestrator.sdk.control_helper`). It serves the API on a Unix socket that only
this user can open, and brings the home's journals in, so that what ended frees its slots. It ends by itself: when a
server of the home starts, and half a minute after nobody asked anything any more.
"""

import os
import sys
from typing import IO

from orchestrator.sdk.control_helper import LOCK_FD_OPTION
from orchestrator.sdk.home import Home, home

if sys.platform != "win32":
    import fcntl


def main(arguments: list[str]) -> int:
    """Serve until nobody needs it. Returns the exit code."""
    here = home()
    lock = _lock(here, arguments)
    if lock is None:
        print("The helper of this home runs already.", file=sys.stderr)
        return 0
    with lock:
        lock.truncate()
        lock.write(b"%d\n" % os.getpid())
        lock.flush()
        from orchestrator.server import helper  # half a second, which the parent of the fork above does not pay

        return helper.serve(here)


def _lock(here: Home, arguments: list[str]) -> IO[bytes] | None:
    """Return the helper's lock, held: the one that the engine which started this process holds, or a new one.

    In the first case this process leaves its parent, which waits only for that: nobody's `wait()` may meet it.
    """
    if arguments[:1] == [LOCK_FD_OPTION]:
        lock = os.fdopen(int(arguments[1]), "r+b")
        if os.fork():
            os._exit(0)  # the child has the lock with the open file
        os.set_inheritable(lock.fileno(), False)
        return lock
    here.make()
    lock = os.fdopen(os.open(here.control_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
