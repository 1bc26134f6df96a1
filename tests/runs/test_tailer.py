"""Journals of real processes are brought in by a real process, whatever dies when."""

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from orchestrator.drill.parts import die_with_parent
from orchestrator.sdk.boot import this_boot
from orchestrator.sdk.events import AnyFact, Ended, Header, encode
from orchestrator.sdk.home import Home
from orchestrator.sdk.ids import uuid7
from tests import migrated
from tests.migrated import ROOT
from tests.runs.scripts import Process


class House:
    """A home of its own, and the processes that a test starts in it."""

    def __init__(self, path: Path, database_url: str = "") -> None:
        path.mkdir(mode=0o700, parents=True)
        if not database_url:
            migrated.put_database_into(path)
        self.home = Home(path)
        self.errors = path / "errors.txt"
        own = {"HOME": str(path), "DATABASE_URL": database_url}
        self.environment = {**os.environ, **{f"ORCHESTRATOR_{name}": value for name, value in own.items()}}
        self.environment["PYTHONPATH"] = str(ROOT)
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *command: str, **options: Any) -> "subprocess.Popen[str]":
        with self.errors.open("a") as errors:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=self.home.root,
                env=self.environment,
                text=True,
                stderr=errors,
                preexec_fn=die_with_parent,  # a test run that is killed leaves none of them
                **options,
            )
        self.processes.append(process)
        return process

    def ingester(self) -> "subprocess.Popen[str]":
        return self.start("-m", "orchestrator.ingester")

    def script(self, source: str) -> "subprocess.Popen[str]":
        path = self.home.root / f"script_{len(self.processes)}.py"
        path.write_text(textwrap.dedent(source))
        return self.start(str(path), stdout=subprocess.PIPE)

    def bring_in_once(self) -> bool:
        code = (
            "from orchestrator import site; site.setup()\n"
            "from django.conf import settings; from runs import tailer; print(tailer.bring_in_once(settings.HOME))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], env=self.environment, cwd=ROOT, check=True, capture_output=True, text=True
        )
        return {"True\n": True, "False\n": False}[done.stdout]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query of the database answers, asked by nobody's process: one with Django takes half a second."""
        url = self.environment["ORCHESTRATOR_DATABASE_URL"]
        with closing(psycopg.connect(url) if url else sqlite3.connect(self.home.database)) as connection:
            return list(connection.execute(query).fetchall())

    def counts(self) -> dict[str, int]:
        return dict(self.rows("SELECT state_type, count(*) FROM runs_taskrun GROUP BY state_type"))

    def run_states(self) -> list[str]:
        return [state for (state,) in self.rows("SELECT state_type FROM runs_flowrun ORDER BY id")]

    def printed(self) -> list[str]:
        return [message for (message,) in self.rows("SELECT message FROM runs_log WHERE logger = 'stdout'")]

    def journals(self) -> list[Path]:
        return list(self.home.journals.glob("*.jsonl"))

    def write(self, process: Process, facts: list[AnyFact], segment: int = 0) -> Path:
        """Write a segment of a process that is gone."""
        self.home.make()
        header = Header(
            journal=process.header.journal, segment=segment, first=facts[0].n, pid=process.header.pid,
            host=process.header.host, machine=process.header.machine, boot=process.header.boot,
        )  # fmt: skip
        path = self.home.journals / f"{header.journal}-{segment:06d}.jsonl"
        path.write_bytes(b"".join(encode(item) + b"\n" for item in (header, *facts)))
        return path

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest) -> House:
    return request.getfixturevalue("sqlite_house" if request.param == "sqlite" else "postgres_house")


@pytest.fixture
def postgres_house(migrated_postgres_url: str, tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "home", migrated_postgres_url)
    yield house
    house.close()


@pytest.fixture
def sqlite_house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "home")
    yield house
    house.close()


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait until a condition holds that other processes bring about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def stop(process: "subprocess.Popen[str]") -> float:
    """Stop an ingester in good order; returns how many seconds it took."""
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    return time.monotonic() - started


