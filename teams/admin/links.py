"""Links from the administration's lists to pages of the site, and to its own."""

from typing import Any

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString


def to_page(name: str, id: Any, words: str = "Page") -> SafeString:
    """Return a link to a page of the site; empty where there is no such row."""
    return format_html('<a href="{}">{}</a>', reverse(name, args=[id]), words) if id else SafeString("")


def to_row(model: str, id: Any, words: Any) -> SafeString:
    """Return a link to a row in the administration: `flows_flow`; empty where there is none."""
    return (
        format_html('<a href="{}">{}</a>', reverse(f"admin:{model}_change", args=[id]), words) if id else SafeString("")
    )


def to_list(model: str, words: Any, **filters: Any) -> SafeString:
    """Return a link to a list in the administration, filtered."""
    return format_html('<a href="{}">{}</a>', reverse(f"admin:{model}_changelist", query=filters), words)
