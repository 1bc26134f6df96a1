"""What a person does to a work queue: make it, change it, pause it, delete it. What was typed is never lost."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from flows.models import DEFAULT_QUEUE, WorkQueue
from runs import queues
from runs.views.addresses import back
from runs.views.deployment_forms import messages_of
from runs.views.queue_pages import queue_of
from runs.views.typed import read_whole
from teams.acting import acting_team
from teams.lost_updates import saving

FIELDS = ("name", "description", "limit", "priority")


def _read(request: HttpRequest) -> dict[str, Any]:
    """Return the form's values for the verbs. Raises ValidationError by field."""
    return {
        "name": request.POST.get("name", ""),
        "description": request.POST.get("description", "").replace("\r\n", "\n"),
        "limit": read_whole(request.POST.get("limit", ""), "limit"),
        "priority": read_whole(request.POST.get("priority", ""), "priority") or 0,
    }


def _form(request: HttpRequest, queue: WorkQueue | None, save: Callable[[dict[str, Any]], WorkQueue]) -> HttpResponse:
    context: dict[str, Any] = {"queue": queue, "is_default": queue is not None and queue.name == DEFAULT_QUEUE}
    if request.method == "POST":
        try:
            saved = save(_read(request))
        except ValidationError as error:
            errors = messages_of(error)
            context |= {
                "shown": {name: request.POST.get(name, "") for name in FIELDS},
                "wrong": {name: errors.get(name, []) for name in FIELDS},
                "errors": [said for name, found in errors.items() if name not in FIELDS for said in found],
            }
            return render(request, "runs/queue_form.html", context, status=422)
        messages.success(request, "Saved." if queue else f"Work queue {saved.name} is made.")
        return redirect("work-queue", saved.id)
    shown = {name: getattr(queue, name) for name in FIELDS} if queue else {"priority": 0}
    context["shown"] = {name: "" if value is None else value for name, value in shown.items()}
    return render(request, "runs/queue_form.html", context)


@login_required
def add(request: HttpRequest) -> HttpResponse:
    """Make a queue of the team that the person acts for."""
    return _form(request, None, lambda values: queues.create_queue(acting_team(request), user=request.user, **values))


@login_required
def edit(request: HttpRequest, queue_id: UUID) -> HttpResponse:
    """Change its name, description, limit and priority."""
    queue = queue_of(request.user, queue_id)

    def save(values: dict[str, Any]) -> WorkQueue:
        with saving(request, queue):
            return queues.change_queue(queue, user=request.user, **values)

    return _form(request, queue, save)


@login_required
def delete(request: HttpRequest, queue_id: UUID) -> HttpResponse:
    """Ask, then delete it, if nothing uses it."""
    queue = queue_of(request.user, queue_id)
    if request.method == "POST":
        try:
            queues.delete_queue(queue, user=request.user)
        except ValidationError as error:
            return render(request, "runs/queue_delete.html", {"queue": queue, "errors": error.messages}, status=422)
        messages.success(request, f"Work queue {queue.name} is deleted.")
        return redirect("work-queues")
    return render(request, "runs/queue_delete.html", {"queue": queue})


def _verb(act: Callable[..., WorkQueue], said: str) -> Callable[..., HttpResponse]:
    @login_required
    @require_POST
    def view(request: HttpRequest, queue_id: UUID) -> HttpResponse:
        queue = queue_of(request.user, queue_id)
        act(queue, user=request.user)
        messages.success(request, said.format(queue.name))
        return back(request, reverse("work-queue", args=[queue.id]))

    return view


pause = _verb(queues.pause_queue, "{} is paused: its runs wait, what is in progress goes on.")
resume = _verb(queues.resume_queue, "{} is resumed: its runs start again.")
