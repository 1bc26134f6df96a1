"""What people type into forms, as values for the verbs."""

from django.core.exceptions import ValidationError


def read_whole(text: str, field: str) -> int | None:
    """Return a number that was typed; None for nothing. Raises ValidationError by field."""
    text = text.strip()
    if not text:
        return None
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 9):
        raise ValidationError({field: "Write a whole number."})
    return int(text)