def long_script(tasks: int) -> Process:
    script = Process().begin()
    for _ in range(tasks):
        script.task_state(script.task(), "COMPLETED")
        script.log("x")
    return script


def ended(script: Process) -> Process:
    script.state("COMPLETED")
    script.end()
    return script


# A script's life

TASKS = """
    import sys
    from orchestrator import flow, task

    @task
    def double(x):
        return 2 * x

    @flow
    def etl():
        for number in range({tasks}):
            double(number)
            if number == {mark}:
                print("MARK", flush=True)

    etl()
"""


def test_a_script_is_brought_in_while_it_runs_and_its_journal_is_deleted(house: House) -> None:
    ingester = house.ingester()
    wait_for(house.home.bell.exists)
    script = house.script(TASKS.format(tasks=300, mark=0))
    assert script.wait(60) == 0
    wait_for(lambda: not house.journals())
    assert house.counts() == {"COMPLETED": 300}
    assert house.run_states() == ["COMPLETED"]
    assert house.printed() == ["MARK"]
    stop(ingester)
    assert not house.home.bell.exists()


def test_a_killed_script_loses_no_task_that_had_finished_and_is_crashed(house: House) -> None:
    ingester = house.ingester()
    script = house.script(TASKS.format(tasks=10_000, mark=4_000))
    assert script.stdout is not None
    assert script.stdout.readline() == "MARK\n"
    script.kill()
    script.wait()
    wait_for(house.counts)
    wait_for(lambda: not house.journals())
    assert house.run_states() == ["CRASHED"]
    counts = house.counts()
    assert counts["COMPLETED"] >= 4_001
    assert counts.get("CRASHED", 0) <= 1
    assert counts.keys() <= {"COMPLETED", "CRASHED"}
    stop(ingester)


def test_two_hundred_scripts_at_once_lose_nothing(sqlite_house: House) -> None:
    ingester = sqlite_house.ingester()
    source = """
        import os, sys
        from orchestrator import flow, task

        @task
        def double(x):
            return 2 * x

        @flow
        def etl(name: int):
            print(name)
            for number in range(5):
                double(number)

        # Forked by hundreds: the start of 200 interpreters would measure this machine, not the journals.
        children = []
        for name in range(200):
            child = os.fork()
            if not child:
                try:
                    etl(name)
                    from orchestrator.sdk import journal
                    journal.close()
                finally:
                    os._exit(0)
            children.append(child)
        for child in children:
            os.waitpid(child, 0)
    """
    script = sqlite_house.script(source)
    assert script.wait(120) == 0
    wait_for(lambda: not sqlite_house.journals(), 60)
    assert sqlite_house.run_states() == ["COMPLETED"] * 200
    assert sqlite_house.counts() == {"COMPLETED": 1000}
    assert sorted(map(int, sqlite_house.printed())) == list(range(200))
    stop(ingester)


# The ingester's own death


def test_a_killed_ingester_loses_and_doubles_nothing(house: House) -> None:
    script = ended(long_script(6_000))
    house.write(script, script.facts)
    kills = 0
    ingester = house.ingester()
    while house.journals():
        wait_for(house.home.bell.exists)
        time.sleep(0.15 * (kills + 1))  # somewhere in the middle, each time later: that is the point
        if not house.journals():
            break
        ingester.kill()
        ingester.wait()
        house.home.bell.unlink(missing_ok=True)
        kills += 1
        assert kills < 60
        ingester = house.ingester()
    assert kills
    assert house.counts() == {"COMPLETED": 6_000}
    assert (house.rows("SELECT count(*) FROM runs_log"), house.run_states()) == ([(6_000,)], ["COMPLETED"])
    stop(ingester)


def test_a_second_ingester_waits_until_the_first_is_gone(sqlite_house: House) -> None:
    first = sqlite_house.ingester()
    wait_for(sqlite_house.home.bell.exists)
    second = sqlite_house.ingester()
    first.kill()
    first.wait()
    script = ended(long_script(3))
    sqlite_house.write(script, script.facts)
    wait_for(lambda: not sqlite_house.journals())
    assert second.poll() is None
    assert stop(second) < 5


