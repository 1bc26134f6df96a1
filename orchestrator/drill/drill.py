"""The drill from its start to its verdict."""

import heapq
import itertools
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator import site
from orchestrator.drill import evidence, faults, pushing
from orchestrator.drill.faults import Target
from orchestrator.drill.patience import Patience
from orchestrator.drill.services import DrillError
from orchestrator.drill.stage import EMBEDDED, READY_SECONDS, Stage

if TYPE_CHECKING:
    from orchestrator.drill.invariants import Findings

LOOK_SECONDS: Final = 0.1
PROGRESS_SECONDS: Final = 5.0
SHOWN: Final = 20
SHOWN_LATE: Final = 3


@dataclass(frozen=True, slots=True)
class Options:
    """How a drill is held.

    Attributes:
        seed: Decides what is asked for, and what goes wrong when.
        seconds: How long things go wrong.
        runs: How many are asked for; schedules add theirs.
        database: `embedded`, `sqlite` or a server's URL.
        mean_seconds: Between two faults.
        load_seconds: How long a run lasts on average.
        keep: Keep the home even when nothing is wrong.
    """

    seed: int
    seconds: float = 180.0
    runs: int = 1000
    database: str = EMBEDDED
    mean_seconds: float = faults.MEAN_SECONDS
    load_seconds: float = 0.3
    keep: bool = False


