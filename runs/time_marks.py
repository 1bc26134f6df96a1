"""What is said of a run that was late, overran or missed its deadline. Pure functions; no queries."""

from runs.models import FlowRun
from runs.presentation import duration, seconds_between


def marks(run: FlowRun) -> list[str]:
    """Return, in the order in which it happened to it, what is to be said beside a run's times (reads `deployment`)."""
    deployment, said = run.deployment, []
    if run.late_at is not None and run.attempt <= 1 and run.state_name != "Late":
        waited = seconds_between(run.scheduled_for or run.expected_start, run.start_time)
        said.append(f"began {duration(waited)} late" if waited is not None else "late")
    if run.overran_at is not None:
        expected = deployment.expected_seconds if deployment else None
        said.append(f"longer than the {duration(expected)} expected" if expected else "longer than expected")
    if run.missed_deadline_at is not None:
        after = deployment.deadline_seconds if deployment else None
        said.append(f"missed its deadline, {duration(after)} after its time" if after else "missed its deadline")
    return said
