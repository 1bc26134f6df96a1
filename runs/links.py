"""Addresses in text that runs wrote, made into links: a log line may name a dashboard."""

import re
from typing import Final

from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe

# Only what says http itself; no part of the pattern can match in two ways, so that no text makes it slow.
_ADDRESS: Final = re.compile(r"https?://[^\s<>\"'`\x00-\x1f]{1,2000}")
_AFTER: Final = ".,;:!?)]}*_"  # what ends a sentence, and no address


def linked(text: str) -> SafeString:
    """Return text as HTML, with its addresses as links that say nothing of this page."""
    parts: list[str] = []
    end = 0
    for match in _ADDRESS.finditer(text):
        address = match.group().rstrip(_AFTER)
        parts.append(conditional_escape(text[end : match.start()]))
        parts.append(format_html('<a class="linked" href="{}" rel="noreferrer nofollow">{}</a>', address, address))
        end = match.start() + len(address)
    parts.append(conditional_escape(text[end:]))
    return mark_safe("".join(parts))  # each part is escaped
