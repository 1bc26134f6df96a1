"""`orchestrator.toml`, or `[tool.orchestrator]` in pyproject.toml: many deployments, declared in one file."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import click

from orchestrator.cli.options import seconds_of

OWN: Final = "orchestrator.toml"
PYPROJECT: Final = "pyproject.toml"
_TOP: Final = ("project", "defaults", "deployments")
#: Keys of a deployment, by their kinds; those of schedules below.
_KEYS: Final[dict[str, type | tuple[type, ...]]] = {
    "name": str, "entrypoint": str, "description": str, "version": str, "parameters": dict, "tags": list, "queue": str,
    "infrastructure": str, "infrastructure_overrides": dict, "task_runner": str, "crash_retries": int, "limit": int,
    "collision": str, "late_after": str,
    "expected": str, "on_overrun": str, "deadline": str, "on_deadline": str, "paused": bool, "source": str,
    "schedules": list, "environment": (str, bool), "git_credentials": str,
}  # fmt: skip
_OWN_ONLY: Final = frozenset({"name", "entrypoint"})
_ABOUT_CODE: Final = frozenset({"source", "environment", "git_credentials"})
_DURATIONS: Final = {
    "late_after": "late_after_seconds", "expected": "expected_seconds", "deadline": "deadline_seconds",
}  # fmt: skip
_WHEN: Final = ("weekly", "cron", "interval", "rrule")
_SCHEDULE_KEYS: Final[dict[str, type | tuple[type, ...]]] = {
    "weekly": str, "cron": str, "interval": (int, str), "rrule": str, "timezone": str, "start": object, "end": object,
    "calendar": str, "holidays": str, "skip_weekends": bool, "on_day_off": str, "catchup": str, "not_older_than": str,
    "parameters": dict, "active": bool,
}  # fmt: skip
_WORDS: Final = {str: "a text", int: "a whole number", bool: "true or false", dict: "a table", list: "a list"}


@dataclass(frozen=True, slots=True)
class Declared:
    """A deployment as the file declares it.

    Attributes:
        where: What to call it in a complaint.
        entrypoint: As it is written, from the file's folder.
        source: `snapshot`, `path`, `image` …
        environment: The file that says what its code needs; True: look for one; False: none.
        credentials: The block that reads a private repository.
        fields: As the API takes them; without what only the flow itself says.
    """

    where: str
    name: str
    entrypoint: str
    source: str
    environment: str | bool
    credentials: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProjectFile:
    """A file of declarations: by which name the server knows its deployments, and these."""

    path: Path
    project: str
    deployments: list[Declared]


def find(start: Path) -> Path:
    """Return the nearest file of declarations, in a folder or above it. Raises ClickException where there is none."""
    for folder in (start, *start.parents):
        if (folder / OWN).is_file():
            return folder / OWN
        if (folder / PYPROJECT).is_file() and "orchestrator" in _parsed(folder / PYPROJECT).get("tool", {}):
            return folder / PYPROJECT
    raise click.ClickException(
        f"There is no {OWN} in {start} or above it, and no pyproject.toml with [tool.orchestrator]. Write one: "
        "docs/how-to/deploy-all.md has an example."
    )


def read(path: Path) -> ProjectFile:
    """Read a file of declarations.

    Raises:
        ClickException: It is no TOML, or has what is not known. All that is wrong is told, with the nearest name.
    """
    data = _parsed(path)
    said: Any = data
    project = ""
    if path.name == PYPROJECT:
        said, project = data["tool"]["orchestrator"], str(data.get("project", {}).get("name", ""))
    reading = _Reading(path)
    found = reading.file(said, project)
    if reading.wrong:
        raise click.ClickException(f"{path}:\n" + "\n".join(f"  {line}" for line in reading.wrong))
    return found


class _Reading:
    """One file, and what is wrong with it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wrong: list[str] = []

    def file(self, said: Any, project: str) -> ProjectFile:
        """Read all of it; what is wrong is kept in `wrong`."""
        said = self._table(said, "The file")
        self._known(said, dict.fromkeys(_TOP, object), "")
        project = said.get("project", project)
        if not isinstance(project, str) or not project.strip():
            self.wrong.append('Write project = "…" at the top: the server knows this file\'s deployments by that name.')
        defaults = self._table(said.get("defaults", {}), "[defaults]")
        self._known(defaults, {key: kind for key, kind in _KEYS.items() if key not in _OWN_ONLY}, "[defaults] ")
        deployments = said.get("deployments", [])
        if not isinstance(deployments, list):
            self.wrong.append("Write each deployment below a line [[deployments]].")
            deployments = []
        each = [self._deployment(number, one, defaults) for number, one in enumerate(deployments, 1)]
        return ProjectFile(self.path, str(project), [one for one in each if one is not None])

    def _deployment(self, number: int, said: Any, defaults: Mapping[str, Any]) -> Declared | None:
        said = self._table(said, f"Deployment {number}")
        name = said.get("name", "")
        where = f"deployment {name!r}" if isinstance(name, str) and name else f"deployment {number}"
        self._known(said, _KEYS, f"{where}: ")
        for key in sorted(_OWN_ONLY - said.keys()):
            self.wrong.append(f"{where}: {key} is missing.")
        if self.wrong:
            return None
        whole = {**defaults, **said}
        whole["tags"] = [*defaults.get("tags", []), *said.get("tags", [])]
        whole["parameters"] = {**defaults.get("parameters", {}), **said.get("parameters", {})}
        fields = {key: value for key, value in whole.items() if key not in {*_OWN_ONLY, *_ABOUT_CODE, "schedules"}}
        for key, field_name in _DURATIONS.items():
            if key in fields:
                fields[field_name] = self._seconds(f"{where}: {key}", fields.pop(key))
        if "schedules" in whole:
            fields["schedules"] = [self._schedule(where, one) for one in whole["schedules"]]
        else:
            fields["schedules"] = []
        code = whole.get("source", "snapshot"), whole.get("environment", True), whole.get("git_credentials", "")
        return Declared(where, name, whole["entrypoint"], *code, fields)

    def _schedule(self, where: str, said: Any) -> dict[str, Any]:
        where = f"{where}: schedules"
        said = self._table(said, where)
        self._known(said, _SCHEDULE_KEYS, f"{where}: ")
        kinds = [key for key in _WHEN if key in said]
        if len(kinds) != 1:
            self.wrong.append(f"{where}: write one of {', '.join(_WHEN)} in each.")
            return {}
        value = said[kinds[0]]
        if kinds[0] == "interval" and isinstance(value, str):
            value = self._seconds(f"{where}: interval", value)
        fields = {"kind": kinds[0], "expression": str(value)}
        for key in ("start", "end"):
            if key in said:
                fields[f"{key}s_at"] = str(said[key])
        if "not_older_than" in said:
            fields["catchup_seconds"] = self._seconds(f"{where}: not_older_than", said["not_older_than"])
        same = ("timezone", "calendar", "holidays", "skip_weekends", "on_day_off", "catchup", "parameters", "active")
        return fields | {key: said[key] for key in same if key in said}

    def _seconds(self, where: str, text: str) -> int:
        try:
            return seconds_of(text, where)
        except click.UsageError as error:
            self.wrong.append(error.message)
            return 0

    def _table(self, said: Any, where: str) -> dict[str, Any]:
        if isinstance(said, dict):
            return said
        self.wrong.append(f"{where} is no table.")
        return {}

    def _known(self, said: Mapping[str, Any], known: Mapping[str, Any], where: str) -> None:
        for key, value in said.items():
            if key not in known:
                self.wrong.append(f"{where}there is no {key!r}.{_nearest(key, known)}")
            elif not isinstance(value, known[key]) or (isinstance(value, bool) and known[key] in (int, (int, str))):
                self.wrong.append(f"{where}{key} is {_WORDS.get(known[key], 'true, false or a text')}, not {value!r}.")


def _nearest(key: str, known: Iterable[str]) -> str:
    if key in _SCHEDULE_KEYS and "schedules" in known:
        return f" It belongs to a schedule: schedules = [{{ {key} = … }}]."
    near = get_close_matches(key, list(known), n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else f" There are: {', '.join(known)}."


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise click.ClickException(f"{path} is no TOML: {error}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{path} cannot be read: {error}.") from None
