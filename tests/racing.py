"""Processes that race on one database, forked from one that has imported everything: each would need half a second."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator import site
from tests.migrated import ROOT


def race(environment: Mapping[str, str], make: str, work: str, count: int, look: str = "") -> tuple[list[Any], Any]:
    """Run code with Django: `make` first, then `work` in so many processes at once, at last `look`.

    Args:
        environment: Of all of them; it names the home and the database, which is migrated.
        make: Its names are known to the others.
        work: Calls `wait_for_all()` before what is to happen at once, and leaves a `result`.
        count: How many processes work.
        look: Leaves a `result`.

    Returns:
        The results of `work`, as JSON has them, and that of `look`.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.racing"],
        input=json.dumps([make, work, count, look]),
        env=dict(environment),
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    )
    results, seen = json.loads(done.stdout)
    return results, seen


def _main() -> None:
    make, work, count, look = json.load(sys.stdin)
    site.setup()
    from django.db import connections  # the site must be set up first

    names: dict[str, Any] = {}
    exec(make, names)
    connections.close_all()
    results = list(_work(work, names, count))
    if look:
        exec(look, names)
    json.dump([results, names.get("result")], sys.stdout, default=str)


def _work(work: str, names: dict[str, Any], count: int) -> Iterator[Any]:
    (ready, say_ready), (gate, gate_writer) = os.pipe(), os.pipe()

    def wait_for_all() -> None:
        os.write(say_ready, b".")
        os.read(gate, 1)

    answers = []
    for _ in range(count):
        answer, answer_writer = os.pipe()
        if not os.fork():
            os.close(gate_writer)
            _answer(answer_writer, work, {**names, "wait_for_all": wait_for_all})
        os.close(answer_writer)
        answers.append(answer)
    os.close(say_ready)
    assert sum(len(os.read(ready, 1)) for _ in range(count)) == count, "one ended before the start"
    os.close(gate_writer)
    for answer in answers:
        with open(answer) as file:
            yield json.load(file)


def _answer(writer: int, work: str, names: dict[str, Any]) -> None:
    """Work, write the result and end this process."""
    try:
        exec(work, names)
        with open(writer, "w") as file:
            json.dump(names["result"], file, default=str)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os._exit(0)


if __name__ == "__main__":
    _main()
