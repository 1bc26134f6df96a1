"""What the views of notifications share."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from rest_framework import mixins

from orchestrator.api_views import ApiViewSet
from orchestrator.paging import KeysetPagination


class ByName(KeysetPagination):
    """Alphabetical, as people look for them."""

    ordering = ("name", "id")


class OwnedViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, ApiViewSet):
    """Rows of the teams that the user is a member of; a run's token reaches none of them."""

    pagination_class = ByName
    lookup_value_converter = "uuid"

    def rows(self) -> QuerySet[Any]:
        """Rows with what their answers show."""
        raise NotImplementedError

    def get_queryset(self) -> QuerySet[Any]:
        """Rows that the request may see."""
        rows: Any = self.rows()
        return rows.none() if getattr(self, "swagger_fake_view", False) else rows.visible_to(self.request.user)

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The list alone is narrowed by the query."""
        return super().filter_queryset(queryset) if self.action == "list" else queryset

    def again(self, row: Any) -> dict[str, Any]:
        """Return the row as it is answered; read again, since what was prefetched may have changed."""
        return dict(self.serializer_class(self.get_queryset().get(pk=row.pk)).data)


@contextmanager
def said_of(field: str, instead: str) -> Iterator[None]:
    """Have what a verb refuses about one of its arguments said about the body's field."""
    try:
        yield
    except ValidationError as error:
        raise ValidationError(
            {instead if name == field else name: said for name, said in error.message_dict.items()}
        ) from None
