"""From a run's failure to the message about it, and a burst of failures, with fifty policies on one server."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import UUID

from benchmarks.measures import BenchmarkError, Bound, Row, percentile
from benchmarks.processes import PROGRAMS, PYTHON, environment, run, temporary_home
from benchmarks.receiving import Receiver, receiving
from benchmarks.records import moment, wait_until
from benchmarks.rounds import Rounds, interleave
from benchmarks.serving import Server, serving
from orchestrator.sdk.bell import Bell
from orchestrator.sdk.home import Home

POLICIES = 50
BURST_LIMIT = 10
WINDOW_SECONDS = 60
UNLIMITED = 1_000
MATCHING = ("latency", "laten*", "*tency", "l?tency", "latency*")  #: flows of the policies that match in the latency
STORM = ("slack", "webhook")  #: the kinds of the destinations of the burst's policy
_FAILED = "SELECT count(*) FROM runs_flowrun WHERE state_type = 'FAILED'"
_SENT = (
    "SELECT count(*) FROM notifications_message m JOIN notifications_policy p ON p.id = m.policy_id"
    " WHERE p.name = 'storm' AND m.state = 'sent'"
)
_RUN = re.compile(rb"/runs/([0-9a-f-]{36})")


def notifications(quick: bool) -> Iterator[Row]:
    """How soon a failure reaches Slack; then a burst of failures: nothing lost, grouped, and what it costs ingest."""
    with receiving() as receiver, serving(api=True, ORCHESTRATOR_ALLOW_PRIVATE_ADDRESSES="1") as server:
        make_policies(server, receiver)
        yield from latency(server, receiver, 10 if quick else 40)
        storm = burst(server, 200 if quick else 1_000)
        rounds = ingest_rounds(server, 60, 3 if quick else 20)  # while its window is open
        yield storm.row(server, receiver, wait=not quick)
    yield slowdown(rounds)


def make_policies(server: Server, receiver: Receiver) -> None:
    """Make fifty policies: five match the latency's runs, one the burst's, one the runs of the ingest rounds."""

    def destination(name: str, kind: str = "slack") -> str:
        address = {"name": name, "kind": kind, "address": f"{receiver.url}/{name}"}
        return str(server.call("POST", "/api/destinations/", address)["id"])

    def policy(name: str, flows: list[str], destinations: list[str], burst_limit: int) -> None:
        body = {
            "name": name, "events": ["FAILED", "CRASHED"], "flows": flows, "destinations": destinations,
            "burst_limit": burst_limit,
        }  # fmt: skip
        server.call("POST", "/api/notification-policies/", body)

    for flow in ("latency", "storm", "rounds"):  # a policy on a flow that is not there is refused
        fail(server.environment, flow, 1)
    wait_until(lambda: server.records.count(_FAILED) >= 3, "the first runs", 30)
    for number, pattern in enumerate(MATCHING):
        policy(f"latency-{number}", [pattern], [destination(f"latency-{number}")], UNLIMITED)
    policy("storm", ["storm"], [destination(f"storm-{kind}", kind) for kind in STORM], BURST_LIMIT)
    policy("rounds", ["rounds"], [destination("rounds")], BURST_LIMIT)
    elsewhere = destination("elsewhere")
    for number in range(POLICIES - len(MATCHING) - 2):
        policy(f"elsewhere-{number}", [f"elsewhere-{number}-*"], [elsewhere], BURST_LIMIT)


def fail(variables: dict[str, str], flow: str, count: int, *options: str) -> None:
    """Have so many runs fail, each with a journal of its own."""
    run([PYTHON, PROGRAMS / "failing.py", str(count), "--flow", flow, *options], variables)


def latency(server: Server, receiver: Receiver, runs: int) -> Iterator[Row]:
    """From the failed state's time on record to each of its messages' arrival, on one clock."""
    expected = runs * len(MATCHING)
    fail(server.environment, "latency", 1)  # warm-up: the sender's imports
    wait_until(lambda: len(receiver.at("/latency")) >= len(MATCHING), "the first messages", 30)
    receiver.requests.clear()
    fail(server.environment, "latency", runs, "--pause", "0.2")
    wait_until(lambda: len(receiver.at("/latency")) >= expected, f"{expected} messages", 30)
    query = "SELECT id, state_time FROM runs_flowrun WHERE state_type = 'FAILED'"
    failed = {UUID(run_id): moment(at) for run_id, at in server.records.rows(query)}
    seconds = [request.at - failed[run_of(request.body)] for request in receiver.at("/latency")]
    if len(seconds) != expected:
        raise BenchmarkError(f"{len(seconds)} messages came of {runs} runs where {expected} were due")
    note = (
        f"{runs} failing runs, {len(MATCHING)} of {POLICIES} policies match: {expected} messages, each its own request"
    )
    yield Row("failed state to request at a Slack-like receiver, p50", "s", (percentile(seconds, 50),), note=note)
    yield Row(
        "failed state to request at a Slack-like receiver, p95", "s", (percentile(seconds, 95),), Bound(1.0), note
    )


def run_of(body: bytes) -> UUID:
    """Return the run that a message links to."""
    found = _RUN.search(body)
    if found is None:
        raise BenchmarkError(f"a message has no link to its run: {body[:80].decode(errors='replace')}")
    return UUID(found[1].decode())


@dataclass(frozen=True, slots=True)
class Storm:
    """A burst of failures, and how long it took."""

    runs: int
    seconds: float
    window_ends_at: float  #: seconds of the epoch, or a little later

    def row(self, server: Server, receiver: Receiver, *, wait: bool) -> Row:
        """Count what became of it. Without waiting for the window's end, what is held then is read in the database."""
        due = self.runs * len(STORM)
        if wait:
            messages = len(STORM) * (BURST_LIMIT + 1)
            wait_until(
                lambda: len(receiver.at("/storm")) >= messages and server.records.count(_SENT) >= messages,
                f"{messages} messages of the burst",
                max(0.0, self.window_ends_at - time.time()) + 15,
            )
        rows = server.records.rows(
            "SELECT d.name, coalesce(m.kind, delivery.held_for), coalesce(m.state, 'held'), count(*),"
            " count(DISTINCT m.id) FROM notifications_delivery delivery"
            " JOIN notifications_destination d ON d.id = delivery.destination_id"
            " JOIN notifications_policy p ON p.id = delivery.policy_id"
            " LEFT JOIN notifications_message m ON m.id = delivery.message_id"
            " WHERE p.name = 'storm' GROUP BY 1, 2, 3"
        )
        there = sum(count for *_, count, _ in rows)
        for kind in STORM:
            came = len(receiver.at(f"/storm-{kind}"))
            found = {(how, state): (count, sent) for name, how, state, count, sent in rows if name == f"storm-{kind}"}
            rest = self.runs - BURST_LIMIT
            grouped = {("burst", "sent"): (rest, 1)} if wait else {("burst", "held"): (rest, 0)}
            expected = {("single", "sent"): (BURST_LIMIT, BURST_LIMIT), **grouped}
            if found != expected or came != BURST_LIMIT + wait:
                raise BenchmarkError(f"the burst at {kind}: {came} messages came; on record {found}, not {expected}")
        said = {number for request in receiver.at("/storm") for number in re.findall(rb"\b[\d,]{3,}\b", request.body)}
        if wait and f"{self.runs - BURST_LIMIT:,}".encode() not in said | {n.replace(b",", b"") for n in said}:
            raise BenchmarkError("no message of the burst says how many failures it stands for")
        what = f"{len(STORM)} destinations; each got {BURST_LIMIT} single messages and "
        what += (
            f"one of {self.runs - BURST_LIMIT:,}"
            if wait
            else f"{self.runs - BURST_LIMIT:,} are held for one (not awaited)"
        )
        note = f"{what}; the runs took {self.seconds:.0f} s"
        return Row(
            f"lost of {due:,} deliveries of {self.runs:,} failing runs in a minute", "", (due - there,), Bound(0), note
        )


