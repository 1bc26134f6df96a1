"""All runs that match the filter of the list: counted, confirmed, then done call by call with the progress shown."""

import json
from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from runs import bulk_verbs
from runs.models import FlowRun
from runs.reads import newest
from runs.views.run_list import chosen_runs

SHOWN: Final = 5  # runs named before it is confirmed
MAX_REFUSALS: Final = 50  # kept on the page
# The verb as a button says it, what it does in words, and what is said of runs that it was done to.
WORDS: Final[Mapping[str, tuple[str, str, str]]] = {
    "cancel": ("Cancel", "Runs that wait end at once; those that run are asked to stop.", "cancelled"),
    "retry": ("Retry", "Each goes on as its next attempt; what completed is reused.", "retried"),
    "rerun": ("Run again", "Each is run once more, as a new run with the same parameters.", "run again"),
    "delete": ("Delete", "They go for good, with their logs, task runs and subflows' runs.", "deleted"),
}


@login_required
@require_http_methods(["GET", "POST"])
def bulk(request: HttpRequest, verb: str) -> HttpResponse:
    """Ask (GET), or do the next part (POST) and show how far it has come."""
    if verb not in WORDS:
        raise Http404
    query = QueryDict(request.POST.get("query", "") if request.method == "POST" else request.GET.urlencode())
    now = timezone.now()
    runs = chosen_runs(FlowRun.objects.listed_for(request.user), query, now)  # what the list shows
    button, about, past = WORDS[verb]
    context: dict[str, Any] = {
        "verb": verb,
        "button": button,
        "about": about,
        "past": past,
        "query": query.urlencode(),
        "back": f"{reverse('runs')}?{query.urlencode()}",
        "is_filtered": any(query.values()),
        "now": now,
    }
    if request.method == "GET":
        found = bulk_verbs.count(runs)
        context |= {
            "number": min(found, bulk_verbs.MAX_COUNT),
            "is_more": found > bulk_verbs.MAX_COUNT,
            "first": newest(runs, SHOWN),
            "key": uuid4(),
        }
        return render(request, "runs/run_bulk.html", context)
    return render(request, "runs/run_bulk.html", context | _go_on(request, verb, runs))


def _go_on(request: HttpRequest, verb: str, runs: Any) -> dict[str, Any]:
    sent = request.POST
    try:
        outcome = bulk_verbs.apply(
            verb, runs, user=request.user, after=sent.get("after") or None, key=sent.get("key", "")[:100]
        )
    except ValidationError:
        raise Http404 from None
    refused = [*_refusals(sent.get("refused", "")), *([one.name, str(one.id), one.reason] for one in outcome.refused)]
    return {
        "is_going": True,
        "number": _number(sent.get("number", "")),
        "key": sent.get("key", ""),
        "done": _number(sent.get("done", "")) + outcome.done,
        "refused_number": _number(sent.get("refused_number", "")) + len(outcome.refused),
        "refused": refused[:MAX_REFUSALS],
        "refused_json": json.dumps(refused[:MAX_REFUSALS]),
        "after": outcome.next,
    }


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def _refusals(text: str) -> list[list[str]]:
    """What the page sent back of earlier parts; it is shown, and means nothing else."""
    try:
        said = json.loads(text or "[]")
        return [[str(name), str(id), str(reason)] for name, id, reason in said][:MAX_REFUSALS]
    except (ValueError, TypeError):
        return []
