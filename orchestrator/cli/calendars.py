"""`orchestrator calendar`."""

from datetime import date
from typing import Any

import click

from orchestrator.cli.client import connect
from orchestrator.cli.groups import SETTINGS
from orchestrator.cli.names import find_named
from orchestrator.cli.options import agreed, json_option
from orchestrator.cli.output import command, emit_json, fields, table

CALENDAR = click.argument("name", metavar="CALENDAR")
_WHAT, _PATH = "calendar", "calendars/"


def _options(verb: Any) -> Any:
    for option in reversed(
        [
            click.option("--country", metavar="CODE", help="Its holidays are days off: FR, or France."),
            click.option("--subdivision", metavar="CODE", help="A part of the country with holidays of its own: CA."),
            click.option("--weekend", metavar="DAYS", help='Days off of each week: "SAT,SUN".  [the country\'s]'),
            click.option(
                "--day-off", "days_off", metavar="DATE[=NAME]", multiple=True, help="One more day off; may be repeated."
            ),
            click.option(
                "--working-day", "working_days", metavar="DATE", multiple=True, help="A business day; may be repeated."
            ),
        ]
    ):
        verb = option(verb)
    return verb


@click.group(context_settings=SETTINGS)
def calendar() -> None:
    """Business calendars, whose days off schedules leave out or run around.

    \b
      orchestrator calendar create france --country FR
      orchestrator deployment schedule set etl/nightly --calendar france --on-day-off next
    """


@calendar.command()
@click.argument("name", metavar="NAME")
@_options
@json_option
def create(
    name: str,
    country: str | None,
    subdivision: str | None,
    weekend: str | None,
    days_off: tuple[str, ...],
    working_days: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make a calendar: weekends, the holidays of a country, and dates of your own.

    \b
      orchestrator calendar create france --country FR
      orchestrator calendar create office --country US --subdivision CA --day-off "2027-12-24=Christmas Eve"
    """
    body = _body(country, subdivision, weekend, days_off, working_days)
    made = connect().post(_PATH, {"name": name, **body})
    if as_json:
        emit_json(made)
        return
    click.echo(f"Created calendar {made['name']}: {made['description']}.")
    example = command("deployment", "schedule", "set", "DEPLOYMENT", "--calendar", made["name"])
    click.echo(f"Have a schedule heed it: {example}")


@calendar.command("ls")
@json_option
def list_calendars(as_json: bool) -> None:
    """List calendars.

    \b
      orchestrator calendar ls
    """
    found = list(connect().each(_PATH))
    if as_json:
        emit_json(found)
    elif found:
        table(("NAME", "DAYS OFF"), [[row["name"], row["description"]] for row in found])
    else:
        click.echo(f"No calendars yet. Make one: {command('calendar', 'create', 'france', '--country', 'FR')}")


@calendar.command()
@CALENDAR
@json_option
def inspect(name: str, as_json: bool) -> None:
    """Show a calendar: the days off that were added, those of the coming year, and who uses it.

    \b
      orchestrator calendar inspect france
    """
    api = connect()
    found = api.get(f"{_PATH}{find_named(api, _PATH, _WHAT, name)['id']}/")
    if as_json:
        emit_json(found)
        return
    fields(
        [
            ("name", found["name"]),
            ("id", found["id"]),
            ("country", "-".join(part for part in (found["country"], found["subdivision"]) if part)),
            ("weekend", ", ".join(found["weekend"])),
            ("added", _days(found["days_off"])),
            ("days off", _days(found["special_days"])),
            ("working days", "\n".join(map(_day, found["working_days"]))),
            ("used by", "\n".join(found["used_by"])),
        ]
    )


@calendar.command("set")
@CALENDAR
@click.option("--name", "new_name", metavar="NAME", help="Another name.")
@_options
@click.option(
    "--remove", "removed", metavar="DATE", multiple=True, help="Forget this day off or working day; may be repeated."
)
@json_option
def set_calendar(
    name: str,
    new_name: str | None,
    country: str | None,
    subdivision: str | None,
    weekend: str | None,
    days_off: tuple[str, ...],
    working_days: tuple[str, ...],
    removed: tuple[str, ...],
    as_json: bool,
) -> None:
    """Change a calendar. Dates are added to those that it has; upcoming runs follow.

    \b
      orchestrator calendar set france --day-off "2027-05-07=Bridge day"
      orchestrator calendar set france --remove 2027-05-07 --working-day 2027-05-08
    """
    api = connect()
    found = find_named(api, _PATH, _WHAT, name)
    body = _body(country, subdivision, weekend, days_off, working_days)
    if new_name:
        body["name"] = new_name
    if unknown := set(removed) - {day["date"] for day in found["days_off"]} - set(found["working_days"]):
        raise click.ClickException(f"{found['name']} has no date {min(unknown)} of its own to remove.")
    if days_off or removed:
        new = {day["date"]: day for day in body.get("days_off", [])}
        kept = [day for day in found["days_off"] if day["date"] not in {*new, *removed}]
        body["days_off"] = [*kept, *new.values()]
    if working_days or removed:
        kept_days = [day for day in found["working_days"] if day not in removed]
        body["working_days"] = [*kept_days, *body.get("working_days", [])]
    if not body:
        raise click.UsageError("Say what to change: --country, --weekend, --day-off, --working-day, --remove, --name.")
    changed = api.patch(f"{_PATH}{found['id']}/", body)
    if as_json:
        emit_json(changed)
    else:
        click.echo(f"{changed['name']}: {changed['description']}.")


@calendar.command()
@CALENDAR
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(name: str, yes: bool) -> None:
    """Delete a calendar that no schedule has.

    \b
      orchestrator calendar delete france --yes
    """
    api = connect()
    found = find_named(api, _PATH, _WHAT, name)
    agreed(f"calendar {found['name']}", yes)
    api.delete(f"{_PATH}{found['id']}/")
    click.echo(f"Deleted calendar {found['name']}.")


def _body(
    country: str | None,
    subdivision: str | None,
    weekend: str | None,
    days_off: tuple[str, ...],
    working_days: tuple[str, ...],
) -> dict[str, Any]:
    """Return the fields that were given."""
    body: dict[str, Any] = {}
    if country is not None:
        body["country"] = country
    if subdivision is not None:
        body["subdivision"] = subdivision
    if weekend is not None:
        body["weekend"] = [day for day in weekend.replace(",", " ").split() if day]
    if days_off:
        body["days_off"] = [_named(text) for text in days_off]
    if working_days:
        body["working_days"] = list(working_days)
    return body


def _named(text: str) -> dict[str, str]:
    day, _, name = text.partition("=")
    return {"date": day.strip(), **({"name": name.strip()} if name.strip() else {})}


def _days(found: list[dict[str, Any]]) -> str:
    return "\n".join(f"{_day(day['date'])}  {day['name']}".rstrip() for day in found)


def _day(text: str) -> str:
    day = date.fromisoformat(text)
    return f"{day:%a} {day.day:2} {day:%b %Y}"
