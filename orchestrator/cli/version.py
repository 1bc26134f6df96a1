"""`orchestrator version`."""

import click

from orchestrator._version import __version__


@click.command()
def version() -> None:
    """Print the version."""
    click.echo(__version__)
