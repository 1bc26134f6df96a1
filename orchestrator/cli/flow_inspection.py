"""Loading a flow's file in a process of its own, to say what it is."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.output import note
from orchestrator.snapshots.roots import Root


def inspect_flow(entrypoint: str, root: Root | None = None, directory: Path | None = None) -> dict[str, Any]:
    """Return what `orchestrator.sdk.inspect` says of a flow. What the file prints while it is loaded goes to stderr.

    Args:
        root: The project that is deployed with it, in which runs will find modules.
        directory: Where to load it; here by default.

    Raises:
        click.ClickException: It cannot be loaded, or there is no such flow.
    """
    arguments = [sys.executable, "-m", "orchestrator.sdk.inspect", entrypoint]
    arguments += [str(root.folder)] if root is not None and root.only is None else []
    done = subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=directory, check=False)
    try:
        said = json.loads(done.stdout)
    except ValueError:
        raise click.ClickException(f"Loading {entrypoint} ended with exit code {done.returncode}.") from None
    if error := said.get("error"):
        if error.get("traceback"):
            note(error["traceback"].rstrip())
        raise click.ClickException(error["message"])
    return dict(said)
