"""What pages say of people: `{% history row %}`, `{% shared_with row %}`, `{% team_switch %}`;
and in forms `{% version row %}`, which keeps one from being saved over a change made meanwhile."""

from collections.abc import Mapping
from typing import Any

from django import template
from django.utils.html import format_html

from teams import audit, lost_updates, reads, shares
from teams.rights import Level

register = template.Library()
SHOWN = 8
_MAX_TEXT = 120


@register.inclusion_tag("teams/_history.html", takes_context=True)
def history(context: dict[str, Any], subject: Any) -> dict[str, Any]:
    """The last entries of the audit log about an object (one query), and the way to all of them for who may read it."""
    user = context["request"].user
    return {
        "entries": audit.history(subject, SHOWN),
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
    """What was done: `deployment.change_limit` → `change limit`."""
    return verb.partition(".")[2].replace("_", " ") or verb


@register.filter
def said_changes(changes: Mapping[str, Any]) -> list[str]:
    """What changed, a field each: `limit: 3 → 4`, `name: x`."""
    said = []
    for field, pair in changes.items():
        before, after = pair if isinstance(pair, list) and len(pair) == 2 else (None, pair)
        name = str(field).replace("_", " ")
        if before is None or before == "":
            said.append(f"{name}: {_short(after)}")
        elif after is None or after == "":
            said.append(f"{name}: {_short(before)} → none")
        else:
            said.append(f"{name}: {_short(before)} → {_short(after)}")
    return said


def _short(value: Any) -> str:
    text = {None: "none", True: "yes", False: "no"}.get(value, "") if isinstance(value, bool | None) else str(value)
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"
