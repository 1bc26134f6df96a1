"""The parts' logs: kept from growing without bound, and what matters in them repeated on the terminal."""

import os
import re
import shutil
from pathlib import Path
from typing import Final

MAX_LOG_BYTES: Final = 10 * 1024 * 1024
READ_BYTES: Final = 256 * 1024
LAST_LINES: Final = 12

# Our own lines (settings.LOGGING), gunicorn's, and the worker's word on the runs.
_ERROR = re.compile(rb"^\d\d:\d\d:\d\d\.\d{3} \| (ERROR|CRITICAL) |^\[[^]]+\] \[\d+\] \[(ERROR|CRITICAL)\] ")
_RUN = re.compile(rb"^(\d\d:\d\d:\d\d)\.\d{3} \| INFO +\| runs\.worker - (.+)$")


class LogTail:
    """Reads what a part's log gains and returns the lines that a person at the terminal wants to see."""

    def __init__(self, path: Path) -> None:
        """Begin at the log's end."""
        self.path = path
        rotate(path)
        self._offset = path.stat().st_size if path.exists() else 0

    def read(self) -> list[str]:
        """Return the new lines worth repeating; at most 256 KB are read, so that a noisy part holds nothing up."""
        try:
            size = self.path.stat().st_size
            if size <= self._offset:
                return []
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read(READ_BYTES)
        except OSError:
            return []
        end = data.rfind(b"\n") + 1
        if not end and len(data) < READ_BYTES:
            return []
        self._offset += end or len(data)
        if self._offset == size and rotate(self.path):
            self._offset = 0
        return [text for line in data[:end].splitlines() if (text := _worth_repeating(line))]


def rotate(path: Path) -> bool:
    """Begin a log anew when it has passed `MAX_LOG_BYTES`, keeping a copy of it; return whether that was done.

    Copied and cut, since the part goes on appending to the same file.
    """
    try:
        if path.stat().st_size <= MAX_LOG_BYTES:
            return False
        shutil.copyfile(path, path.with_suffix(".1.log"))
        os.truncate(path, 0)
    except OSError:  # it is not there yet
        return False
    return True


def last_lines(path: Path) -> str:
    """Return the end of a log, indented: what a part said before it died."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 8192))
            lines = file.read().decode(errors="replace").splitlines()[-LAST_LINES:]
    except OSError:
        return ""
    return "\n".join(f"    {line}" for line in lines)


def _worth_repeating(line: bytes) -> str:
    if match := _RUN.match(line):
        return f"{match[1].decode()}  {match[2].decode(errors='replace')}"
    return line.decode(errors="replace") if _ERROR.match(line) else ""
