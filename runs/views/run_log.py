"""Parts of a run's page on demand, and the texts that are too long for it."""

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone

from runs.log_window import window
from runs.models import FlowRun, Log
from runs.views.live_page import Reader
from runs.views.run_page import RunPage

PLAIN = "text/plain; charset=utf-8"


@login_required
def older(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Log lines before `?before=`, with the filters of the page."""
    page = RunPage(Reader(request.user, request.path, request.GET, timezone.now()), run_id)
    try:
        before = UUID(request.GET.get("before", ""))
    except ValueError:
        raise Http404 from None
    found = window(page.run, page.log_filter, before)
    context = {"lines": found.lines, "run": page.run, "has_older": found.has_older, "reader": page.reader}
    return render(request, "runs/_log_lines.html", context)


@login_required
def line(request: HttpRequest, run_id: UUID, log_id: UUID) -> HttpResponse:
    """One whole log line, as text."""
    run = get_object_or_404(FlowRun.objects.visible_to(request.user), id=run_id)
    return HttpResponse(get_object_or_404(Log, flow_run=run, id=log_id).message, content_type=PLAIN)


@login_required
def traceback(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """The whole traceback of what ended the run, as text."""
    run = get_object_or_404(FlowRun.objects.visible_to(request.user), id=run_id)
    return HttpResponse(str((run.error or {}).get("traceback", "")), content_type=PLAIN)
