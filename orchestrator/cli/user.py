"""`orchestrator user`: people who sign in."""

import sys

import click

from orchestrator.cli.groups import SETTINGS


@click.group(context_settings=SETTINGS)
def user() -> None:
    """Make users and set passwords."""


@user.command("set-password")
@click.argument("username", default="")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def set_password(username: str, password_stdin: bool) -> None:
    """Set a user's password (by default the first admin's), in the database that the settings name. Needs no mail.

    Asks for it at a terminal; elsewhere it is read from standard input.
    """
    from orchestrator.server.preparation import prepare

    prepare(lambda line: click.echo(line, err=True), issue=False)
    from django.contrib.auth.password_validation import validate_password
    from django.core.exceptions import ValidationError

    from teams.models import User

    person = User.objects.filter(username=username).first() if username else User.first_admin()
    if person is None:
        raise click.ClickException(f"There is no user {username!r}.")
    password = _ask(person.username, password_stdin)
    try:
        validate_password(password, person)
    except ValidationError as error:
        raise click.ClickException(" ".join(error.messages)) from None
    person.set_password(password)
    person.save(update_fields=["password"])
    click.echo(f"The password of {person.username} is set.")


def _ask(username: str, password_stdin: bool) -> str:
    if not password_stdin and sys.stdin.isatty():
        answer: str = click.prompt(f"New password of {username}", hide_input=True, confirmation_prompt=True)
        return answer
    if not (line := sys.stdin.readline().rstrip("\r\n")):
        raise click.ClickException("No password came. Run this at a terminal, or write the password to standard input.")
    return line
