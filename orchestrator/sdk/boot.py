"""Which machine this is, and which boot of it: who may judge by a file's lock whether its writer still lives."""

import os
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_MACHINE_ID_FILES = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Boot:
    """One boot of one machine, as a journal's header names it."""

    host: str  #: the host's name, for people
    machine: str  #: machine id, else the host's name
    boot: str  #: boot id; empty where the system has none, and then locks prove nothing


@cache
def this_boot() -> Boot:
    """Return what this process runs on; read once a process (a fork does not change it)."""
    # os.uname, since importing socket costs 5 ms; Windows has no uname.
    host = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
    machine = next(filter(None, map(_first_line, _MACHINE_ID_FILES)), host)
    return Boot(host=host, machine=machine, boot=_first_line(_BOOT_ID_FILE))


def boot_seconds() -> float:
    """Return a clock that all processes of this boot share, and that goes on while the machine sleeps (Linux)."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def _first_line(path: Path) -> str:
    try:
        return path.read_text().partition("\n")[0].strip()
    except OSError:
        return ""
