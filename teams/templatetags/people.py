"""What pages say of people: `{% history row %}`, `{% shared_with row %}`, `{% team_switch %}`;
and in forms `{% version row %}`, which keeps one from being saved over a change made meanwhile."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from django import template
from django.apps import apps
from django.utils.html import format_html

from teams import audit, lost_updates, reads, shares
from teams.rights import Level

register = template.Library()
SHOWN = 8
_MAX_TEXT = 120
#: Verbs of the audit log whose past is not made with -ed.
_PAST: Final = {
    "cancel": "cancelled", "leave": "left", "map": "mapped", "reset": "reset", "rerun": "ran again", "run": "ran",
    "send": "sent", "set": "set", "sign": "signed", "stop": "stopped", "take": "took", "undo": "undid",
    "unmap": "unmapped", "withdraw": "withdrew",
}  # fmt: skip
#: What the name of a run's state and its message say in words.
_TOLD_ALREADY: Final = frozenset({"state_type", "cancel_requested_at"})


@register.inclusion_tag("teams/_history.html", takes_context=True)
def history(context: dict[str, Any], subject: Any, if_any: bool = False) -> dict[str, Any]:
    """The last entries of the audit log about an object, and the way to all of them for who may read it.

    One query, and one for its parts. With `if_any` nothing stands there where nobody did anything.
    """
    user = context["request"].user
    team_id = getattr(subject, "team_id", None)
    if team_id is not None and user.level_in(team_id) < Level.READ:
        return {"is_shown": False}  # who has but a share does not learn who else has one
    entries = audit.history(subject, SHOWN, with_parts=True)
    return {
        "is_shown": bool(entries or not if_any),
        "entries": entries,
        "subject": subject,
        "kind": subject._meta.model_name,
        "reads_all": reads.reads_audit(user),
    }


@register.simple_tag(takes_context=True)
def version(context: dict[str, Any], row: Any) -> str:
    """The hidden field with the version of a row that its form shows; nothing where the form makes one."""
    if not row or row._state.adding:
        return ""
    carried = lost_updates.carried(context["request"], row)
    return format_html('<input type="hidden" name="{}" value="{}">', lost_updates.FIELD, carried)


@register.inclusion_tag("teams/_shared_with.html", takes_context=True)
def shared_with(context: dict[str, Any], row: Any) -> dict[str, Any]:
    """With whom a flow or deployment is shared, and the way to share it (two queries); nothing for other teams."""
    user = context["request"].user
    if user.level_in(row.team_id) < Level.READ:
        return {}
    kind = row._meta.model_name
    may_share = user.level_in(row.team_id) >= Level.ADMIN
    return {
        "row": row,
        "kind": kind,
        "shares": shares.shares_on(row),
        "may_share": may_share,
        "address": f"{kind}-shares",
    }


@register.inclusion_tag("teams/_team_switch.html", takes_context=True)
def team_switch(context: dict[str, Any]) -> dict[str, Any]:
    """The teams to choose from, for who is in several (two queries; none for who is in one).

    Site administrators see every team, and choose one on the page of teams; until then this asks nothing.
    """
    request = context["request"]
    user = request.user
    if not user.is_authenticated or (not user.chosen_team and (user.is_superuser or len(user.team_ids) < 2)):
        return {}
    named = user.team_names
    chosen = user.chosen_team
    return {"teams": list(named.items()), "chosen": chosen, "request": request}


@register.simple_tag(takes_context=True)
def chosen_team(context: dict[str, Any]) -> str:
    """The name of the team that the reader looks at alone; empty while they look at all."""
    user = context["request"].user
    return user.team_names.get(user.chosen_team, "") if user.is_authenticated and user.chosen_team else ""


@register.simple_tag(takes_context=True)
def reads_audit_log(context: dict[str, Any]) -> bool:
    """Whether the reader may read the audit log."""
    user = context["request"].user
    return bool(user.is_authenticated and reads.reads_audit(user))


@register.filter
def deed(verb: str) -> str:
    """What was done, as it is told: `deployment.change_limit` → `changed limit`."""
    first, _, rest = (verb.partition(".")[2] or verb).partition("_")
    return f"{_past(first)} {rest.replace('_', ' ')}".rstrip()


@register.filter
def kind_name(subject_type: str) -> str:
    """What an object of the audit log is called: `flowrun` → `flow run`."""
    return _kind_names().get(subject_type, subject_type)


@register.filter
def said_changes(changes: Mapping[str, Any]) -> list[str]:
    """What changed, a field each: `limit: 3 → 4`, `name: x`."""
    said = []
    for field, pair in changes.items():
        if field in _TOLD_ALREADY:
            continue
        before, after = pair if isinstance(pair, list) and len(pair) == 2 else (None, pair)
        name = str(field).replace("_", " ")
        if before is None or before == "":
            said.append(f"{name}: {_short(after)}")
        elif after is None or after == "":
            said.append(f"{name}: {_short(before)} → none")
        else:
            said.append(f"{name}: {_short(before)} → {_short(after)}")
    return said


def _past(verb: str) -> str:
    if verb in _PAST:
        return _PAST[verb]
    if verb.endswith("e"):
        return f"{verb}d"
    return f"{verb[:-1]}ied" if verb.endswith("y") and verb[-2:-1] not in {"a", "e", "o", "u"} else f"{verb}ed"


@cache
def _kind_names() -> dict[str, str]:
    return {str(model._meta.model_name): str(model._meta.verbose_name) for model in apps.get_models()}


def _short(value: Any) -> str:
    text = {None: "none", True: "yes", False: "no"}.get(value, "") if isinstance(value, bool | None) else str(value)
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"
