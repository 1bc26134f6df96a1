"""The administration's forms of destinations and policies: plain fields over secrets and lists."""

from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from notifications.events import DEFAULT_EVENTS, Event
from notifications.models import Destination, Policy
from notifications.transports import TRANSPORTS, transport


class LinesField(forms.CharField):
    """A list of texts, one a line."""

    widget = UnfoldAdminTextareaWidget(attrs={"rows": 3})

    def prepare_value(self, value: Any) -> Any:
        """Return the list as text; what was typed as it is."""
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> list[str]:
        """Return the lines that are not empty."""
        return [line.strip() for line in (value or "").splitlines() if line.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare lists."""
        return bool(self.to_python(data) != (initial or []))


class DestinationAdminForm(forms.ModelForm):
    """A destination. Its address and secret go in and are never shown, not even to who typed them just now."""

    name = forms.CharField(
        max_length=100, required=False, widget=UnfoldAdminTextInputWidget, help_text="Left empty, one is made up."
    )
    kind = forms.ChoiceField(
        choices=lambda: [(kind, transport(kind).label) for kind in TRANSPORTS], widget=UnfoldAdminSelectWidget
    )
    address = forms.CharField(required=False, widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "off"}))
    secret = forms.CharField(
        required=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "off"}),
        help_text="A webhook's own signing secret. Left empty, one is made and shown once.",
    )

    class Meta:
        model = Destination
        fields = ("team", "name", "kind")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if not self.instance._state.adding:
            for name in {"address", "secret"} & self.fields.keys():
                self.fields[name].help_text = "Left empty, it stays as it is."


class PolicyAdminForm(forms.ModelForm):
    """A policy; the page of notifications has plainer choices and a preview."""

    name = forms.CharField(
        max_length=100, required=False, widget=UnfoldAdminTextInputWidget, help_text="Left empty, one is made up."
    )
    events = forms.MultipleChoiceField(
        choices=[(event.value, f"{event.label}: {event.meaning}") for event in Event],
        initial=list(DEFAULT_EVENTS),
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )
    flows = LinesField(required=False, help_text="Names or patterns of flows, one a line; none: all.")
    deployments = LinesField(required=False, help_text="flow-name/deployment-name or patterns, one a line.")
    tags = LinesField(required=False, help_text="One a line; a run with one of them.")
    send_to = forms.ModelMultipleChoiceField(
        queryset=Destination.objects.order_by("name"), widget=UnfoldAdminSelectMultipleWidget
    )

    class Meta:
        model = Policy
        fields = (
            "team", "name", "events", "flows", "deployments", "tags", "message", "log_lines", "timezone", "burst_limit",
            "long_running_seconds", "paused",
        )  # fmt: skip

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if not self.instance._state.adding and "send_to" in self.fields:
            self.initial["send_to"] = list(self.instance.destinations.all())
