"""Tags and filters of the pages: `{% state run %}`, `{% moment time %}`, `{{ seconds|duration }}`."""

import json
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django import template
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from flows.models import Schedule
from flows.schedules import Spec
from flows.sources import summary
from runs import presentation
from runs.links import linked

register = template.Library()

register.filter("duration", presentation.duration)
register.filter("count", presentation.count)
register.filter("size", presentation.size)
register.filter("level_name", presentation.level_name)
register.filter("sentence", presentation.sentence)
register.filter("linked", linked)


@register.filter
def source_words(source: dict[str, Any] | None) -> str:
    """Where code is, in a few words: `snapshot 3c37fbfd9d40`."""
    return summary(source or {})


@register.inclusion_tag("_state.html")
def state(subject: Any, word: str = "") -> dict[str, Any]:
    """Show the state of a run, attempt or task run (anything with `state_type` and `state_name`)."""
    look = presentation.look(subject.state_type, subject.state_name)
    return {"look": look, "word": word or look.word}


@register.inclusion_tag("_state.html")
def state_of_type(type_: str, word: str = "") -> dict[str, Any]:
    """Show a type of state."""
    look = presentation.look(type_)
    return {"look": look, "word": word or look.word}


@register.filter
def several(number: int, nouns: str) -> str:
    """Count a noun: `{{ n|several:"line" }}`, `{{ n|several:"entry,entries" }}`."""
    noun, _, plural = nouns.partition(",")
    return presentation.several(number, noun, plural)


@register.simple_tag
def moment(time: datetime | None, now: datetime | None = None) -> SafeString | str:
    """A time in the reader's zone, with the exact time on hover."""
    return _time(time, presentation.clock(time, now or timezone.now())) if time else ""


@register.simple_tag
def upcoming_moment(time: datetime | None, now: datetime | None = None) -> SafeString | str:
    """A time to come, in the reader's zone, with the exact time on hover."""
    return _time(time, presentation.upcoming_clock(time, now or timezone.now())) if time else ""


@register.simple_tag
def log_clock(time: datetime) -> SafeString:
    """The time of a log line, to the millisecond."""
    local = timezone.localtime(time)
    return _time(time, f"{local:%H:%M:%S}.{local.microsecond // 1000:03d}")


@register.simple_tag
def elapsed(start: datetime | None, now: datetime) -> SafeString | str:
    """The time since `start`, which the page's script keeps counting."""
    if start is None:
        return ""
    seconds = presentation.seconds_between(start, now)
    return format_html('<span class="num" data-since="{}">{}</span>', start.isoformat(), presentation.duration(seconds))


@register.filter
def item(mapping: dict[Any, Any], key: Any) -> Any:
    """The value of a key, None without one."""
    return mapping.get(key)


@register.simple_tag
def usual_range(usual: tuple[float, float]) -> str:
    """A range of durations in words."""
    return presentation.duration_range(*usual)


@register.simple_tag
def span_of(subject: Any) -> str:
    """How long something that has `start_time` and `end_time` took; empty while it goes on."""
    return presentation.duration(presentation.seconds_between(subject.start_time, subject.end_time))


@register.simple_tag
def icon(look: presentation.Look) -> SafeString:
    """The shape of a state where its word is said beside it or by the picture's label."""
    return format_html(
        '<span class="state {}{}" title="{}"><svg viewBox="0 0 16 16" aria-hidden="true"><use href="#{}"/></svg>'
        '<span class="hidden-text">{}</span></span>',
        look.css,
        " turning" if look.turning else "",
        look.word,
        look.icon,
        look.word,
    )


@register.filter
def schedule_words(schedule: Schedule) -> str:
    """A schedule in plain words."""
    return Spec.of(schedule).describe()


@register.filter
def toggle_group(page: Any, row: Any) -> str:
    """The address of a run's page with a group of the timeline opened, or closed."""
    opened = [key for key in page.reader.query.getlist("open") if key != row.key]
    return page.reader.link(open=opened if row.opened else [*opened, row.key], task_run=None)


@register.simple_tag
def task_runs_of_key(page: Any, key: str) -> str:
    """The address of all task runs of a task."""
    return f"{page.reader.path}?{urlencode({'tab': 'tasks', 'key': key})}"


@register.simple_tag
def older_lines(run: Any, reader: Any, lines: list[Any]) -> str:
    """The address of the log lines before these, with the reader's filters."""
    query = reader.query.copy()
    query["before"] = str(lines[0].id)
    return f"{reverse('run-log', args=[run.id])}?{query.urlencode()}"


@register.filter
def pretty_json(value: Any) -> str:
    """A value as indented JSON, for people."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


@register.filter
def one_line_json(value: Any) -> str:
    """A value as JSON on one line; a text without its quotes."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _time(time: datetime, text: str) -> SafeString:
    return format_html('<time datetime="{}" title="{}">{}</time>', time.isoformat(), presentation.exact(time), text)
