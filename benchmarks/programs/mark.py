"""Writes the time at which user code began to run to a file."""

import time

from orchestrator import flow


@flow
def mark(path: str):
    begun = time.time()
    with open(path, "a") as file:
        file.write(f"{begun}\n")
