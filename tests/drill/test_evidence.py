"""What flows wrote down, read back as spans; overlaps and overshoots found in them."""

import json
import random
from pathlib import Path

from orchestrator.drill import faults, pushing
from orchestrator.drill.evidence import Span, doubled, most_at_once, overlapping, read


def span(begin: float, end: float, *, run: str = "r", attempt: int = 1, pid: int = 1) -> Span:
    """An attempt that was under way from then to then."""
    return Span(run, attempt, pid, run, begin, end, begin)


def write(folder: Path, name: str, *lines: dict[str, object], torn: str = "") -> None:
    """Write lines as a flow of the drill does; each gets what every line has."""
    text = "".join(
        json.dumps({"run": "r", "attempt": 1, "pid": 7, "root": "r", "time": 0.0, **line}) + "\n" for line in lines
    )
    (folder / name).write_text(text + torn)


def test_a_killed_attempt_is_known_to_have_lived_until_its_last_beat(tmp_path: Path) -> None:
    task = {"task_run": "t", "task_attempt": 1, "tags": ["x"]}
    write(
        tmp_path,
        "r.1.7.jsonl",
        {"event": "begin", "at": 1.0},
        {"event": "task-begin", "at": 1.5, **task},
        {"event": "beat", "at": 2.5},
        torn='{"event": "beat", "a',
    )
    (flow,), (task_span,) = read(tmp_path, tmp_path).flows, read(tmp_path, tmp_path).tasks
    assert (flow.begin, flow.end, flow.ended, flow.exited) == (1.0, 2.5, False, False)
    assert (task_span.begin, task_span.end, task_span.tags) == (1.5, 2.5, ("x",))


def test_an_end_is_an_end_whatever_is_written_after_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        "r.1.7.jsonl",
        {"event": "begin", "at": 1.0},
        {"event": "done", "at": 1.6, "task_run": "t"},
        {"event": "end", "at": 2.0, "ok": True},
        {"event": "exit", "at": 9.0},
    )
    (tmp_path / "worker.log").write_text("orchestrator: run r: not recording: No space left on device\n")
    evidence = read(tmp_path, tmp_path)
    (flow,) = evidence.flows
    assert (flow.end, flow.ended, flow.ok, flow.exited) == (2.0, True, True, True)
    assert evidence.done == {"t": "r"}
    assert evidence.confessed == {"r"}


def test_attempts_of_a_run_that_meet_are_found_and_those_that_follow_are_not() -> None:
    first, second = span(0, 2), span(1.9, 3, attempt=2, pid=2)
    others = [span(2, 3, run="other"), span(3, 4, run="other", attempt=2)]
    assert overlapping([second, *others, first]) == [(first, second)]


def test_one_attempt_in_two_processes_is_found() -> None:
    first, second = span(0, 1), span(5, 6, pid=2)
    assert doubled([first, second, span(7, 8, attempt=2, pid=3)]) == [(first, second)]


def test_the_sweep_line_counts_as_a_look_at_every_instant_does() -> None:
    rng = random.Random(4)
    for _ in range(50):
        spans = [span(begin, begin + rng.randint(1, 5)) for begin in (rng.randint(0, 20) for _ in range(12))]
        looked = max(sum(each.begin <= time + 0.5 < each.end for each in spans) for time in range(26))
        assert most_at_once(spans)[0] == looked
    assert most_at_once([]) == (0, [])


def test_a_task_that_was_killed_in_its_first_line_is_not_under_way_ever_after() -> None:
    assert most_at_once([span(1, 1), span(2, 3)])[0] == 1


def test_a_seed_decides_what_fails_when_and_every_kind_once_before_any_twice() -> None:
    names = list(faults.FAULTS)
    planned = faults.plan(random.Random(3), names, 180, 2.5)
    assert planned == faults.plan(random.Random(3), names, 180, 2.5)
    assert planned != faults.plan(random.Random(4), names, 180, 2.5)
    assert sorted(name for _, name in planned[: len(names)]) == sorted(names)
    assert pushing.plan(random.Random(3), 9, 5, 0.3) == pushing.plan(random.Random(3), 9, 5, 0.3)
