"""A busy site on PostgreSQL: how soon lists answer members of some of its teams, and what their rights cost."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from benchmarks.callers import Caller, Credentials
from benchmarks.dispatch import number, postgres
from benchmarks.measures import BenchmarkError, Bound, Row, percentile
from benchmarks.processes import PYTHON, run
from benchmarks.serving import Server, serving
from benchmarks.team_lists import targets

SIZE = {"users": 1_000, "teams": 100, "deployments": 5_000, "runs": 1_000_000}
QUICK_SIZE = {"users": 50, "teams": 20, "deployments": 200, "runs": 5_000}
FILL_SECONDS = 1800.0
CLIENTS = 4
SURVEY, SLOWEST = 4, 12  # so often is every list read, and so many of them again
RIGHTS_CHANGED = 4403
WHO = {
    "member": "a member of three teams",
    "sharer": "a member of three teams with 20 shares",
    "admin": "a site administrator",
}


@dataclass(frozen=True, slots=True)
class Site:
    """A server whose database was filled, and whoever is measured there."""

    server: Server
    callers: dict[str, Credentials]
    ids: dict[str, str]  #: by which lists are narrowed
    lists: dict[str, str]  #: addresses by name


def teams(quick: bool) -> Iterator[Row]:
    """Lists, a token check, runs asked for, and a role that is taken away, all on one site."""
    size = QUICK_SIZE if quick else SIZE
    with _filled(size) as site:
        yield from _lists(site, 3 if quick else 20, size)
        yield _token_check(site, 200 if quick else 2_000)
        for keyed in (False, True):
            yield _runs_asked_for(site, 3 if quick else 20, keyed=keyed)
        yield _role_taken_away(site, 2 if quick else 6)


@contextmanager
def _filled(size: dict[str, int]) -> Iterator[Site]:
    workers = "SELECT count(*) FROM runs_worker WHERE stopped_at IS NULL"
    with (
        postgres() as url,
        serving(
            has_worker=lambda: number(url, workers) > 0, ORCHESTRATOR_DATABASE_URL=url, ORCHESTRATOR_WEB_PROCESSES="2"
        ) as server,
    ):
        command = [PYTHON, "-m", "benchmarks.many_teams", *map(str, size.values())]
        folder = Path(__file__).parent.parent
        said = json.loads(run(command, server.environment, directory=folder, timeout=FILL_SECONDS).output)
        callers = {name: Credentials(**fields) for name, fields in said["callers"].items()}
        yield Site(server, callers, said["ids"], said["lists"])


def _lists(site: Site, rounds: int, size: dict[str, int]) -> Iterator[Row]:
    """Every list, plain and narrowed, a few times in turns, and then the slowest of them so many times, by caller."""
    addresses = list(targets(site.lists, site.ids))
    for name, who in WHO.items():
        first = read_in_turns(site.server.url, site.callers[name], addresses, SURVEY)
        slow = sorted(addresses, key=lambda address: max(first[address]))[-SLOWEST:]
        again = read_in_turns(site.server.url, site.callers[name], slow, rounds)
        each = {address: percentile(values, 95) for address, values in again.items()}
        slowest = max(each, key=lambda address: each[address])
        middle = percentile([value for values in first.values() for value in values], 50)
        note = f"{unquote(slowest)[:48]} of {len(addresses)}; median of all {middle:.0f} ms"
        what = f"slowest list of {size['runs']:,} runs for {who}, p95"
        yield Row(what, "ms", (each[slowest],), Bound(150), note)


def read_in_turns(url: str, caller: Credentials, addresses: list[str], rounds: int) -> dict[str, list[float]]:
    """Read each address once a round, after a round that warms up; return the milliseconds of each."""
    taken: dict[str, list[float]] = {address: [] for address in addresses}
    with Caller(url, caller) as reader:
        for turn in range(rounds + 1):
            for address in addresses:
                seconds = reader.seconds(address)
                if turn:
                    taken[address].append(seconds * 1000)
    return taken


def _token_check(site: Site, count: int) -> Row:
    command = [PYTHON, "-m", "benchmarks.token_checks", site.callers["member"].token, str(count)]
    output = run(command, site.server.environment, directory=Path(__file__).parent.parent).output
    milliseconds = [float(line) for line in output.split()]
    note = f"{count:,} checks, one after the other; p95 {percentile(milliseconds, 95):.2f} ms"
    return Row("checking a token, p50", "ms", (percentile(milliseconds, 50),), Bound(1), note)


def _runs_asked_for(site: Site, seconds: float, *, keyed: bool) -> Row:
    """Several clients ask for runs of a deployment whose queue is paused."""
    queue, deployment = site.ids["queue"], site.ids["deployment"]
    with Caller(site.server.url, site.callers["admin"]) as admin:
        admin.call("POST", f"/api/work-queues/{queue}/pause/")
    address = f"/api/deployments/{deployment}/runs/"
    ends = time.perf_counter() + seconds

    def ask(client: int) -> list[float]:
        taken = []
        while (begun := time.perf_counter()) < ends:
            headers = {"Idempotency-Key": f"benchmark-{client}-{len(taken)}"} if keyed else {}
            with Caller(site.server.url, site.callers["member"]) as member:
                member.call("POST", address, {"parameters": {"limit": len(taken)}}, headers)
            taken.append((time.perf_counter() - begun) * 1000)
        return taken

    begun = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        taken = [value for values in pool.map(ask, range(CLIENTS)) for value in values]
    rate = len(taken) / (time.perf_counter() - begun)
    what = f"runs asked for over REST{', each with an Idempotency-Key' if keyed else ''}"
    note = f"{CLIENTS} clients for {seconds:.0f} s, nothing is executed; p95 of a call {percentile(taken, 95):.0f} ms"
    return Row(what, "/s", (rate,), Bound(150, at_least=True), note)


def _role_taken_away(site: Site, times: int) -> Row:
    """A member has a list and a run open; their role is taken away, until both pages' sockets are closed."""
    pages, taken = ("/runs/", f"/runs/{site.ids['run']}/"), []
    member, team = site.callers["member"], site.ids["team"]
    address = f"/api/teams/{team}/members/"
    with Caller(site.server.url, site.callers["admin"]) as admin:
        for _ in range(times):
            with ExitStack() as stack:
                open_pages = [stack.enter_context(_open_page(site.server, member, page)) for page in pages]
                begun = time.perf_counter()
                admin.call("DELETE", f"{address}{member.id}/")
                for socket in open_pages:
                    taken.append(_closed_after(socket, begun))
            admin.call("POST", address, {"user": "measured-member", "role": "operator"})
    note = f"the slowest of {len(taken)}: a list and a run, {times} times; median {percentile(taken, 50):.2f} s"
    return Row("a role taken away to its open live pages closed", "s", (max(taken),), Bound(1.0), note)