def test_a_stop_brings_in_what_is_there_first(sqlite_house: House) -> None:
    ingester = sqlite_house.ingester()
    wait_for(sqlite_house.home.bell.exists)
    script = ended(long_script(4_000))
    sqlite_house.write(script, script.facts)
    stop(ingester)
    assert not sqlite_house.journals()
    assert sqlite_house.counts() == {"COMPLETED": 4_000}


# Once, without a server


def test_once_brings_everything_in_and_judges_the_dead(house: House) -> None:
    whole, dead = ended(long_script(2_500)), long_script(10)
    for script in (whole, dead):
        house.write(script, script.facts)
    assert house.bring_in_once()
    assert sorted(house.run_states()) == ["COMPLETED", "CRASHED"]
    assert house.counts() == {"COMPLETED": 2_510}
    assert not house.journals()


def test_once_leaves_a_living_script_running(sqlite_house: House) -> None:
    script = sqlite_house.script("""
        import signal
        from orchestrator import flow

        @flow
        def waiting():
            print("READY", flush=True)
            signal.pause()

        waiting()
    """)
    assert script.stdout is not None
    assert script.stdout.readline() == "READY\n"
    assert sqlite_house.bring_in_once()
    assert sqlite_house.bring_in_once()
    assert sqlite_house.run_states() == ["RUNNING"]
    assert len(sqlite_house.journals()) == 1


def test_once_says_that_another_process_does_it(sqlite_house: House) -> None:
    ingester = sqlite_house.ingester()
    wait_for(sqlite_house.home.bell.exists)
    assert not sqlite_house.bring_in_once()
    stop(ingester)


def test_once_without_a_home_is_nothing_to_do(sqlite_house: House) -> None:
    shutil.rmtree(sqlite_house.home.journals, ignore_errors=True)
    assert sqlite_house.bring_in_once()


# Files


def test_segments_that_are_in_are_deleted_and_read_no_more(sqlite_house: House) -> None:
    script = ended(long_script(300))
    middle = len(script.facts) // 2
    sqlite_house.write(script, script.facts[:middle])
    sqlite_house.write(script, script.facts[middle:], segment=1)
    assert sqlite_house.bring_in_once()
    assert sqlite_house.counts() == {"COMPLETED": 300}
    assert not sqlite_house.journals()


def test_a_segment_that_was_taken_but_not_deleted_is_passed_over(sqlite_house: House) -> None:
    script = ended(long_script(50))
    sqlite_house.write(script, script.facts)
    assert sqlite_house.bring_in_once()
    sqlite_house.write(script, script.facts)
    assert sqlite_house.bring_in_once()
    assert sqlite_house.counts() == {"COMPLETED": 50}
    assert not sqlite_house.journals()


def test_files_that_are_no_journals_are_left_alone(sqlite_house: House) -> None:
    sqlite_house.home.make()
    for name, content in [
        (f"{uuid7()}-000000.jsonl", b"nonsense\n"),
        ("no-uuid-000000.jsonl", encode(Header(journal="no-uuid")) + b"\n" + encode(Ended(n=1)) + b"\n"),
        ("notes.txt", b"mine"),
    ]:
        (sqlite_house.home.journals / name).write_bytes(content)
    script = ended(long_script(3))
    sqlite_house.write(script, script.facts)
    assert sqlite_house.bring_in_once()
    assert sqlite_house.counts() == {"COMPLETED": 3}
    assert len(list(sqlite_house.home.journals.iterdir())) == 3


def test_a_journal_meant_for_another_server_is_left_to_its_script(sqlite_house: House) -> None:
    script = ended(long_script(3))
    path = sqlite_house.write(script, script.facts)
    (path.parent / f"{script.header.journal}.ship").write_text("https://elsewhere")
    assert sqlite_house.bring_in_once()
    assert sqlite_house.counts() == {}
    assert path.exists()


