"""The audit log: who did what to which object, from where, and what changed."""

from datetime import datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.utils.dateparse import parse_date

from teams import audit_log, reads
from teams.models import Team, Via
from teams.pages.forms import wrong_of
from teams.rights import Refused

ROWS = 50
_DAYS = {"since": 0, "until": 1}


def _ask(request: HttpRequest) -> dict[str, str]:
    """Return the filters; days of the form become times, in the reader's zone: `until` is the end of its day.

    Raises:
        Refused: The reader administers no team.
    """
    if not reads.reads_audit(request.user):
        raise Refused("Reading the audit log takes the role admin in a team.")
    asked = {name: request.GET.get(name, "") for name in audit_log.FILTERS}
    for name, more in _DAYS.items():
        try:
            day = parse_date(asked[name].strip())
        except ValueError:
            day = None
        if day is not None:
            begin = datetime.combine(day + timedelta(days=more), time.min, tzinfo=timezone.get_current_timezone())
            asked[name] = begin.isoformat()
    return asked


def audit(request: HttpRequest) -> HttpResponse:
    """Entries that match, newest first, page by page behind the last one's id (two queries)."""
    asked = _ask(request)
    context: dict[str, Any] = {
        "asked": {name: request.GET.get(name, "") for name in audit_log.FILTERS},
        "filtered": any(asked.values()),
        "vias": Via.choices,
        "teams": list(Team.objects.visible_to(request.user).order_by("name").values_list("name", flat=True)[:200]),
        "now": timezone.now(),
    }
    try:
        entries = audit_log.narrowed(request.user, asked)
    except ValidationError as error:
        return render(request, "teams/audit.html", context | wrong_of(error), status=422)
    if after := _uuid(request.GET.get("cursor", "")):
        entries = entries.filter(id__lt=after)
    found = list(entries.order_by("-id")[: ROWS + 1])
    query = request.GET.copy()
    query.pop("cursor", None)
    context |= {"query": query.urlencode(), "first": bool(after), "entries": found[:ROWS]}
    if len(found) > ROWS:
        query["cursor"] = str(found[ROWS - 1].pk)
        context["next"] = query.urlencode()
    return render(request, "teams/audit.html", context)


def export(request: HttpRequest) -> HttpResponseBase:
    """All that matches, streamed as a file."""
    kind = "csv" if request.GET.get("as") == "csv" else "jsonl"
    try:
        return audit_log.exported(audit_log.narrowed(request.user, _ask(request)), kind)
    except ValidationError as error:
        return HttpResponse(" ".join(error.messages), status=422, content_type="text/plain; charset=utf-8")


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