class Drill:
    """One drill. `run` may be called once, from the main thread of a process that has done nothing else."""

    def __init__(self, options: Options, say: Callable[[str], None]) -> None:
        self._options = options
        self._say = say
        self._rng = random.Random(options.seed)
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._done: list[str] = []
        self._full: list[tuple[float, float]] = []
        self._stage = Stage(Path(tempfile.mkdtemp(prefix="orch-drill-")), options.database, say)

    def run(self) -> bool:
        """Hold the drill and print its verdict. Returns whether all is well; the home is kept where it is not.

        Raises:
            DrillError: It cannot be held here.
        """
        stage, well = self._stage, False
        self._say(f"Drill with --seed {self._options.seed}, {stage.database}, in {stage.root}")
        try:
            stage.set_up()
            findings = self._hold()
            well = not findings.are_bad
            self._report(findings)
        finally:
            kept = self._options.keep or (not well and sys.exc_info()[0] not in {KeyboardInterrupt, DrillError})
            stage.strike()
            stage.clear(keep=kept)
            if kept:
                self._say(f"Everything is kept: {stage.root} (logs/, project/evidence/, the homes a/ and b/)")
        return well

    def _hold(self) -> "Findings":
        stage, options = self._stage, self._options
        token = stage.command("token", "create", "drill").strip().splitlines()[-1]
        stage.start_parts()
        calls = pushing.Site(stage.urls, token)
        self._await_ready()
        ids = pushing.declare(calls, stage.root / "project" / "project.py")
        planned = pushing.plan(self._rng, options.runs, options.seconds, options.load_seconds)
        pusher = pushing.Pusher(calls, ids, planned)
        self._connect()
        from orchestrator.drill import invariants  # Django is set up now

        pusher.start()
        try:
            self._fire(pusher)
            self._settle(pusher)
            self._await_end(invariants.asked_for)
            paused_at = self._pause(calls, ids)
            self._await_end(lambda: len(invariants.outstanding(paused_at)))
        finally:
            pusher.stop()
        held = invariants.Held(
            evidence.read(stage.evidence, stage.root / "logs"), planned, pusher.pushed, paused_at, self._full
        )
        return invariants.check(held)

    def _connect(self) -> None:
        """Set Django up for the drill's database, in this process."""
        os.environ.update(self._stage.environment("a"))
        site.setup()

    def _await_ready(self) -> None:
        """Wait until both web processes and a worker answer."""
        deadline = time.monotonic() + READY_SECONDS
        while not all(pushing.answers(url) for url in self._stage.urls):
            if time.monotonic() > deadline:
                raise DrillError(f"The site did not answer within {READY_SECONDS:.0f} s: see {self._stage.root}/logs")
            self._look()

    def _fire(self, pusher: pushing.Pusher) -> None:
        """Have everything go wrong, for a while."""
        target = Target(
            self._stage.parts,
            self._stage.redis_url,
            self._do_later,
            None if self._stage.database_url.startswith("sqlite") else self._stage.cut_connections,
            self._stage.disk,
        )
        names = faults.available(target)
        if missing := sorted(set(faults.FAULTS) - set(names)):
            self._say(f"Left out: {', '.join(missing)}")
        self._say(f"{self._options.runs} runs and {len(names)} kinds of faults, {self._options.seconds:.0f} s:")
        began = time.monotonic()
        for at, name in faults.plan(self._rng, names, self._options.seconds, self._options.mean_seconds):
            self._look_until(began + at, pusher)
            if (what := faults.FAULTS[name][1](target, self._rng)) is not None:
                self._note(f"{time.monotonic() - began:6.1f} s  {what}")
                self._done.append(name)
                if name == "disk":
                    now = time.time()
                    self._full.append((now, now + 8.0))
        self._look_until(began + self._options.seconds, pusher)
        faults.free_disk(target)

    def _settle(self, pusher: pushing.Pusher) -> None:
        """Have everything up again, every call answered, and every schedule looked at."""
        self._say(f"No more faults, after {len(self._done)}. Waiting for what is left …")
        self._await_end(lambda: 1 if pusher.is_alive else 0)
        since = datetime.now(UTC)
        self._await_end(lambda: _unseen_schedules(since))

    def _pause(self, calls: pushing.Site, ids: dict[tuple[str, str], str]) -> datetime:
        """Pause the schedules, and return the time until which their runs have to be there."""
        until = datetime.now(UTC)
        flow, _, name = pushing.SCHEDULED.partition("/")
        calls.call("POST", f"/api/deployments/{ids[flow, name]}/pause/")
        return until - timedelta(seconds=1)

    def _await_end(self, left: Callable[[], int]) -> None:
        """Wait until nothing is left, or nothing has changed for long."""
        patience, said = Patience(ended=time.monotonic()), 0.0
        while not patience.is_out(now := time.monotonic()):
            if (count := self._counted(left)) == 0:
                return
            patience.look(now, count, evidence.size(self._stage.evidence))
            if count is not None and now - said > PROGRESS_SECONDS:
                said = now
                self._note(f"          {count} left")
            self._look_until(now + 0.5)
        if patience.is_busy:
            self._say("Runs were at work to the end, yet too slow, or in vain. If the machine had other work to do,")
            self._say("hold the drill again without; --runs makes a smaller one.")

    def _counted(self, left: Callable[[], int]) -> int | None:
        from django.db import DatabaseError, connection  # Django is set up by now

        try:
            return left()
        except DatabaseError:  # the last fault was the database's
            connection.close()
            return None

    def _look_until(self, until: float, pusher: pushing.Pusher | None = None) -> None:
        while (now := time.monotonic()) < until:
            self._look()
            time.sleep(min(LOOK_SECONDS, max(0.0, until - now)))

    def _look(self) -> None:
        """Start again what died a while ago, and do what is due."""
        now = time.monotonic()
        for part in self._stage.parts.values():
            part.look(now, self._rng)
        while self._later and self._later[0][0] <= now:
            heapq.heappop(self._later)[2]()

    def _do_later(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._later, (time.monotonic() + seconds, next(self._numbers), what))

    def _note(self, line: str) -> None:
        self._say(line)

    def _report(self, findings: "Findings") -> None:
        for note in findings.notes:
            self._say(f"  {note}")
        for name in ("lost", "duplicated", "stuck", "overshot", "late"):
            found: list[str] = getattr(findings, name)
            shown = SHOWN_LATE if name == "late" else SHOWN
            for line in found[:shown]:
                self._say(f"  {name}: {line}")
            if len(found) > shown:
                self._say(f"  {name}: and {len(found) - shown} more")
        counts = {name: self._done.count(name) for name in faults.FAULTS if name in self._done}
        self._say(f"Faults: {', '.join(f'{count} × {name}' for name, count in counts.items()) or 'none'}.")
        if findings.confessed:
            self._say(f"Not recorded while the disk was full, as the engine said: {len(findings.confessed)}.")
        self._say(
            f"lost {len(findings.lost)}  duplicated {len(findings.duplicated)}  stuck {len(findings.stuck)}  "
            f"overshot {len(findings.overshot)}  late {len(findings.late)}"
        )
        self._say(f"{'Failed' if findings.are_bad else 'Passed'} with --seed {self._options.seed}.")


def _unseen_schedules(since: datetime) -> int:
    """How many schedules no tick has looked at since."""
    from flows.models import Schedule  # Django is set up by now

    return Schedule.objects.filter(active=True, tick_at__lte=since).count()
