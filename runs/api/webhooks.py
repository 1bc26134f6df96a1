"""REST: a deployment's webhook, and the address that it is called at."""

from hashlib import sha256
from typing import Any, Final

from django.db import transaction
from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from flows import webhooks
from flows.models import Deployment, Webhook
from orchestrator.api_views import ApiView, ApiViewSet
from orchestrator.bodies import BoundedJSONParser, ReadSerializer, StrictSerializer
from orchestrator.links import absolute_page
from runs import actions
from runs.models import Trigger
from teams import audit

MAX_BODY_BYTES: Final = 512 * 1024  # as much as parameters may be
#: Headers in which senders name a delivery, which they send again where they heard no answer.
DELIVERY_IDS: Final = ("Idempotency-Key", "Webhook-Id", "X-GitHub-Delivery", "X-Gitlab-Event-UUID", "X-Request-Id")
NOT_STORED: Final = {"Cache-Control": "no-store"}


class MappingSerializer(StrictSerializer):
    """How a webhook's body becomes parameters."""

    mapping = serializers.DictField(
        required=False,
        help_text="By parameter: where its value is in the body (`repository.name`, `commits.0.id`); `*`: all of it.",
    )


class WebhookSerializer(ReadSerializer):
    """A webhook: of its address only the beginning of the secret is known."""

    mapping = serializers.DictField(child=serializers.CharField(), read_only=True)
    created_by = serializers.CharField(source="created_by.username", read_only=True, default=None, allow_null=True)

    class Meta:
        model = Webhook
        fields = ("prefix", "mapping", "created_by", "created_at", "last_used_at")
        read_only_fields = fields


class MadeWebhookSerializer(WebhookSerializer):
    """A webhook as it is answered when it is made, or given another address."""

    url = serializers.CharField(read_only=True, help_text="Its address. It is not kept and not shown again.")

    class Meta(WebhookSerializer.Meta):
        fields = (*WebhookSerializer.Meta.fields, "url")
        read_only_fields = fields


class WebhookActions(ApiViewSet):
    """What can be done with a deployment's webhook."""

    @extend_schema(summary="Show a deployment's webhook", responses=WebhookSerializer, filters=False)
    @action(detail=True, pagination_class=None)
    def webhook(self, request: Request, pk: Any) -> Response:
        """404 where it has none."""
        return Response(WebhookSerializer(self._webhook()).data)

    @extend_schema(
        summary="Give a deployment a webhook", request=MappingSerializer, responses={201: MadeWebhookSerializer}
    )
    @webhook.mapping.post
    def create_webhook(self, request: Request, pk: Any) -> Response:
        """`url` runs the deployment for whoever has it; it is answered here alone. 409 where there is one."""
        mapping = _said(request).get("mapping", {})
        made, secret = webhooks.create_webhook(self.get_object(), mapping=mapping, user=request.user)
        return self._made(made, secret, status.HTTP_201_CREATED)

    @extend_schema(summary="Change a webhook's mapping", request=MappingSerializer, responses=WebhookSerializer)
    @webhook.mapping.patch
    def change_webhook(self, request: Request, pk: Any) -> Response:
        """Its address stays."""
        webhook, said = self._webhook(), _said(request)
        if "mapping" in said:
            webhook = webhooks.change_webhook(webhook, mapping=said["mapping"], user=request.user)
        return Response(WebhookSerializer(webhook).data)

    @extend_schema(summary="Delete a webhook", responses={204: None})
    @webhook.mapping.delete
    def delete_webhook(self, request: Request, pk: Any) -> Response:
        """Its address is no longer good."""
        webhooks.delete_webhook(self._webhook(), user=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(summary="Give a webhook another address", request=None, responses=MadeWebhookSerializer)
    @action(detail=True, methods=["post"], url_path="webhook/rotate")
    def rotate_webhook(self, request: Request, pk: Any) -> Response:
        """The one before is no longer good; `url` is answered here alone."""
        return self._made(*webhooks.rotate_webhook(self._webhook(), user=request.user), status.HTTP_200_OK)

    def _webhook(self) -> Webhook:
        deployment: Deployment = self.get_object()
        found = Webhook.objects.select_related("created_by").filter(deployment=deployment).first()
        if found is None:
            raise Http404("This deployment has no webhook.")
        found.deployment = deployment
        return found

    def _made(self, webhook: Webhook, secret: str, code: int) -> Response:
        answer = {**WebhookSerializer(webhook).data, "url": address(self.request, secret)}
        return Response(answer, status=code, headers=NOT_STORED)


class HookParser(BoundedJSONParser):
    """JSON as it is sent to a webhook."""

    most = MAX_BODY_BYTES


class HookView(ApiView):
    """The address of a webhook. Its secret is all that is asked for."""

    authentication_classes = []
    permission_classes = [AllowAny]
    parser_classes = [HookParser]
    own_keys = frozenset({"post"})

    @extend_schema(exclude=True)  # it lies outside /api/; docs/how-to/webhooks-in.md describes it
    def post(self, request: Request, secret: str) -> Response:
        """Run the deployment with what the body gives; 202 with the run's id."""
        webhook = webhooks.webhook_of(secret)
        if webhook is None:
            raise Http404("There is no such webhook.")
        with transaction.atomic():
            run, created = actions.create_flow_run(
                webhook.deployment,
                parameters=webhooks.parameters_of(webhook.mapping, request.data),
                trigger=Trigger.API,
                idempotency_key=_key(webhook, request),
            )
            if created:
                audit.record(f"webhook {webhook.prefix}…", "flow_run.create", run)
        headers = {} if created else {"Idempotency-Replayed": "true"}
        return Response({"id": str(run.pk), "name": run.name}, status=status.HTTP_202_ACCEPTED, headers=headers)


def address(request: Any, secret: str) -> str:
    """Return the whole address of a webhook, as the world outside reaches it."""
    return absolute_page(request, "hook", secret)


def _key(webhook: Webhook, request: Request) -> str | None:
    """The run's key: of the delivery, and of this webhook alone."""
    said = next((request.headers[name] for name in DELIVERY_IDS if request.headers.get(name, "").strip()), None)
    return f"webhook {sha256(f'{webhook.pk} {said.strip()}'.encode()).hexdigest()}" if said else None


def _said(request: Request) -> dict[str, Any]:
    body = MappingSerializer(data=request.data)
    body.is_valid(raise_exception=True)
    return dict(body.validated_data)
