"""What a process writes survives whatever happens to it."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.sdk.events import Ended, FlowRunState, Log
from orchestrator.sdk.home import Home
from orchestrator.sdk.reader import JournalReader, Judgement, is_abandoned, segments
from tests.sdk.processes import end_started, facts, journals, run_python, start_python

PRELUDE = """
import os, sys, threading, time
from orchestrator.sdk import journal
from orchestrator.sdk.events import Log, FlowRunState
def log(message, run="r"): journal.record(Log(run=run, message=message))
"""


@pytest.fixture(autouse=True)
def end_processes() -> Iterator[None]:
    """End what a failed test left running."""
    yield
    end_started()


def messages(home: Path) -> list[list[str]]:
    """The logged messages of each journal."""
    return [[fact.message for fact in found if isinstance(fact, Log)] for found in facts(home).values()]


def test_process_that_records_nothing_leaves_no_trace(home: Path) -> None:
    shutil.rmtree(home)
    assert run_python(PRELUDE, home).returncode == 0
    assert not home.exists()


def test_journal_is_made_at_the_first_fact_and_ended_at_exit(home: Path) -> None:
    shutil.rmtree(home)
    done = run_python(PRELUDE + "log('one'); log('two')", home)
    assert (done.returncode, done.stderr) == (0, "")
    [(journal, found)] = facts(home).items()
    assert [fact.n for fact in found] == [1, 2, 3]
    assert all(fact.t > 1_700_000_000_000_000 for fact in found)
    assert isinstance(found[-1], Ended)
    assert home.stat().st_mode & 0o777 == 0o700
    [segment] = segments(Home(home))
    assert segment.path.stat().st_mode & 0o777 == 0o600
    assert JournalReader(segment).header.journal == journal


def test_fact_is_in_the_file_when_record_returns_and_kill_loses_nothing(home: Path) -> None:
    code = PRELUDE + "log('a'); print('go', flush=True)\nfor number in range(10**9): log(str(number))"
    process = start_python(code, home)
    assert process.stdout is not None
    process.stdout.readline()
    [segment] = segments(Home(home))
    while segment.path.stat().st_size < 1_000_000:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    found = facts(home)[segment.journal]
    assert len(found) > 5_000
    assert [fact.n for fact in found] == list(range(1, len(found) + 1))
    assert not isinstance(found[-1], Ended)
    assert is_abandoned(segment.path)


def test_kill_in_the_middle_of_ten_thousand_keeps_every_acknowledged_fact(home: Path) -> None:
    code = PRELUDE + "for number in range(10_000): log(str(number)); os.write(1, b'%d\\n' % number)"
    process = start_python(code, home)
    assert process.stdout is not None
    acknowledged = -1
    for line in process.stdout:
        acknowledged = int(line)
        if acknowledged == 4_000:
            process.send_signal(signal.SIGKILL)
    process.communicate()
    assert acknowledged >= 4_000
    [found] = messages(home)
    assert len(found) >= acknowledged + 1
    assert found == [str(number) for number in range(len(found))]


def test_two_hundred_scripts_at_once_lose_nothing(home: Path) -> None:
    # Fifty processes that fork four scripts each: two hundred writers, without the cost of two hundred interpreters.
    code = (
        PRELUDE
        + """
children = []
for child in range(4):
    pid = os.fork()
    if not pid:
        for number in range(50): log(f"{number}")
        journal.close()
        os._exit(0)
    children.append(pid)
codes = [os.waitpid(pid, 0)[1] for pid in children]
sys.exit(max(codes))
"""
    )
    processes = [start_python(code, home) for _ in range(50)]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
    found = facts(home)
    assert len(found) == 200
    for written in found.values():
        assert [fact.n for fact in written] == list(range(1, 52))
        assert isinstance(written[-1], Ended)
    assert not list((home / "journals").glob("*.making"))


def test_threads_share_one_sequence(home: Path) -> None:
    code = (
        PRELUDE
        + """
def work():
    for number in range(500): log(threading.current_thread().name)
threads = [threading.Thread(target=work) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""
    )
    assert run_python(code, home).returncode == 0
    [found] = facts(home).values()
    assert [fact.n for fact in found] == list(range(1, 4_002))


def test_forked_child_writes_a_journal_of_its_own_and_leaves_the_lock_to_the_parent(home: Path) -> None:
    code = (
        PRELUDE
        + """
log("parent")
if not os.fork():
    log("child")
    if not os.fork():
        log("grandchild")
        journal.close()
        os._exit(0)
    os.wait()
    journal.close()
    os._exit(0)
os.wait()
log("parent again")
print("ready", flush=True)
sys.stdin.read()
"""
    )
    process = start_python(code, home)
    assert process.stdout is not None
    process.stdout.readline()
    assert sorted(messages(home)) == [["child"], ["grandchild"], ["parent", "parent again"]]
    judged = {parts[0].journal: is_abandoned(parts[0].path) for parts in journals(home).values()}
    alive = [journal for journal, abandoned in judged.items() if not abandoned]
    assert [messages_of(home, journal) for journal in alive] == [["parent", "parent again"]]
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert all(isinstance(found[-1], Ended) for found in facts(home).values())


