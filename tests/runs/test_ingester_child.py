"""The ingester that a worker starts, where nobody else brings journals in."""

import os

from runs.ingester_child import start


def test_it_does_not_outlive_a_worker_that_was_killed_as_it_started() -> None:
    already_gone = os.getppid()  # some other process than its parent
    assert start(already_gone).wait(20) == 1
