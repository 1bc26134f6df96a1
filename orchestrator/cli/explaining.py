"""How `flow-run why` prints its answer."""

from typing import Any

import click

from orchestrator.cli.output import painted, table


def explain(found: dict[str, Any]) -> None:
    """Print why a run is not running: the answer, then each gate in order, then what its tasks wait for."""
    click.echo(f"{painted(found['name'], bold=True)} is {found['state_name']}. {found['answer']}")
    if found["gates"]:
        click.echo()
        table(("GATE", "", "HOW IT STANDS"), ([gate["title"], *_standing(gate, found)] for gate in found["gates"]))
    for wait in found["slots"]:
        click.echo(f"  {wait['sentence']}")


def _standing(gate: dict[str, Any], found: dict[str, Any]) -> tuple[str, str]:
    mark = "open" if gate["open"] else "BLOCKS" if gate["name"] == found["blocked_by"] else "closed"
    held = ", ".join(f"{holder['name']} ({holder['id'][:8]})" for holder in gate["holders"])
    return mark, gate["sentence"] + (f" In progress: {held}." if held else "")
