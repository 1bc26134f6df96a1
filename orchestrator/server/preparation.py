"""Make the database, and what every server needs in it. Imports Django only when it is called."""

import pkgutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Final, TypeVar

from orchestrator import site
from orchestrator.server.checks import StartError

Answer = TypeVar("Answer")
LOCK_TIMEOUT: Final = "10s"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the server learns from its preparation."""

    database: str  #: for people, without its password
    sign_in_path: str  #: of a new one-time link
    token: str  #: for the command line on this machine
    has_password: bool  #: whether anybody can sign in with a password
    places: int  #: of each worker
    external_url: str  #: where people reach the site, if that was said


def prepare(say: Callable[[str], None], *, issue: bool = True) -> Prepared:
    """Migrate the database and make the default team, its queue, the first admin and the schedule's entries.

    Args:
        say: Gets a line for the person when something takes time.
        issue: Also make a sign-in link and the local command line's token.

    Raises:
        ImproperlyConfigured: A setting is wrong.
        django.db.Error: The database cannot be used.
    """
    site.setup()
    from django.conf import settings

    from flows.models import WorkQueue
    from runs.periodic import ensure_jobs
    from teams.models import Team, User

    migrate(say)
    team = Team.default()
    WorkQueue.default(team)
    admin = User.first_admin()
    ensure_jobs()
    people = User.objects.filter(is_active=True).values_list("password", flat=True)
    return Prepared(
        database=describe_database(),
        sign_in_path=_sign_in_path(admin) if issue else "",
        token=_local_token(admin, team) if issue else "",
        has_password=any(_is_usable(password) for password in people),
        places=settings.WORKER_PLACES,
        external_url=settings.EXTERNAL_URL,
    )


def migrate(say: Callable[[str], None]) -> int:
    """Bring the database to this version; return how many migrations that took.

    On PostgreSQL one server migrates at a time (an advisory lock), the others wait and find nothing to do. No statement
    of it waits longer than `LOCK_TIMEOUT` for a table that somebody else uses: while one waits, every later query of
    that table waits behind it.

    Raises:
        StartError: A table was in use for so long; nothing is lost, and it can be tried again.
    """
    from django.db import OperationalError, connection

    is_postgres = connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        if is_postgres:
            cursor.execute("SELECT pg_advisory_lock(hashtext('orchestrator.migrate'))")
            cursor.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
        try:
            count = 0 if _are_all_recorded() else _catch_up(say)
        except BaseException as error:
            connection.close()  # Django may leave a transaction open; the session's lock and timeout go with it
            if isinstance(error, OperationalError) and "lock timeout" in str(error):
                raise StartError(
                    f"The database could not be migrated: somebody else used a table of it for {LOCK_TIMEOUT}. Try"
                    " again; if it stays so, look for long transactions in pg_stat_activity."
                ) from None
            raise
        if is_postgres:
            cursor.execute("RESET lock_timeout")
            cursor.execute("SELECT pg_advisory_unlock(hashtext('orchestrator.migrate'))")
    return count


def _are_all_recorded() -> bool:
    """Say whether the database names each migration that is on disk: what is to do then is nothing.

    Django's own look imports them all for their order: 50 ms, which each command without a server would pay.
    """
    from django.apps import apps
    from django.db import connection
    from django.db.migrations.loader import MigrationLoader
    from django.db.migrations.recorder import MigrationRecorder

    recorded = MigrationRecorder(connection).applied_migrations()
    packages = {app.label: MigrationLoader.migrations_module(app.label)[0] for app in apps.get_app_configs()}
    return all((label, name) in recorded for label, package in packages.items() for name in _modules(package))


def _modules(package: str | None) -> list[str]:
    """Return the names of a package's modules; none where there is no such package."""
    spec = find_spec(package) if package else None
    places = spec.submodule_search_locations if spec else None
    return [module.name for module in pkgutil.iter_modules(places or []) if module.name[0] not in "_~"]


def _catch_up(say: Callable[[str], None]) -> int:
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        say(f"Setting up the database ({len(plan)} migrations), {describe_database()}")
        call_command("migrate", interactive=False, verbosity=0)
    executor.check_replacements()  # a database from before migrations were squashed has them too
    return len(plan)


def describe_database() -> str:
    """Return the database's kind and place, for people."""
    from django.db import connection

    known = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"SQLite, {known['NAME']}"
    return f"PostgreSQL, {known['HOST'] or 'local socket'}{':' if known['PORT'] else ''}{known['PORT']}/{known['NAME']}"


def sign_in_path() -> str:
    """Return the path of a new one-time link for the first admin."""
    site.setup()
    from teams.models import User

    return _sign_in_path(User.first_admin())


def _sign_in_path(admin: Any) -> str:
    from teams.models import SignInLink

    return f"/sign-in/{SignInLink.issue(admin)}/"


def _local_token(admin: Any, team: Any) -> str:
    from django.conf import settings

    from teams.models import ApiToken

    name = f"local command line ({socket.gethostname()}:{settings.HOME.root})"[:100]
    ApiToken.objects.filter(user=admin, name=name).delete()
    return ApiToken.issue(name=name, user=admin, team=team)[1]


def _is_usable(password: str) -> bool:
    from django.contrib.auth.hashers import is_password_usable

    return bool(password) and is_password_usable(password)


def load_site() -> None:
    """Set Django up. Raises StartError when a setting is wrong."""
    explained(site.setup)


def prepare_or_explain(say: Callable[[str], None]) -> Prepared:
    """Prepare, and leave no database connection open. Raises StartError when the database cannot be used."""
    from django.db import connections

    try:
        return explained(lambda: prepare(say))
    finally:
        connections.close_all()


def explained(step: Callable[[], Answer]) -> Answer:
    """Call a step; a wrong setting or a database that does not answer becomes a StartError of one line."""
    from django.core.exceptions import ImproperlyConfigured
    from django.db import Error

    try:
        return step()
    except (ImproperlyConfigured, Error) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        cannot = "" if isinstance(error, ImproperlyConfigured) else "The database cannot be used: "
        raise StartError(cannot + lines[0]) from None