def burst(server: Server, runs: int) -> Storm:
    """Have so many runs fail well within a minute."""
    before, begun = server.records.count(_FAILED), time.time()
    fail(server.environment, "storm", runs)
    done = wait_until(lambda: server.records.count(_FAILED) >= before + runs, "the burst", 60)
    if done - begun > WINDOW_SECONDS - 5:
        raise BenchmarkError(f"{runs:,} failing runs took {done - begun:.0f} s, so they do not fall into one minute")
    return Storm(runs, done - begun, done + WINDOW_SECONDS)


def ingest_rounds(server: Server, runs: int, rounds: int) -> Rounds:
    """Failing runs a second into the database, with the policies and with all of them paused, in turns."""

    def measured(policies: bool) -> float:
        server.records.pause_policies(not policies)
        return ingest_rate(server, runs)

    taken = interleave({"with": lambda: measured(True), "without": lambda: measured(False)}, rounds, warm_up=True)
    server.records.pause_policies(False)
    return taken


def ingest_rate(server: Server, runs: int) -> float:
    """Have the server bring in journals of failing runs, all at once; return runs a second until all are in.

    A journal is deleted when the database has it all: looking at the folder takes nothing from the ingester.
    """
    before = server.records.count(_FAILED)
    with temporary_home() as elsewhere:
        fail(environment(elsewhere), "rounds", runs)
        home = Home(server.home)
        begun = time.time()
        moved = [path.rename(home.journals / path.name) for path in sorted((elsewhere / "journals").glob("*.jsonl"))]
        Bell(home.bell).ring()
        ended = wait_until(lambda: not any(path.exists() for path in reversed(moved)), f"{runs:,} runs brought in", 60)
    if (failed := server.records.count(_FAILED) - before) != runs:
        raise BenchmarkError(f"{failed:,} of {runs:,} failing runs were brought in")
    return runs / (ended - begun)


def slowdown(rounds: Rounds) -> Row:
    """How much longer ingest takes with policies; a rate of one round over that of the other contender beside it."""
    what = "ingest of failing runs with policies, to the rate without"
    if rounds.problems:
        return Row(what, "x", problem="; ".join(rounds.problems.values()))
    ratios = tuple(a / b for a, b in zip(rounds.values["with"], rounds.values["without"], strict=True))
    rates = {name: percentile(values, 50) for name, values in rounds.values.items()}
    note = f"{rates['with']:,.0f}/s and {rates['without']:,.0f}/s; one policy of {POLICIES} matches; {rounds.note}"
    return Row(what, "x", ratios, Bound(0.9, at_least=True), note, others_cores=rounds.others_cores)


BENCHMARKS: dict[str, Callable[[bool], Iterator[Row]]] = {"notifications": notifications}
