"""Addresses of the pages of this app."""

from django.urls import URLPattern, path

from notifications.views import delivery_verbs, destination_forms, destination_verbs, mutes, policy_forms, policy_verbs
from notifications.views.deliveries import DeliveriesPage, DeliveryPage
from notifications.views.overview import NotificationsPage
from runs.views.live_page import live_view

_policy = "notifications/policies/<uuid:policy_id>"
_destination = "notifications/destinations/<uuid:destination_id>"
_delivery = "notifications/deliveries/<uuid:delivery_id>"
_deployment = "deployments/<uuid:deployment_id>"

urlpatterns: list[URLPattern] = [
    path("notifications/", live_view(NotificationsPage), name="notifications"),
    path("notifications/policies/new/", policy_forms.add, name="notification-policy-new"),
    path("notifications/policies/preview/", policy_forms.preview, name="notification-policy-preview"),
    path(f"{_policy}/", policy_forms.change, name="notification-policy"),
    path(f"{_policy}/delete/", policy_forms.delete, name="notification-policy-delete"),
    path(f"{_policy}/pause/", policy_verbs.pause, name="notification-policy-pause"),
    path(f"{_policy}/resume/", policy_verbs.resume, name="notification-policy-resume"),
    path(f"{_policy}/test/", policy_verbs.test, name="notification-policy-test"),
    path("notifications/destinations/new/", destination_forms.add, name="notification-destination-new"),
    path(f"{_destination}/", destination_forms.change, name="notification-destination"),
    path(f"{_destination}/delete/", destination_forms.delete, name="notification-destination-delete"),
    path(f"{_destination}/pause/", destination_verbs.pause, name="notification-destination-pause"),
    path(f"{_destination}/resume/", destination_verbs.resume, name="notification-destination-resume"),
    path(f"{_destination}/test/", destination_verbs.test, name="notification-destination-test"),
    path(f"{_destination}/dismiss/", destination_verbs.dismiss, name="notification-destination-dismiss"),
    path("notifications/deliveries/", live_view(DeliveriesPage), name="notification-deliveries"),
    path(f"{_delivery}/", live_view(DeliveryPage), name="notification-delivery"),
    path(f"{_delivery}/send-again/", delivery_verbs.send_again, name="notification-send-again"),
    path(f"{_deployment}/mute/", mutes.mute, name="deployment-mute"),
    path(f"{_deployment}/unmute/", mutes.unmute, name="deployment-unmute"),
]