@contextmanager
def _open_page(server: Server, reader: Credentials, page: str) -> Iterator[Any]:
    """Open the socket of a live page that shows nothing yet; it is sent what the page shows."""
    from websockets.sync.client import connect  # of the development environment

    origin = server.url
    address = f"ws://{urlsplit(server.url).netloc}/live/"
    with connect(address, origin=origin, additional_headers=reader.cookie(), max_size=None) as socket:
        socket.send(json.dumps({"page": page, "regions": {}}))
        socket.recv(timeout=30)
        yield socket


def _closed_after(socket: Any, begun: float) -> float:
    """Return the seconds from `begun` until a socket is closed because rights changed. BenchmarkError otherwise."""
    from websockets.exceptions import ConnectionClosed  # of the development environment

    try:
        while True:
            socket.recv(timeout=10)
    except TimeoutError:
        raise BenchmarkError("a live page stayed open for 10 s after its reader's role was taken away") from None
    except ConnectionClosed:
        seconds = time.perf_counter() - begun
    if socket.close_code != RIGHTS_CHANGED:
        raise BenchmarkError(f"a live page was closed with {socket.close_code}, not {RIGHTS_CHANGED}")
    return seconds


BENCHMARKS: dict[str, Callable[[bool], Iterator[Row]]] = {"teams": teams}
