"""What pages say of notifications: `{% notified run now %}`, `{% mute_panel deployment now %}`, a banner, pictures."""

from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.safestring import SafeString
from lucide import IconDoesNotExist
from lucide.templatetags.lucide import lucide

from flows.models import Deployment
from notifications import presentation
from notifications.forms import MUTES, MuteForm
from notifications.models import Delivery, Destination, Mute, Policy
from notifications.transports import TRANSPORTS, transport
from orchestrator.paging import read_time
from runs.models import FlowRun
from runs.presentation import clock
from runs.templatetags.presentation import moment
from teams.rights import Level

register = template.Library()
register.filter("last_answer", presentation.last_answer)

SHOWN = 4
_ICONS = {"slack": "hash"}  # lucide has no pictures of brands
NOTICES = 10


@register.inclusion_tag("notifications/_notice.html", takes_context=True)
def gave_up_notice(context: dict[str, Any]) -> dict[str, Any]:
    """Tell a team's admins, on every page, of destinations that gave up (one query; none for others)."""
    user = getattr(context.get("request"), "user", None)
    if user is None or not user.is_authenticated or not (user.is_superuser or user.admin_team_ids):
        return {}
    found = Destination.objects.filter(gave_up=True, notice_dismissed_at=None).defer("config")
    if not user.is_superuser:
        found = found.filter(team__in=user.admin_team_ids)
    return {"destinations": list(found.order_by("-paused_at", "id")[:NOTICES]), "now": timezone.now()}


@register.inclusion_tag("notifications/_mute_panel.html", takes_context=True)
def mute_panel(context: dict[str, Any], deployment: Deployment, now: datetime) -> dict[str, Any]:
    """Say until when a deployment is muted, or offer to mute it to who may (one query)."""
    mute = Mute.objects.filter(deployment=deployment, until__gt=now).select_related("created_by").first()
    if mute is None and context["reader"].user.level_on(deployment) < Level.EDIT:
        return {}
    shown = {"deployment": deployment, "mute": mute, "now": now, "mute_form": MuteForm(), "lengths": MUTES}
    return {**shown, "reader": context["reader"]}


@register.inclusion_tag("notifications/_notified.html")
def notified(run: FlowRun, now: datetime) -> dict[str, Any]:
    """Say who was told of a run (one query); nothing where nobody was to be told."""
    found = Delivery.objects.filter(flow_run=run).select_related("message", "destination")
    found = found.defer("reason", "message__content", "destination__config").order_by("-id")
    return {"run": run, "deliveries": list(found[: SHOWN + 1]), "shown": SHOWN, "now": now}


@register.inclusion_tag("_state.html")
def event_state(event: str, word: str = "") -> dict[str, Any]:
    """Show an event: the shape, word and colour of the state that it is about."""
    look = presentation.event_look(event)
    return {"look": look, "word": word or look.word}


@register.inclusion_tag("_state.html")
def status_state(delivery: Delivery) -> dict[str, Any]:
    """Show what became of a delivery (with its message read)."""
    look = presentation.status_look(delivery.status)
    return {"look": look, "word": look.word}


@register.simple_tag
def why(delivery: Delivery, now: datetime) -> str:
    """What there is to say about a delivery's status."""
    return presentation.why(delivery, now)


@register.filter
def watched(policy: Policy) -> str:
    """What a policy watches, in words."""
    return presentation.watched(policy)


@register.simple_tag
def kind_icon(kind: str) -> SafeString | str:
    """The picture of a kind of destination, whose name stands beside it."""
    name = transport(kind).icon if kind in TRANSPORTS else "send"
    try:
        return lucide(_ICONS.get(name, name), size=16, aria_hidden="true")
    except IconDoesNotExist:
        return lucide("send", size=16, aria_hidden="true")


@register.simple_tag
def plain_moment(time: datetime, now: datetime) -> str:
    """A time in the reader's zone, as text."""
    return clock(time, now)


@register.filter
def kind_label(kind: str) -> str:
    """What people call a kind of destination."""
    return transport(kind).label if kind in TRANSPORTS else kind


@register.simple_tag
def answer_moment(answer: dict[str, Any], now: datetime) -> SafeString | str:
    """When a service answered."""
    try:
        return moment(read_time(str(answer.get("at", ""))), now)
    except ValueError:
        return ""
