"""The links of the side, and addresses within a run's page."""

from typing import Any

from django import template
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from runs.models import FlowRun
from runs.reads import running_count

register = template.Library()
_CURRENT = mark_safe(' aria-current="page"')

_PLACES = {
    "home": ("home",),
    "runs": ("run",),
    "flows": ("flow",),
    "deployments": ("deployment", "schedule", "calendar"),
    "work-queues": ("work-queue",),
    "blocks": ("block",),
    "concurrency-limits": ("concurrency-limit",),
    "workers": ("worker",),
    "notifications": ("notification",),
    "teams": ("team",),
}


@register.simple_tag(takes_context=True)
def nav_link(context: dict[str, Any], name: str, title: str) -> SafeString:
    """A link of the side; it is current on every page of its kind. Beside Runs, how many run (one query)."""
    request = context.get("request")
    match = request.resolver_match if request else None
    here = match.url_name if match else ""
    current = (
        any(here == place or here.startswith((f"{place}s", f"{place}-")) for place in _PLACES[name]) if here else False
    )
    number = ""
    if name == "runs" and request and request.user.is_authenticated:
        running = running_count(FlowRun.objects.listed_for(request.user))
        number = format_html('<span class="num faint" title="running now" data-running>{}</span>', running or "")
    return format_html(
        '<a class="nav" href="{}"{}>{}{}</a>',
        reverse(name),
        _CURRENT if current else "",
        title,
        number,
    )
