"""The permission matrix: what each address takes. One table, which the tests compare with every address there is, and
which is printed in docs/reference/permissions.md (`python -m orchestrator.permissions`).

Rights themselves are decided by `teams.rights` where a verb writes and by `visible_to` where rows are read; this table
says what has to come out of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from teams.rights import ROLE_FOR, Level


class Of(StrEnum):
    """On what a level is needed."""

    ROW = "row"  #: the row that the address names; whoever may not read it gets 404
    TEAM = "team"  #: the team that will own what is made
    OWN = "own"  #: what is the caller's own; there is nobody else's
    ADMINS = "admins"  #: any team, of which only administrators' is shown; a token that reads is enough
    SITE = "site"  #: the whole site, as its administrators
    SELF = "self"  #: nothing but being signed in: lists show what the reader may see
    RUNS = "runs"  #: being a flow run in progress: its own token alone
    NOBODY = "nobody"  #: not even that


@dataclass(frozen=True, slots=True)
class Need:
    """What a method of an address takes.

    Attributes:
        level: At least this level …
        of: … on this.
        run_token: Whether a run's own token may, for its run and its subflows.
        by_verb: The door lets in whoever sees the row: the verb knows more, such as that it is about oneself.
        by_token: By a token alone: a browser's session is not read, so that no other site's page can send it.
    """

    level: Level = Level.READ
    of: Of = Of.SELF
    run_token: bool = False
    by_verb: bool = False
    by_token: bool = False


ANYBODY: Final = Need(Level.NONE, Of.NOBODY)
SIGNED_IN: Final = Need()
OWN: Final = Need(of=Of.OWN)
SEE: Final = Need(Level.READ, Of.ROW)
RUN: Final = Need(Level.RUN, Of.ROW)
EDIT: Final = Need(Level.EDIT, Of.ROW)
ADMIN: Final = Need(Level.ADMIN, Of.ROW)
READ_IN: Final = Need(Level.READ, Of.TEAM)
RUN_IN: Final = Need(Level.RUN, Of.TEAM)
EDIT_IN: Final = Need(Level.EDIT, Of.TEAM)
ADMIN_IN: Final = Need(Level.ADMIN, Of.TEAM)
ADMIN_BY_VERB: Final = Need(Level.ADMIN, Of.ROW, by_verb=True)
EDIT_SOMEWHERE: Final = Need(Level.EDIT, Of.TEAM, by_verb=True)
ADMIN_SOMEWHERE: Final = Need(Level.ADMIN, Of.TEAM, by_verb=True)
ADMINS: Final = Need(Level.ADMIN, Of.ADMINS)
ONLY_RUNS: Final = Need(Level.RUN, Of.RUNS, run_token=True)
SITE: Final = Need(Level.ADMIN, Of.SITE)


def _also_runs(need: Need) -> Need:
    return replace(need, run_token=True)


def _form(need: Need) -> dict[str, Need]:
    """A page with a form: who may not send it does not see it."""
    return {"GET": need, "POST": need}


def _verb(need: Need) -> dict[str, Need]:
    return {"POST": need}


def _look(need: Need) -> dict[str, Need]:
    return {"GET": need}


#: By the name of the address, then by method. HEAD and OPTIONS follow GET.
PAGES: Final[dict[str, dict[str, Need]]] = {
    "home": _look(SIGNED_IN),
    "runs": _look(SIGNED_IN),
    "runs-bulk": _form(SIGNED_IN),  # of each chosen run: as for one
    "run": _look(SEE),
    "run-log": _look(SEE),
    "run-log-line": _look(SEE),
    "run-traceback": _look(SEE),
    "run-cancel": _verb(RUN),
    "run-retry": _verb(RUN),
    "run-rerun": _verb(RUN),
    "run-delete": _verb(EDIT),
    "flows": _look(SIGNED_IN),
    "flow": _look(SEE),
    "deployments": _look(SIGNED_IN),
    "deployment": _look(SEE),
    "deployment-run": _form(RUN),
    "deployment-edit": _form(EDIT),
    "deployment-duplicate": _form(EDIT),
    "deployment-delete": _form(EDIT),
    "deployment-pause": _verb(EDIT),
    "deployment-resume": _verb(EDIT),
    "deployment-mute": _form(EDIT),
    "deployment-unmute": _verb(EDIT),
    "deployment-backfill": _form(EDIT),
    "deployment-backfilled": _look(SEE),
    "deployment-backfill-undo": _verb(EDIT),
    "deployment-versions": _look(SEE),
    "deployment-version": _look(SEE),
    "deployment-roll-back": _verb(EDIT),
    "deployment-webhook": _form(EDIT),
    "hook": _verb(ANYBODY),  # its secret is the permission
    "schedule-new": _form(EDIT),
    "schedule": _form(EDIT),
    "schedule-switch": _verb(EDIT),
    "schedule-delete": _verb(EDIT),
    "schedule-preview": _look(SIGNED_IN) | _verb(SIGNED_IN),
    "calendars": _look(SIGNED_IN),
    "calendar-new": _form(EDIT_IN),
    "calendar-preview": _look(SIGNED_IN) | _verb(SIGNED_IN),
    "calendar": {"GET": SEE, "POST": EDIT},
    "calendar-delete": _form(EDIT),
    "work-queues": _look(SIGNED_IN),
    "work-queue-new": _form(EDIT_IN),
    "work-queue": _look(SEE),
    "work-queue-edit": _form(EDIT),
    "work-queue-pause": _verb(EDIT),
    "work-queue-resume": _verb(EDIT),
    "work-queue-delete": _form(EDIT),
    "blocks": _look(SIGNED_IN),
    "block-new": _form(ADMIN_IN),
    "block": _look(SEE),
    "block-edit": _form(ADMIN),
    "block-use": _verb(EDIT),
    "block-delete": _form(ADMIN),
    "concurrency-limits": _look(SIGNED_IN),
    "concurrency-limit-new": _form(ADMIN_IN),
    "concurrency-limit": _look(SEE),
    "concurrency-limit-edit": _form(ADMIN),
    "concurrency-limit-reset": _form(ADMIN),
    "concurrency-limit-delete": _form(ADMIN),
    "workers": _look(SIGNED_IN),
    "worker": _look(SEE),
    "notifications": _look(SIGNED_IN),
    "notification-policy-new": _form(EDIT_IN),
    "notification-policy-preview": _look(SIGNED_IN) | _verb(SIGNED_IN),
    "notification-policy": {"GET": SEE, "POST": EDIT},
    "notification-policy-delete": _form(EDIT),
    "notification-policy-pause": _verb(EDIT),
    "notification-policy-resume": _verb(EDIT),
    "notification-policy-test": _verb(EDIT),
    "notification-destination-new": _form(EDIT_IN),
    "notification-destination": {"GET": SEE, "POST": EDIT},
    "notification-destination-delete": _form(EDIT),
    "notification-destination-pause": _verb(EDIT),
    "notification-destination-resume": _verb(EDIT),
    "notification-destination-test": _verb(EDIT),
    "notification-destination-dismiss": _verb(EDIT),
    "notification-deliveries": _look(SIGNED_IN),
    "notification-delivery": _look(SEE),
    "notification-send-again": _form(RUN),
    "teams": _look(SIGNED_IN),
    "team-new": _form(SITE),
    "team-choose": _verb(SIGNED_IN),
    "team": _look(SEE),
    "team-rename": _form(ADMIN),
    "team-leave": _form(SEE),
    "team-invite": _form(ADMIN),
    "team-invitation-withdraw": _verb(ADMIN),
    "team-group-map": _verb(ADMIN),
    "team-group-unmap": _verb(ADMIN),
    "team-member": _form(ADMIN),
    "team-member-remove": _form(ADMIN),
    "team-account-new": _form(ADMIN),
    "team-account": _look(ADMIN),
    "team-account-switch": _verb(ADMIN),
    "team-token-new": _form(ADMIN),
    "tokens": _look(OWN),
    "token-new": _form(OWN),
    "token-revoke": _form(OWN),  # administrators: also those of service accounts
    "audit": _look(ADMINS),
    "audit-export": _look(ADMINS),
    "shared": _look(SIGNED_IN),
    "flow-shares": _form(ADMIN),
    "deployment-shares": _form(ADMIN),
    "sign-in": _form(ANYBODY),
    "sign-in-link": _look(ANYBODY),
    "sign-out": _verb(ANYBODY),
    # The names with an underscore are those by which the sign-in library asks for a page.
    "account_login": _form(ANYBODY),
    "mfa_authenticate": _form(ANYBODY),  # asks whose password was right just now
    "account_inactive": _look(ANYBODY),
    "openid_connect_login": _look(ANYBODY),
    "openid_connect_callback": _look(ANYBODY),
    "account_reset_password": _form(ANYBODY),
    "account_reset_password_done": _look(ANYBODY),
    "account_reset_password_from_key": _form(ANYBODY),  # by the link of a mail
    "account_reset_password_from_key_done": _look(ANYBODY),
    "invitation": _form(ANYBODY),  # by its link
    "account": _form(OWN),
    "account-password": _form(OWN),
    "account_change_password": _form(OWN),
    "account_set_password": _form(OWN),
    "account_reauthenticate": _form(OWN),
    "mfa_reauthenticate": _form(OWN),
    "mfa_index": _look(OWN),
    "mfa_activate_totp": _form(OWN),
    "mfa_deactivate_totp": _form(OWN),
    "mfa_view_recovery_codes": _look(OWN),
    "mfa_generate_recovery_codes": _verb(OWN),
    "account-sessions": _look(OWN),
    "account-session-end": _verb(OWN),
    "account-sessions-end-others": _verb(OWN),
    "preferences": _form(SIGNED_IN),
}
API: Final[dict[str, dict[str, Need]]] = {
    "api-root": _look(ANYBODY),  # leads to the descriptions
    "api-unknown": _look(ANYBODY),  # answers 404
    "api-health": _look(ANYBODY),
    "api-schema": _look(SIGNED_IN),
    "api-docs": _look(SIGNED_IN),
    "api-ingest": _verb(Need(Level.RUN, Of.TEAM, run_token=True, by_token=True)),
    "api-calls": _verb(ONLY_RUNS),
    "api-call-stream": _look(ONLY_RUNS),
    "api-slots": _verb(_also_runs(RUN_IN)),
    "api-slot-tags": _look(_also_runs(READ_IN)),
    "api-slot-stream": _look(_also_runs(SIGNED_IN)),
    "api-slot": {"DELETE": _also_runs(SIGNED_IN)},  # of the run that holds it: an operator
    "api-flow-runs-bulk": _verb(SIGNED_IN),
    "api-flow-run-list": _look(_also_runs(SIGNED_IN)),
    "api-flow-run-detail": {"GET": _also_runs(SEE), "DELETE": EDIT},
    "api-flow-run-cancel": _verb(RUN),
    "api-flow-run-retry": _verb(RUN),
    "api-flow-run-rerun": _verb(RUN),
    "api-flow-run-logs": _look(_also_runs(SEE)),
    "api-flow-run-task-runs": _look(_also_runs(SEE)),
    "api-flow-run-resources": _look(SEE),
    "api-flow-run-why": _look(SEE),
    "api-flow-run-start": _look(_also_runs(SEE)),
    "api-flow-list": _look(SIGNED_IN),
    "api-flow-detail": _look(SEE),
    "api-deployment-list": {"GET": SIGNED_IN, "POST": EDIT_IN},
    "api-deployment-apply": _verb(EDIT_IN),
    "api-deployment-detail": {"GET": SEE, "PATCH": EDIT, "DELETE": EDIT},
    "api-deployment-runs": _verb(RUN),
    "api-deployment-pause": _verb(EDIT),
    "api-deployment-resume": _verb(EDIT),
    "api-deployment-duplicate": _verb(EDIT),
    "api-deployment-backfill": _verb(EDIT),
    "api-deployment-undo-backfill": _verb(EDIT),
    "api-deployment-webhook": {"GET": SEE, "POST": EDIT, "PATCH": EDIT, "DELETE": EDIT},
    "api-deployment-rotate-webhook": _verb(EDIT),
    "api-deployment-versions": _look(SEE),
    "api-deployment-diff": _look(SEE),
    "api-deployment-rollback": _verb(EDIT),
    "api-deployment-schedules": {"GET": SEE, "PUT": EDIT, "POST": EDIT},
    "api-schedule-preview": _verb(READ_IN),
    "api-schedule-detail": {"GET": SEE, "PATCH": EDIT, "DELETE": EDIT},
    "api-calendar-list": {"GET": SIGNED_IN, "POST": EDIT_IN},
    "api-calendar-detail": {"GET": SEE, "PATCH": EDIT, "DELETE": EDIT},
    "api-snapshots": _verb(EDIT_IN),
    "api-snapshot-limits": _look(SIGNED_IN),
    "api-snapshot-detail": _look(SEE),
    "api-snapshot-pack": _look(_also_runs(SEE)),
    "api-work-queue-list": {"GET": SIGNED_IN, "POST": EDIT_IN},
    "api-work-queue-detail": {"GET": SEE, "PATCH": EDIT, "DELETE": EDIT},
    "api-work-queue-pause": _verb(EDIT),
    "api-work-queue-resume": _verb(EDIT),
    "api-block-types": _look(SIGNED_IN),
    # A block says as whom, and with what of a machine, code executes; choosing one is an editor's.
    "api-block-list": {"GET": SIGNED_IN, "POST": ADMIN_IN},
    "api-block-detail": {"GET": SEE, "PATCH": ADMIN, "DELETE": ADMIN},
    "api-block-deployments": _verb(EDIT),
    "api-block-preview": _look(SEE),
    # A worker is given the code and parameters of every run it claims, and reports for them: as who edits deployments.
    "api-worker-list": {"GET": SIGNED_IN, "POST": EDIT_IN},
    "api-worker-detail": _look(SEE),
    "api-worker-claim": _verb(EDIT),
    "api-worker-renew": _verb(EDIT),
    "api-worker-release": _verb(EDIT),
    "api-worker-sign-off": _verb(EDIT),
    "api-concurrency-limit-list": {"GET": SIGNED_IN, "POST": ADMIN_IN},
    "api-concurrency-limit-detail": {"GET": SEE, "PATCH": ADMIN, "DELETE": ADMIN},
    "api-concurrency-limit-reset": _verb(ADMIN),
    "api-token-list": {"GET": OWN, "POST": OWN},
    "api-token-detail": {"GET": OWN, "DELETE": OWN},
    "api-team-list": {"GET": SIGNED_IN, "POST": SITE},
    "api-team-detail": {"GET": SEE, "PATCH": ADMIN},
    "api-member-list": {"GET": SEE, "POST": ADMIN_BY_VERB},
    "api-member-detail": {"PATCH": ADMIN_BY_VERB, "DELETE": ADMIN_BY_VERB},
    "api-invitation-list": {"GET": ADMIN_BY_VERB, "POST": ADMIN_BY_VERB},
    "api-invitation-detail": {"DELETE": ADMIN_BY_VERB},
    "api-group-mapping-list": {"GET": ADMIN_BY_VERB, "POST": ADMIN_BY_VERB},
    "api-group-mapping-detail": {"DELETE": ADMIN_BY_VERB},
    "api-user-list": {"GET": SIGNED_IN, "POST": ADMIN_SOMEWHERE},
    "api-user-detail": _look(SEE),
    "api-user-deactivate": _verb(SITE),
    "api-user-reactivate": _verb(SITE),
    "api-service-account-list": {"GET": SIGNED_IN, "POST": ADMIN_SOMEWHERE},
    "api-service-account-detail": _look(SEE),
    "api-service-account-deactivate": _verb(ADMIN_BY_VERB),
    "api-service-account-reactivate": _verb(ADMIN_BY_VERB),
    "api-audit-list": _look(ADMINS),
    "api-audit-export": _look(ADMINS),
    "api-share-list": {"GET": SIGNED_IN, "POST": ADMIN_SOMEWHERE},
    "api-share-detail": {"DELETE": ADMIN_BY_VERB},
    "api-notification-policy-list": {"GET": SIGNED_IN, "POST": EDIT_IN},
    "api-notification-policy-preview": _verb(READ_IN),
    "api-notification-policy-detail": {"GET": SEE, "PATCH": EDIT, "DELETE": EDIT},
    "api-notification-policy-pause": _verb(EDIT),
    "api-notification-policy-resume": _verb(EDIT),
    "api-notification-policy-test": _verb(EDIT),
    "api-destination-list": {"GET": SIGNED_IN, "POST": EDIT_IN},
    "api-destination-detail": {"GET": SEE, "PATCH": EDIT, "DELETE": EDIT},
    "api-destination-pause": _verb(EDIT),
    "api-destination-resume": _verb(EDIT),
    "api-destination-test": _verb(EDIT),
    "api-delivery-list": _look(SIGNED_IN),
    "api-delivery-detail": _look(SEE),
    "api-delivery-send-again": _verb(RUN),
    "api-mute-list": {"GET": SIGNED_IN, "POST": EDIT_SOMEWHERE},
    "api-mute-detail": {"DELETE": EDIT},
}
#: WebSockets. A live page's socket subscribes to one page, and needs what that page needs.
SOCKETS: Final[dict[str, Need]] = {"live/": SIGNED_IN}


def markdown() -> str:
    """Return the matrix as docs/reference/permissions.md shows it."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Permissions"
    yield ""
    yield "Made from the table that the tests compare with every address (`python -m orchestrator.permissions`)."
    yield ""
    yield "Who may not see a row gets 404 for it; who sees it and may not do this gets 403 with the role that it takes."
    yield "Without signing in, pages lead to sign-in and the API answers 401. A token may do what its user may,"
    yield "up to its scope: `read` as a viewer, `run` as an operator, `edit` as an editor, `admin` as an administrator."
    for title, table in (("Pages", PAGES), ("REST API", API)):
        yield from ("", f"## {title}", "", "| address | method | takes | run's own token |", "|---|---|---|---|")
        for name, methods in table.items():
            for method, need in methods.items():
                yield f"| `{name}` | {method} | {said(need)} | {'its run and subflows' if need.run_token else ''} |"
    yield from ("", "## Sockets", "", "| address | takes |", "|---|---|")
    for name, need in SOCKETS.items():
        yield f"| `{name}` | {said(need)}, and what the page it follows takes |"


def said(need: Need) -> str:
    """Return a need in words."""
    if need.of is Of.NOBODY:
        return "nothing"
    if need.of is Of.SELF:
        return "signing in"
    if need.of is Of.RUNS:
        return "a flow run's own token alone"
    if need.of is Of.OWN:
        return "signing in; one's own alone"
    if need.of is Of.SITE:
        return "a site administrator"
    if need.of is Of.ADMINS:
        return "admin of some team, for what is in its log"
    where = "of its team, or a share of it" if need.of is Of.ROW else "in the team that will own it"
    return f"{ROLE_FOR[need.level]} {where}{', by token' if need.by_token else ''}"


if __name__ == "__main__":
    print(markdown(), end="")
