"""`orchestrator drill`: whether this installation loses anything when everything around it fails."""

import random
import signal
import sys
from types import FrameType

import click

from orchestrator.cli.groups import SETTINGS
from orchestrator.cli.numbers import Number

SHORT_SECONDS = 20.0
SHORT_RUNS = 100


@click.command(context_settings=SETTINGS)
@click.option("--seed", type=Number(0), default=None, help="Decides what fails when.  [a new one]")
@click.option("--seconds", type=Number(5, kind=float), default=None, help="How long things fail.  [180; short: 20]")
@click.option("--runs", type=Number(1), default=None, help="How many runs are started.  [1000; short: 100]")
@click.option(
    "--database",
    metavar="WHICH",
    default=None,
    help="embedded: a PostgreSQL server of its own; sqlite; or the URL of a PostgreSQL server whose role may create "
    "databases, which is not restarted.  [embedded where its programs are found, else sqlite]",
)
@click.option("--short", is_flag=True, help="A short drill.")
@click.option("--keep", is_flag=True, help="Keep its folder even when nothing is wrong.")
def drill(
    seed: int | None, seconds: float | None, runs: int | None, database: str | None, short: bool, keep: bool
) -> None:
    """Kill, restart and empty everything at random while runs go through it, then look for what was lost.

    It works in a folder of its own and touches nothing of yours. It starts PostgreSQL, Redis, two workers, two beats,
    two web processes and two ingesters, starts runs, and kills and restarts these parts. Then it compares the database
    with what the runs wrote down themselves. The exit code is 0 when nothing was lost, doubled, stuck or overshot.

    \b
      orchestrator drill --short
      orchestrator drill --seed 7
      orchestrator drill --database postgresql://postgres@db.internal/postgres
    """
    from orchestrator.drill.drill import Drill, Options  # only this verb needs what follows
    from orchestrator.drill.services import DrillError, postgres_programs

    if database is None:
        database = "embedded" if postgres_programs() is not None else "sqlite"
        if database == "sqlite":
            click.echo("No PostgreSQL was found here: on SQLite, without its restarts. --database names a server.")
    options = Options(
        seed=random.SystemRandom().randrange(1_000_000) if seed is None else seed,
        seconds=seconds or (SHORT_SECONDS if short else 180.0),
        runs=runs or (SHORT_RUNS if short else 1000),
        database=database,
        mean_seconds=1.2 if short else 2.5,
        keep=keep,
    )
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        well = Drill(options, click.echo).run()
    except DrillError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("Stopped, and taken down.", err=True)
        sys.exit(130)
    sys.exit(0 if well else 1)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
