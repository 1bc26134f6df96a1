"""What it costs that a run's code is a snapshot: when its machine has it, and when it has to be fetched."""

import json
import os
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.launching import claim_to_code
from benchmarks.measures import BenchmarkError, Bound, Row
from benchmarks.processes import ORCHESTRATOR, PROGRAMS, run
from benchmarks.serving import Server, serving

_FILES = 50
_PROJECT_BYTES = 1024 * 1024


def source(quick: bool) -> Iterator[Row]:
    """From a claim to user code, in turns: code on a path, in a snapshot that is here, in one that is not."""
    rounds, cold_rounds = (8, 3) if quick else (40, 12)
    with tempfile.TemporaryDirectory(prefix="bench-project-") as folder, serving(api=True) as server:
        project = _project(Path(folder))
        on_path = server.deploy("mark", "path")
        in_snapshot = _deploy(server, project)
        for name, deployment in (("p", on_path), ("s", in_snapshot)):
            claim_to_code(server, deployment, f"warm-up-{name}")
        path, warm, cold = [], [], []
        for number in range(rounds):
            turns = [(path, on_path), (warm, in_snapshot)]
            for found, deployment in turns if number % 2 else reversed(turns):
                name = f"call-{number}-{deployment}"
                found.append(claim_to_code(server, deployment, name) * 1000)
        for number in range(cold_rounds):
            (project / "data-0").write_bytes(os.urandom(_PROJECT_BYTES // _FILES))
            (project / "mark.py").write_text((PROGRAMS / "mark.py").read_text() + f"# {number}\n")
            _deploy(server, project)
            shutil.rmtree(server.home / "snapshots", ignore_errors=True)  # all of it has to be fetched
            cold.append(claim_to_code(server, in_snapshot, f"cold-{number}") * 1000)
    usual = statistics.median(path)
    more = statistics.median(one - other for one, other in zip(warm, path, strict=True))
    note = f"{_FILES} files, {_PROJECT_BYTES // 1024} KB; median of {rounds} pairs of runs, {usual:.0f} ms on a path"
    yield Row("a snapshot that its machine has, beside a path", "ms", (more,), Bound(5.0), note)
    note = f"median of {cold_rounds}, nothing of it on the machine"
    yield Row(
        "a snapshot of 1 MB that is fetched, beside a path",
        "ms",
        (statistics.median(cold) - usual,),
        Bound(300.0),
        note,
    )


def _project(folder: Path) -> Path:
    shutil.copy(PROGRAMS / "mark.py", folder)
    (folder / "orchestrator.toml").touch()
    for number in range(_FILES - 1):
        (folder / f"data-{number}").write_bytes(os.urandom(_PROJECT_BYTES // _FILES))
    return folder


def _deploy(server: Server, project: Path) -> str:
    run([ORCHESTRATOR, "deploy", str(project / "mark.py:mark"), "--name", "snapshot"], server.environment)
    found = json.loads(server.command("deployment", "inspect", "mark/snapshot", "--json"))
    if found["source"]["kind"] != "snapshot":
        raise BenchmarkError(f"the deployment's source is {found['source']}")
    return str(found["id"])


BENCHMARKS = {"source": source}
