"""REST: business calendars of a user's teams. Changing one makes upcoming runs anew, so they live beside runs."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from flows import calendar_actions
from flows.models import Calendar, Deployment, slug_of
from orchestrator.api_views import ApiViewSet
from orchestrator.bodies import ReadSerializer, StrictSerializer
from orchestrator.paging import KeysetPagination
from runs import actions
from teams.acting import acting_team

MAX_USED_BY = 100


class DayOffSerializer(StrictSerializer):
    """A day off with its name."""

    date = serializers.DateField()
    name = serializers.CharField(max_length=100, default="day off", allow_blank=True)


class CalendarValuesSerializer(StrictSerializer):
    """A calendar, as it is written."""

    name = serializers.CharField(max_length=100)
    country = serializers.CharField(
        max_length=100, required=False, allow_blank=True, help_text="Its holidays are days off: FR, or France."
    )
    subdivision = serializers.CharField(
        max_length=100, required=False, allow_blank=True, help_text="A part of the country with holidays of its own."
    )
    weekend = serializers.ListField(
        child=serializers.CharField(max_length=10), required=False, help_text="SA, SU; else the country's own."
    )
    days_off = DayOffSerializer(many=True, required=False, help_text="Days off beside those.")
    working_days = serializers.ListField(
        child=serializers.DateField(), required=False, help_text="Business days whatever the rest says."
    )


class CalendarSerializer(ReadSerializer):
    """A business calendar."""

    description = serializers.CharField(source="value.describe", read_only=True, help_text="In plain words.")
    weekend = serializers.ListField(child=serializers.CharField(), read_only=True)
    days_off = DayOffSerializer(many=True, read_only=True)
    working_days = serializers.ListField(child=serializers.DateField(), read_only=True)

    class Meta:
        model = Calendar
        fields = (
            "id", "name", "description", "country", "subdivision", "weekend", "days_off", "working_days", "created_at",
            "updated_at",
        )  # fmt: skip
        read_only_fields = fields


class InspectedCalendarSerializer(CalendarSerializer):
    """A calendar with what it means."""

    special_days = serializers.SerializerMethodField(help_text="Days off in the next 365 days, but for weekends.")
    used_by = serializers.SerializerMethodField(help_text="The deployments whose schedules have it, at most 100.")

    class Meta(CalendarSerializer.Meta):
        fields = (*CalendarSerializer.Meta.fields, "special_days", "used_by")
        read_only_fields = fields

    def get_special_days(self, calendar: Calendar) -> list[dict[str, str]]:
        """Return the holidays and own days off to come."""
        today = timezone.localdate()
        special = calendar.value.special_days(today, today + timedelta(days=365))
        return [{"date": day.isoformat(), "name": name} for day, name in special.items()]

    def get_used_by(self, calendar: Calendar) -> list[str]:
        """Return the names of deployments (a query)."""
        return used_by(calendar)


def used_by(calendar: Calendar) -> list[str]:
    """Return the names of the deployments whose schedules have a calendar, at most 100 (a query)."""
    deployments = Deployment.objects.filter(schedules__calendar=calendar).select_related("flow").distinct()
    return [deployment.full_name for deployment in deployments.order_by("flow__slug", "slug")[:MAX_USED_BY]]


class CalendarFilter(filters.FilterSet):
    """Narrows the list of calendars."""

    name = filters.CharFilter(method="by_name", help_text="A calendar's name; `_` and `-` are alike.")

    class Meta:
        model = Calendar
        fields = ("name",)

    def by_name(self, calendars: QuerySet[Calendar], _field: str, value: str) -> QuerySet[Calendar]:
        """Keep the calendar of this name."""
        return calendars.filter(slug=slug_of(value))


class ByName(KeysetPagination):
    """Alphabetical."""

    ordering = ("name", "id")


@extend_schema_view(list=extend_schema(summary="List calendars"))
class CalendarViewSet(mixins.ListModelMixin, ApiViewSet):
    """Business calendars of the teams that the user is a member of."""

    serializer_class = CalendarSerializer
    pagination_class = ByName
    filterset_class = CalendarFilter
    lookup_value_converter = "uuid"

    def filter_queryset(self, queryset: QuerySet[Calendar]) -> QuerySet[Calendar]:
        """The list alone is narrowed by the query."""
        return super().filter_queryset(queryset) if self.action == "list" else queryset

    def get_queryset(self) -> QuerySet[Calendar]:
        """Calendars that the request may see."""
        if getattr(self, "swagger_fake_view", False):
            return Calendar.objects.none()
        return Calendar.objects.visible_to(self.request.user)

    @extend_schema(summary="Inspect a calendar", responses=InspectedCalendarSerializer)
    def retrieve(self, request: Request, pk: UUID) -> Response:
        """With the days off to come and the deployments that use it."""
        return Response(InspectedCalendarSerializer(self.get_object()).data)

    @extend_schema(
        summary="Make a calendar", request=CalendarValuesSerializer, responses={201: InspectedCalendarSerializer}
    )
    def create(self, request: Request) -> Response:
        """Days off are weekends, the holidays of a country, and dates of your own."""
        values = _valid(request.data)
        calendar = calendar_actions.create_calendar(acting_team(request), user=request.user, **values)
        return Response(InspectedCalendarSerializer(calendar).data, status=status.HTTP_201_CREATED)

    @extend_schema(
        summary="Change a calendar",
        request=CalendarValuesSerializer(partial=True),
        responses=InspectedCalendarSerializer,
    )
    def partial_update(self, request: Request, pk: UUID) -> Response:
        """Only the fields that are given. Upcoming runs of schedules that have it are made anew."""
        changes = _valid(request.data, partial=True)
        calendar = actions.change_calendar(self.get_object(), user=request.user, **changes)
        return Response(InspectedCalendarSerializer(calendar).data)

    @extend_schema(summary="Delete a calendar", responses={204: None})
    def destroy(self, request: Request, pk: UUID) -> Response:
        """Refused while a schedule has it."""
        calendar_actions.delete_calendar(self.get_object(), user=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _valid(data: Any, **options: Any) -> dict[str, Any]:
    serializer = CalendarValuesSerializer(data=data, **options)
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)