def messages_of(home: Path, journal: str) -> list[str]:
    """The logged messages of one journal."""
    return [fact.message for fact in facts(home)[journal] if isinstance(fact, Log)]


def test_child_that_outlives_its_parent_does_not_keep_the_parents_lock(home: Path) -> None:
    code = (
        PRELUDE
        + "log('parent')\nif not os.fork():\n    print('up', flush=True); sys.stdin.read(); os._exit(0)\nos._exit(3)"
    )
    process = start_python(code, home)
    assert process.stdout is not None
    process.stdout.readline()
    process.wait(timeout=20)
    [segment] = segments(Home(home))
    assert is_abandoned(segment.path)
    process.communicate(timeout=20)


def test_multiprocessing_workers_end_their_journals(home: Path, tmp_path: Path) -> None:
    script = tmp_path / "pool.py"
    script.write_text(
        PRELUDE
        + """
import multiprocessing
if __name__ == "__main__":
    log("parent")
    process = multiprocessing.get_context("fork").Process(target=log, args=("child",))
    process.start(); process.join()
    process = multiprocessing.get_context("spawn").Process(target=log, args=("spawned",))
    process.start(); process.join()
"""
    )
    done = run_python(f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')", home)
    assert done.returncode == 0, done.stderr
    assert sorted(messages(home)) == [["child"], ["parent"], ["spawned"]]
    assert all(isinstance(found[-1], Ended) for found in facts(home).values())


def test_signal_handler_may_record_while_its_thread_records(home: Path) -> None:
    code = (
        PRELUDE
        + """
import signal
signal.signal(signal.SIGALRM, lambda *_: log("tick"))
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
for number in range(30_000): log("work")
signal.setitimer(signal.ITIMER_REAL, 0)
"""
    )
    assert run_python(code, home).returncode == 0
    [found] = facts(home).values()
    assert [fact.n for fact in found] == list(range(1, len(found) + 1))
    [logged] = messages(home)
    assert logged.count("work") == 30_000
    assert logged.count("tick") > 10


def test_journal_goes_on_in_a_new_segment(home: Path) -> None:
    code = PRELUDE + "journal.SEGMENT_BYTES = 10_000\nfor number in range(1_000): log(str(number))"
    assert run_python(code, home).returncode == 0
    [parts] = journals(home).values()
    assert len(parts) > 5
    assert [part.number for part in parts] == list(range(len(parts)))
    [found] = facts(home).values()
    assert [fact.n for fact in found] == list(range(1, 1_002))


def test_record_takes_whatever_users_pass(home: Path) -> None:
    code = (
        PRELUDE
        + """
from orchestrator.sdk.events import FlowRunCreated
class Unprintable:
    def __str__(self): raise RuntimeError
    __repr__ = __str__
cycle = []
cycle.append(cycle)
for value in (Unprintable(), cycle, 1 << 80, {(1, 2): 3}, float("nan"), b"x", "\\ud800", {"a", 1}):
    journal.record(FlowRunCreated(run="r", flow="f", name="n", parameters={"x": value}))
log("lone \\udcff surrogate")
"""
    )
    done = run_python(code, home)
    assert (done.returncode, done.stderr) == (0, "")
    [found] = facts(home).values()
    assert [fact.n for fact in found] == list(range(1, 11))


def test_unwritable_home_warns_once_and_the_code_runs_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run_python(PRELUDE + "for number in range(1_000): log('x')\nprint('result')", tmp_path / "file" / "home")
    assert (done.returncode, done.stdout) == (0, "result\n")
    [line] = done.stderr.splitlines()
    assert "Not a directory" in line
    assert str(tmp_path / "file" / "home") in line
    assert "ORCHESTRATOR_HOME" in line


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KB; only root may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small tmpfs can only be mounted by root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


FILL_THEN_MAKE_ROOM = """
journal.RETRY_SECONDS = 0.05
ballast = os.environ["BALLAST"]
for number in range(20_000): log(f"before {number}")
os.unlink(ballast)
time.sleep(0.1)
log("after")
"""


def test_full_disk_warns_once_then_says_how_many_were_lost(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(b"x" * 100_000)
    home = small_disk / "home"
    done = run_python(PRELUDE + FILL_THEN_MAKE_ROOM, home, BALLAST=str(small_disk / "ballast"))
    assert done.returncode == 0
    warning, again = done.stderr.splitlines()
    assert "No space left on device" in warning
    assert "facts were lost" in again
    [found] = facts(home).values()
    assert isinstance(found[-1], Ended)
    assert isinstance(found[-2], Log)
    assert found[-2].message == "after"
    assert len(found) + int(again.split(";")[1].split()[0]) == 20_002  # numbers go on over what was lost
    assert found[-1].n == 20_002


def test_torn_line_is_completed_when_writing_works_again(home: Path) -> None:
    code = (
        PRELUDE
        + """
import resource
journal.RETRY_SECONDS = 0.0
log("first")
resource.setrlimit(resource.RLIMIT_FSIZE, (600, resource.RLIM_INFINITY))
log("x" * 1_000)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log("last")
"""
    )
    done = run_python(code, home)
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) == 2
    assert messages(home) == [["first", "last"]]
    [segment] = segments(Home(home))
    assert b"xxx\n{" in segment.path.read_bytes()
    assert sum(batch.skipped for batch in JournalReader(segment).batches()) == 1


def test_bell_rings_for_a_burst_and_at_the_end(home: Path) -> None:
    from orchestrator.sdk import bell

    listener = bell.listen(home / "bell.sock")
    assert run_python(PRELUDE + "for number in range(100): log('x')", home).returncode == 0
    rung = 0
    while True:
        try:
            listener.recv(16)
        except BlockingIOError:
            break
        rung += 1
    assert 2 <= rung < 20
    listener.close()


def test_bell_of_a_home_with_a_very_long_path(tmp_path: Path) -> None:
    from orchestrator.sdk import bell

    home = tmp_path / ("long" * 30) / "home"
    Home(home).make()
    listener = bell.listen(home / "bell.sock")
    listener.setblocking(True)
    listener.settimeout(5)
    assert run_python(PRELUDE + "log('x')", home).returncode == 0
    assert listener.recv(16)
    listener.close()


def test_nobody_at_the_bell_is_no_hindrance(home: Path) -> None:
    from orchestrator.sdk import bell

    bell.listen(home / "bell.sock").close()  # the socket's file stays, as after kill -9
    done = run_python(PRELUDE + "log('x')", home)
    assert (done.returncode, done.stderr) == (0, "")


def test_supervisors_journal_carries_its_id_and_run(home: Path) -> None:
    journal_id = "01890000-0000-7000-8000-000000000000"
    run_python(PRELUDE + f"journal.open_journal({journal_id!r}, 'run-1', 2); log('x')", home)
    [segment] = segments(Home(home))
    header = JournalReader(segment).header
    assert (segment.journal, header.run, header.attempt) == (journal_id, "run-1", 2)


def test_fact_recorded_after_the_end_begins_another_journal(home: Path) -> None:
    run_python(PRELUDE + "log('one'); journal.close(); log('two')", home)
    assert sorted(messages(home)) == [["one"], ["two"]]
    assert all(isinstance(found[-1], Ended) for found in facts(home).values())


def test_threads_that_record_while_the_journal_is_closed_begin_another(home: Path) -> None:
    code = (
        PRELUDE
        + """
def work():
    for number in range(2_000): log("x")
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
for _ in range(20): journal.close()
[thread.join() for thread in threads]
"""
    )
    assert run_python(code, home).returncode == 0
    assert sum(len(found) for found in messages(home)) == 8_000
    for parts in journals(home).values():
        assert [part.number for part in parts] == [0]
    assert all(isinstance(found[-1], Ended) for found in facts(home).values())


def test_users_exit_handlers_are_recorded_before_the_ending(home: Path) -> None:
    run_python(PRELUDE + "import atexit; log('one'); atexit.register(log, 'at exit')", home)
    assert messages(home) == [["one", "at exit"]]


def test_script_without_a_server_does_not_import_socket(home: Path) -> None:
    done = run_python(PRELUDE + "log('x'); print('socket' in sys.modules)", home)
    assert done.stdout == "False\n"


def test_daemon_that_closes_every_descriptor_goes_on_recording(home: Path) -> None:
    code = PRELUDE + "journal.RETRY_SECONDS = 0.0\nlog('one'); os.closerange(3, 4096); log('lost'); log('two')"
    done = run_python(code, home)
    assert done.returncode == 0
    assert messages(home) == [["one", "two"]]


def test_state_facts_carry_their_own_time(home: Path) -> None:
    run_python(PRELUDE + "journal.record(FlowRunState(run='r', type='RUNNING', name='Running', t=5))", home)
    [found] = facts(home).values()
    assert isinstance(found[0], FlowRunState)
    assert found[0].t == 5


def test_lock_tells_living_from_dead(home: Path) -> None:
    process = start_python(PRELUDE + "log('x'); print('up', flush=True); sys.stdin.read(); os._exit(0)", home)
    assert process.stdout is not None
    process.stdout.readline()
    [segment] = segments(Home(home))
    reader = JournalReader(segment)
    assert len(reader.read().facts) == 1
    assert reader.judge() is Judgement.ALIVE
    process.communicate(timeout=20)
    assert reader.judge() is Judgement.DYING  # it must be read to the end once more first
    assert reader.read().facts == []
    assert reader.judge() is Judgement.DEAD
    assert os.path.exists(segment.path)