def test_another_boot_of_this_machine_is_dead_and_another_machine_is_not_judged(sqlite_house: House) -> None:
    here, elsewhere = long_script(3), long_script(3)
    here.header.boot = "before-the-restart"
    elsewhere.header.boot, elsewhere.header.machine = "other", "other"
    assert this_boot().boot
    for script in (here, elsewhere):
        sqlite_house.write(script, script.facts)
    assert sqlite_house.bring_in_once()
    states = dict(sqlite_house.rows("SELECT id, state_type FROM runs_flowrun"))
    assert states == {UUID(here.run).hex: "CRASHED", UUID(elsewhere.run).hex: "RUNNING"}


def test_a_forked_childs_journal_waits_for_its_parents(sqlite_house: House) -> None:
    parent = long_script(5_000)
    late = str(uuid7())
    parent.create(run=late)
    child = Process(run=late, journal=str(uuid7()))
    child.task_state(child.task(), "COMPLETED")
    child.end()
    parent.state("COMPLETED", run=late)
    ended(parent)
    for script in (parent, child):
        sqlite_house.write(script, script.facts)
    assert sqlite_house.bring_in_once()
    assert sqlite_house.counts() == {"COMPLETED": 5_001}


# Trouble


def test_a_long_path_is_polled_where_no_bell_can_be_bound(tmp_path: Path) -> None:
    house = House(tmp_path / ("a" * 120) / "home")
    ingester = house.ingester()
    script = ended(long_script(3))
    house.write(script, script.facts)
    wait_for(lambda: not house.journals())
    stop(ingester)
    house.close()


def test_a_database_that_is_gone_for_a_while_loses_nothing(postgres_house: House, postgres_server: str) -> None:
    house = postgres_house
    name = house.environment["ORCHESTRATOR_DATABASE_URL"].rpartition("/")[2]
    ingester = house.ingester()
    wait_for(house.home.bell.exists)
    first = ended(long_script(200))
    house.write(first, first.facts)
    wait_for(lambda: not house.journals())
    second = ended(long_script(200))
    with psycopg.connect(postgres_server, autocommit=True) as server:
        server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        house.write(second, second.facts)
        wait_for(lambda: "cannot be used" in house.errors.read_text())
        server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    wait_for(lambda: not house.journals())
    stop(ingester)
    assert house.counts() == {"COMPLETED": 400}
    errors = house.errors.read_text()
    assert (errors.count("cannot be used"), errors.count("can be used again")) == (1, 1)


def test_an_idle_ingester_costs_next_to_nothing(sqlite_house: House) -> None:
    ingester = sqlite_house.ingester()
    wait_for(sqlite_house.home.bell.exists)
    time.sleep(2.5)
    before = processor_seconds(ingester.pid)
    time.sleep(3.0)
    assert processor_seconds(ingester.pid) - before < 3.0 * 0.02
    stop(ingester)


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_the_bell_wakes_it_at_once(sqlite_house: House) -> None:
    ingester = sqlite_house.ingester()
    wait_for(sqlite_house.home.bell.exists)
    # Quiet, it looks once a second by itself. Other tests share this machine, so the first of three may be late.
    assert any(_woken_within(sqlite_house, 0.9) for _ in range(3))
    stop(ingester)


def _woken_within(house: House, seconds: float) -> bool:
    time.sleep(2.5)  # until it is quiet
    script = ended(long_script(1))
    house.write(script, script.facts)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell:
        bell.sendto(b"1", str(house.home.bell))
    started = time.monotonic()
    wait_for(lambda: not house.journals())
    return time.monotonic() - started < seconds


def test_threads_may_stop_it(sqlite_house: House) -> None:
    """`tailer.run` in a thread ends when its event is set."""
    code = (
        "from orchestrator import site; site.setup()\n"
        "import threading, time; from django.conf import settings; from runs import tailer\n"
        "stop = threading.Event(); thread = threading.Thread(target=tailer.run, args=(settings.HOME, stop))\n"
        "thread.start(); time.sleep(0.5); stop.set(); thread.join(5); print(thread.is_alive())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=sqlite_house.environment, cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stdout == "False\n"
    assert threading.active_count() >= 1
