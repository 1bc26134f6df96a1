"""A page that keeps itself up to date: read once for the answer, and again by the socket whenever something changed.

Both ways render the same regions from the same context, so that a live page equals a fresh one by construction.
Regions know no request: no CSRF tokens, no messages. What acts is a button that submits the page's one `act` form.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from orchestrator.paging import MAX_DIGITS
from runs.live import team_group
from runs.log_window import LogFilter
from runs.models import FlowRun
from teams.models import Team, User


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads a page, with which query, when."""

    user: User
    path: str
    query: QueryDict
    now: datetime

    @property
    def open(self) -> list[str]:
        """The groups of the timeline that are opened."""
        return self.query.getlist("open")

    @property
    def begin(self) -> int:
        """With how many rows left out a list begins (`?from=`); 0 for what is no such number."""
        text = self.query.get("from", "")
        return int(text) if text.isdecimal() and len(text) <= MAX_DIGITS else 0

    def link(self, **changes: Any) -> str:
        """The address of this page with some of its query changed; None takes a name out."""
        query = self.query.copy()
        for name, value in changes.items():
            query.pop(name, None)
            if isinstance(value, list):
                query.setlist(name, value)
            elif value is not None:
                query[name] = str(value)
        return f"{self.path}?{query.urlencode()}" if query else self.path


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a page that live updates replace, and a digest by which two versions are told apart."""

    name: str
    html: SafeString

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits."""
        return hashlib.blake2s(self.html.encode(), digest_size=4).hexdigest()

    def __str__(self) -> SafeString:
        """The region in its page."""
        return format_html(
            '<div class="region" data-region="{}" data-digest="{}">{}</div>', self.name, self.digest, self.html
        )


class LivePage(ABC):
    """One page, as one reader sees it now."""

    template: ClassVar[str]
    regions: ClassVar[Mapping[str, str]]  #: name → partial template
    list_regions: ClassVar[frozenset[str]] = frozenset()
    sweep_seconds: float = 10  #: how often the socket looks by itself, in case a message was lost

    def __init__(self, reader: Reader) -> None:
        """Keep the reader; subclasses read what the page is about and raise Http404 where it is not theirs."""
        self.reader = reader

    @abstractmethod
    def context(self) -> dict[str, Any]:
        """What the regions and the page around them show."""

    def groups(self) -> list[str]:
        """The channel groups that say when to look again; the reader's teams by default (one query)."""
        user = self.reader.user
        ids = Team.objects.values_list("id", flat=True) if user.is_superuser else user.team_ids
        return [team_group(team_id) for team_id in ids]

    @property
    def revision(self) -> int:
        """The version of what is shown; pages drop what is older than theirs."""
        return 0

    def log(self) -> tuple[FlowRun, LogFilter] | None:
        """The run and filter of the log on this page, if there is one."""
        return None

    def rendered(self) -> dict[str, Region]:
        """All regions, and what they and the page share."""
        context = self.shared() | self.context()
        return self._render(context)

    def shared(self) -> dict[str, Any]:
        """What every template may use."""
        return {"reader": self.reader, "now": self.reader.now, "page": self}

    def _render(self, context: dict[str, Any]) -> dict[str, Region]:
        return {
            name: Region(name, mark_safe(render_to_string(partial, context).strip()))
            for name, partial in self.regions.items()
        }

    def response(self, request: HttpRequest) -> HttpResponse:
        """The whole page."""
        context = self.shared() | self.context()
        return render(request, self.template, {**context, "regions": self._render(context), "live": True})


def live_view(page_class: type[LivePage]) -> Callable[..., HttpResponse]:
    """Return the view of a live page; the socket finds the page by the same address."""

    @login_required
    def view(request: HttpRequest, **captured: Any) -> HttpResponse:
        reader = Reader(request.user, request.path, request.GET, timezone.now())
        return page_class(reader, **captured).response(request)

    view.live_page = page_class  # type: ignore[attr-defined]
    return view
