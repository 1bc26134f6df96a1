"""Tag limits as the engine sees them: who asks, how it waits, what a server that is away does."""

import asyncio
import fcntl
import json
import os
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from orchestrator import CancelledRun, InlineTaskRunner, ThreadPoolTaskRunner, flow, tags, task, wait
from orchestrator.sdk import control_address, control_helper, control_slots
from orchestrator.sdk.home import Home
from tests.sdk.conftest import Recorded
from tests.sdk.processes import end_started, start_python
from tests.sdk.slot_server import SlotServer, slot_server


@pytest.fixture
def server(recorded: Recorded, monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[SlotServer]:
    """A server that limits `database` to one task run; this process is a run of a worker that knows its address."""
    with slot_server(database=1) as running:
        monkeypatch.setenv("ORCHESTRATOR_API_URL", running.url)
        monkeypatch.setenv("ORCHESTRATOR_RUN_ID", "a-run-of-a-worker")
        (home / "limits.json").write_text(json.dumps({"version": 1, "tags": ["database"]}))
        yield running


@task(tags=["database"])
def load(value: int = 1) -> int:
    return value


@task(tags=["database"])
async def load_async(value: int = 1) -> int:
    return value


@flow
def one() -> int:
    return load()


AWAITING = [(1, "Pending"), (1, "AwaitingConcurrencySlot"), (1, "Running"), (1, "Completed")]


def occupy(server: SlotServer) -> None:
    """Have another process hold the slot."""
    assert server.ask({"task_run": "other", "tags": ["database"]})[0] == 200


def when_asked(server: SlotServer, count: int, then: Any) -> threading.Thread:
    def work() -> None:
        server.wait_for_asks(count)
        then()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_granted_at_once_leaves_no_trace(server: SlotServer, recorded: Recorded):
    assert one() == 1
    assert recorded.task_states("load-0") == [(1, "Running"), (1, "Completed")]
    (asked,) = server.asked
    created = recorded.facts("task_run")[0]
    assert (asked["task_run"], asked["name"], asked["tags"]) == (created["id"], "load-0", ["database"])
    assert (asked["run"], asked["attempt"]) == (created["run"], 1)


def test_tags_without_a_limit_ask_nobody(server: SlotServer):
    @task(tags=["database"])
    def outside() -> None: ...

    @flow
    def whole() -> None:
        with tags("web"):
            task(lambda: None, name="free")()

    whole()
    outside()  # nothing of it is recorded, so it takes no slot
    assert not server.asked


def test_a_new_limit_is_noticed(server: SlotServer, home: Path):
    (home / "limits.json").unlink()
    one()
    assert not server.asked
    (home / "limits.json").write_text(json.dumps({"version": 1, "tags": ["database", "web"]}))
    one()
    assert len(server.asked) == 1


def test_direct_call_waits_for_the_push(server: SlotServer, recorded: Recorded):
    occupy(server)
    when_asked(server, 3, server.free)  # the first ask, and the one that follows a new stream
    assert one() == 1
    assert recorded.task_states("load-0") == AWAITING
    waiting = next(fact for fact in recorded.facts("task_state") if fact["name"] == "AwaitingConcurrencySlot")
    expected = "Waits for a slot of tag 'database' (limit 1); held by 'load-0' of 'busy-bee'"
    assert (waiting["type"], waiting["message"]) == ("SCHEDULED", expected)


def test_async_call_waits_without_holding_the_loop(server: SlotServer, recorded: Recorded):
    occupy(server)

    @flow
    async def whole() -> int:
        waiting = asyncio.create_task(load_async(2))
        await asyncio.to_thread(server.wait_for_asks, 3)
        server.free()
        return await waiting

    assert asyncio.run(whole()) == 2
    assert recorded.task_states("load_async-0") == AWAITING


def test_waiting_tasks_hold_no_thread(server: SlotServer, recorded: Recorded):
    occupy(server)

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def whole() -> Any:
        waiting = load.map([1, 2, 3])
        server.wait_for_asks(4)
        assert task(lambda: 7, name="free").submit().result() == 7
        server.free()
        for future in waiting:  # a real server frees by the recorded ending
            future.add_done_callback(lambda done: server.free(done.run_id))
        return waiting.result()

    assert whole() == [1, 2, 3]
    assert recorded.task_states("load-2") == AWAITING


def test_inline_runner_waits_in_its_thread(server: SlotServer):
    occupy(server)
    when_asked(server, 3, server.free)

    @flow(task_runner=InlineTaskRunner())
    def whole() -> int:
        return load.submit(5).result()

    assert whole() == 5


def test_a_missed_push_is_made_up_for(server: SlotServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(control_slots, "AGAIN_SECONDS", 0.05)
    occupy(server)

    def free_silently() -> None:
        with server.changed:
            server._holding.clear()

    when_asked(server, 3, free_silently)
    assert one() == 1


def test_each_attempt_asks_and_says_what_was_recorded_before(server: SlotServer, recorded: Recorded):
    @task(tags=["database"], retries=1)
    def fails_once() -> int:
        (asked,) = server.asked[-1:]
        if "sequence" not in asked:
            raise ValueError
        return int(asked["sequence"])

    @flow
    def whole() -> int:
        return fails_once()

    sequence = whole()
    assert len(server.asked) == 2
    awaiting = next(fact for fact in recorded.facts("task_state") if fact["name"] == "AwaitingRetry")
    assert awaiting["n"] <= sequence


def test_reused_results_take_no_slot(server: SlotServer):
    attempts: list[int] = []

    @flow(retries=1)
    def whole() -> int:
        value = load()
        attempts.append(value)
        if len(attempts) == 1:
            raise ValueError
        return value

    assert whole() == 1
    assert len(server.asked) == 1


def test_a_run_that_the_server_does_not_know_yet_is_no_wait(server: SlotServer, recorded: Recorded):
    server.refusals = [(409, "unknown_run")] * 3
    assert one() == 1
    assert len(server.asked) == 4
    assert recorded.task_states("load-0") == [(1, "Running"), (1, "Completed")]


def test_a_server_that_is_away_only_delays(server: SlotServer, recorded: Recorded, capsys: pytest.CaptureFixture[str]):
    server.refusals = [(503, ""), (503, ""), (503, "")]
    assert one() == 1
    assert recorded.task_states("load-0") == AWAITING
    said = capsys.readouterr().err
    assert said.count("which does not answer: it answered 503 Service Unavailable: no") == 1
    assert said.count("It answers again") == 1


def test_cancelling_what_waits_gives_back(server: SlotServer, recorded: Recorded):
    occupy(server)

    @flow
    def whole() -> Any:
        future = load.submit()
        server.wait_for_asks(2)
        while future.state.name != "AwaitingConcurrencySlot":
            wait([], 0.001)
        assert future.cancel()
        with pytest.raises(CancelledRun):
            future.result()
        with server.changed:
            server.changed.wait_for(lambda: server.given_back, 10)
        return future.run_id

    assert server.given_back == [whole()]
    assert [name for _, name in recorded.task_states("load-0")] == ["Pending", "AwaitingConcurrencySlot", "Cancelled"]


def test_a_failing_flow_calls_off_what_waits_for_its_slot(server: SlotServer, recorded: Recorded):
    occupy(server)

    @flow
    def whole() -> None:
        load.submit()
        server.wait_for_asks(2)
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        whole()
    assert recorded.task_states("load-0")[-1] == (1, "Cancelled")


def test_timeout_of_the_flow_ends_the_waiting_and_not_the_task_s_own(server: SlotServer, recorded: Recorded):
    occupy(server)
    patient = load.with_options(name="patient", timeout_seconds=0.01)

    @flow(timeout_seconds=0.5)
    def whole() -> None:
        patient()

    state = whole(return_state=True)
    assert state.name == "TimedOut"
    assert recorded.task_states("patient-0")[-1] == (1, "Crashed")
    with server.changed:
        assert server.changed.wait_for(lambda: server.given_back, 10)


SCRIPT = """
    from orchestrator import flow, task

    @task(tags=["database", "label"])
    def load():
        return 1

    @flow
    def one():
        return load() + load()

    one()
"""


def test_sigterm_ends_what_waits(server: SlotServer, home: Path, recorded: Recorded):
    occupy(server)
    script = start_python(SCRIPT, home, ORCHESTRATOR_API_URL=server.url, ORCHESTRATOR_RUN_ID="r")
    try:
        server.wait_for_asks(2)
        script.terminate()
        assert script.wait(20) == -15
    finally:
        end_started()
    assert recorded.flow_states()[-1][1:] == ("CRASHED", "Crashed")


def test_a_script_asks_its_server_which_tags_are_limited(server: SlotServer, home: Path):
    server.limits["database"] = 2  # this server is not told how task runs end
    script = start_python(SCRIPT, home, ORCHESTRATOR_API_URL=server.url)
    assert script.wait(30) == 0
    end_started()
    assert (server.tag_questions, len(server.asked)) == (1, 2)


def test_of_many_that_need_a_helper_at_once_one_starts_it(home: Path, monkeypatch: pytest.MonkeyPatch):
    started: list[int] = []

    def spawn(_home: Home, lock: int) -> None:
        started.append(os.dup(lock))  # as the helper has it from then on

    monkeypatch.setattr(control_helper, "_spawn", spawn)
    with ThreadPoolExecutor(20) as pool:
        troubles = set(pool.map(control_helper.start, [Home(home)] * 40))
    assert (len(started), troubles) == (1, {""})
    os.close(started[0])


def test_no_helper_where_it_could_only_do_harm(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(control_helper, "_spawn", lambda home, lock: pytest.fail("it was started"))
    here = Home(home)
    with here.ingest_lock.open("w") as lock:  # a server elsewhere has its ingester here
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "set ORCHESTRATOR_API_URL" in control_helper.start(here)
    with here.server_lock.open("w") as lock:  # a server is starting
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert control_helper.start(here) == ""
    monkeypatch.setenv("ORCHESTRATOR_RUN_ID", "a-run-of-a-worker")
    assert "set ORCHESTRATOR_API_URL" in control_helper.start(here)


def test_a_record_of_a_dead_server_is_not_trusted(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ORCHESTRATOR_API_URL", raising=False)
    here = Home(home)
    here.server_file.write_text(json.dumps({"pid": 1, "url": "http://127.0.0.1:4200", "token": "secret"}))
    assert control_address.find(here).socket == here.control_socket
    with here.server_lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert control_address.find(here) == ("http://127.0.0.1:4200", "secret", None)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_waits_by_itself(server: SlotServer, home: Path):
    script = f"""
        import os
        {textwrap.indent(textwrap.dedent(SCRIPT), " " * 8).strip()}
        child = os.fork()
        if child == 0:
            one()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    """
    server.limits["database"] = 4
    forking = start_python(script, home, ORCHESTRATOR_API_URL=server.url, ORCHESTRATOR_RUN_ID="r")
    assert forking.wait(30) == 0, forking.stderr and forking.stderr.read()
    end_started()
    assert len({asked["listener"] for asked in server.asked}) == 2
