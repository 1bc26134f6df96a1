"""Bodies of the REST API: requests have a limit and no unknown fields, answers have their times in UTC."""

import io
from datetime import UTC
from typing import Any

from django.db import models
from rest_framework import exceptions, serializers, status
from rest_framework.parsers import JSONParser

MAX_JSON_BYTES = 2 * 1024 * 1024  # parameters are at most 512 KB; their schema and text need room


class TooLarge(exceptions.APIException):
    """The body of the request is larger than the server takes."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"


def read_bounded(stream: Any, most: int) -> bytes:
    """Return the whole body. Raises TooLarge when it is longer than `most` bytes.

    Django's own limit counts only what it reads itself, and DRF's parsers read past it.
    """
    data: bytes = stream.read(most + 1)
    if len(data) > most:
        raise TooLarge(f"The body is larger than {most // 1024} KB.")
    return data


class BoundedJSONParser(JSONParser):
    """JSON of at most `most` bytes."""

    most = MAX_JSON_BYTES

    def parse(self, stream: Any, media_type: str | None = None, parser_context: dict[str, Any] | None = None) -> Any:
        """Return the value. Raises ParseError on bad JSON, TooLarge on too much of it."""
        return super().parse(io.BytesIO(read_bounded(stream, self.most)), media_type, parser_context)


class StrictSerializer(serializers.Serializer[Any]):
    """A request body in which a field that is not known is an error: a misspelt one would be lost silently."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the values. Raises ValidationError that names what is not known and what there is."""
        if isinstance(data, dict) and (unknown := sorted(set(data) - set(self.fields))):
            known = ", ".join(self.fields)
            raise serializers.ValidationError({unknown[0]: [f"There is no field {unknown[0]!r}; there are: {known}."]})
        return super().to_internal_value(data)


class UTCDateTimeField(serializers.DateTimeField):
    """A time in UTC, whatever zone the reader chose for pages."""

    def __init__(self, **options: Any) -> None:
        super().__init__(default_timezone=UTC, **options)


class ReadSerializer(serializers.ModelSerializer[Any]):
    """Rows as they are answered: every field read-only, times in UTC."""

    serializer_field_mapping = {
        **serializers.ModelSerializer.serializer_field_mapping,
        models.DateTimeField: UTCDateTimeField,
        models.EmailField: serializers.CharField,  # where it is empty it is of no format
    }
