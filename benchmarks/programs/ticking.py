"""Prints the time, over and over: `ticking.py COUNT SECONDS`."""

import sys
import time

from orchestrator import flow


@flow
def ticking(count: int, pause_seconds: float):
    for _ in range(count):
        time.sleep(pause_seconds)
        print(f"tick-{time.time_ns() // 1000}")


if __name__ == "__main__":
    ticking(int(sys.argv[1]), float(sys.argv[2]))
