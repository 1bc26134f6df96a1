"""Showing what services answer to a test, beside the button with JavaScript and as messages without."""

from collections.abc import Sequence

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.html import format_html
from django.utils.safestring import SafeString

from notifications.models import Destination
from notifications.transports import Answer


def answered(
    request: HttpRequest, answers: Sequence[tuple[Destination, Answer]], address: str, wrong: str = ""
) -> HttpResponse:
    """Show what each service said to a test, or what was wrong with sending one."""
    if request.htmx:
        return render(request, "notifications/_answers.html", {"answers": answers, "wrong": wrong})
    if wrong:
        messages.error(request, wrong)
    for destination, answer in answers:
        words = f"{destination} took the test: {answer.text}" if answer.ok else f"{destination} refused: {answer.text}"
        messages.add_message(request, messages.SUCCESS if answer.ok else messages.ERROR, words)
    return redirect(address)


def with_undo(said: str, address: str) -> SafeString:
    """Return a message with a button that takes back what was done, by a POST to this address."""
    return format_html('{} <button class="button" form="act" formaction="{}">Undo</button>', said, address)
