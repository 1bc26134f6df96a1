"""The engine's own lines on the terminal: `15:27:42.543 | INFO    | Flow run 'jumpy-puppy' - Finished …`."""

import os
import sys
import time

_NAMES = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}
_LEVELS = {name: level for level, name in _NAMES.items()}


def lowest_level() -> int:
    """Return the level below which nothing is said, from `ORCHESTRATOR_LOGGING_LEVEL` (a name; INFO by default)."""
    return _LEVELS.get(os.environ.get("ORCHESTRATOR_LOGGING_LEVEL", "").upper(), 20)


def write(level: int, label: str, message: str) -> None:
    """Write a line to standard error, where there is one. Never raises."""
    if level < lowest_level():
        return
    now = time.time()
    clock = time.strftime("%H:%M:%S", time.localtime(now))
    line = f"{clock}.{int(now % 1 * 1000):03d} | {_NAMES.get(level) or f'LEVEL {level}':<7} | {label} - {message}\n"
    try:
        sys.stderr.write(line)
    except UnicodeEncodeError:
        encoding = sys.stderr.encoding or "ascii"
        sys.stderr.write(line.encode(encoding, "backslashreplace").decode(encoding))
    except (OSError, ValueError, AttributeError):  # closed, a broken pipe, or none at all
        pass
