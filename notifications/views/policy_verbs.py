"""What a person does to a policy in one click: pause, resume, test."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST

from notifications import actions
from notifications.models import Policy
from notifications.views.access import policy_of
from notifications.views.answers import answered, with_undo
from notifications.views.examples import chosen_run
from runs.views.addresses import back


def _verb(act: Callable[..., Any], said: Callable[[Policy], str], undo: str) -> Callable[..., HttpResponse]:
    @login_required
    @require_POST
    def view(request: HttpRequest, policy_id: UUID, **captured: Any) -> HttpResponse:
        policy = policy_of(request.user, policy_id)
        try:
            act(policy, user=request.user)
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
        else:
            messages.success(request, with_undo(said(policy), reverse(undo, args=[policy.id])))
        return back(request, reverse("notification-policy", args=[policy.id]))

    return view


pause = _verb(
    actions.pause_policy, lambda policy: f"{policy} is paused: it tells nobody.", "notification-policy-resume"
)
resume = _verb(
    actions.resume_policy, lambda policy: f"{policy} tells what happens from now on.", "notification-policy-pause"
)


@login_required
@require_POST
def test(request: HttpRequest, policy_id: UUID) -> HttpResponse:
    """Send a message about a past run to each of its destinations, now, and show what each service says."""
    policy = policy_of(request.user, policy_id)
    address = reverse("notification-policy", args=[policy.id])
    try:
        answers = actions.test_policy(policy, user=request.user, run=chosen_run(policy, request.POST))
    except ValidationError as error:
        return answered(request, [], address, wrong=" ".join(error.messages))
    return answered(request, answers, address)
