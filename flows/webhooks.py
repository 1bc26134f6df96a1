"""Webhooks in: a secret address that runs a deployment, whose request's body becomes parameters by a mapping.

The address is a bearer secret: whoever has it may run that one deployment. Only its SHA-256 is kept.
"""

import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from flows.models import Deployment, Webhook
from teams import audit
from teams.models import User, fingerprint
from teams.rights import Level, require

#: In a mapping, instead of a path: the whole body.
WHOLE: Final = "*"
MAX_MAPPED: Final = 100
MAX_PATH: Final = 500
_USED_EVERY: Final = timedelta(minutes=1)  # last_used_at is written at most this often


def create_webhook(
    deployment: Deployment, *, mapping: Mapping[str, Any] | None = None, user: User | None = None
) -> tuple[Webhook, str]:
    """Give a deployment its webhook. Returns the row, and the secret, which is not kept.

    Raises:
        ValidationError: By `mapping.<parameter>`; code `conflict` where it has one already.
    """
    require(user, Level.EDIT, deployment)
    checked = check_mapping(deployment, mapping or {})
    secret = _new_secret()
    try:
        with transaction.atomic():
            made = Webhook.objects.create(deployment=deployment, mapping=checked, created_by=user, **_stored(secret))
            audit.record(user, "deployment.create_webhook", deployment, {"webhook": (None, audit.SECRET)})
    except IntegrityError:
        raise ValidationError(
            f"{deployment.full_name} has a webhook already. Give it another address, or delete it.", code="conflict"
        ) from None
    return made, secret


def rotate_webhook(webhook: Webhook, *, user: User | None = None) -> tuple[Webhook, str]:
    """Give a webhook another address; the one before is no longer good. Returns the row and the new secret."""
    require(user, Level.EDIT, webhook.deployment)
    secret = _new_secret()
    with transaction.atomic():
        Webhook.objects.filter(pk=webhook.pk).update(**_stored(secret))
        changes = {"webhook": (audit.SECRET, audit.SECRET)}
        audit.record(user, "deployment.rotate_webhook", webhook.deployment, changes)
    webhook.refresh_from_db()
    return webhook, secret


def change_webhook(webhook: Webhook, *, mapping: Mapping[str, Any], user: User | None = None) -> Webhook:
    """Change which part of the body becomes which parameter. Raises ValidationError by `mapping.<parameter>`."""
    require(user, Level.EDIT, webhook.deployment)
    before, webhook.mapping = webhook.mapping, check_mapping(webhook.deployment, mapping)
    with transaction.atomic():
        webhook.save(update_fields=["mapping"])
        audit.record(user, "deployment.change_webhook", webhook.deployment, {"mapping": (before, webhook.mapping)})
    return webhook


def delete_webhook(webhook: Webhook, *, user: User | None = None) -> None:
    """Take a deployment's webhook away; its address is no longer good."""
    require(user, Level.EDIT, webhook.deployment)
    with transaction.atomic():
        webhook.delete()
        audit.record(user, "deployment.delete_webhook", webhook.deployment, {"webhook": (audit.SECRET, None)})


def webhook_of(secret: str) -> Webhook | None:
    """Return the webhook of a secret with its deployment, marked as used; None when there is none (one query)."""
    found = Webhook.objects.select_related("deployment__flow", "deployment__queue", "deployment__team")
    webhook = found.filter(digest=fingerprint(secret)).first()
    now = timezone.now()
    if webhook is not None and (webhook.last_used_at is None or now - webhook.last_used_at > _USED_EVERY):
        Webhook.objects.filter(pk=webhook.pk).update(last_used_at=now)
    return webhook


def check_mapping(deployment: Deployment, mapping: Mapping[str, Any]) -> dict[str, str]:
    """Return a mapping as it is kept. Raises ValidationError by `mapping.<parameter>`."""
    if len(mapping) > MAX_MAPPED:
        raise ValidationError({"mapping": f"At most {MAX_MAPPED} parameters."})
    schema = deployment.parameter_schema
    known = schema.get("properties") if schema.get("additionalProperties") is False else None
    for name, path in mapping.items():
        if known is not None and name not in known:
            there = ", ".join(known) or "none"
            raise ValidationError({f"mapping.{name}": f"The flow has no parameter “{name}”. It has: {there}."})
        if not isinstance(path, str) or not path.strip() or len(path) > MAX_PATH:
            raise ValidationError(
                {f"mapping.{name}": f"Write where its value is: repository.name, commits.0.id, or {WHOLE}."}
            )
    return {name: path.strip() for name, path in mapping.items()}


def parameters_of(mapping: Mapping[str, str], body: Any) -> dict[str, Any]:
    """Return the parameters that a body gives. Raises ValidationError by `body.<path>` for a part that is not there."""
    return {name: body if path == WHOLE else _part(body, path) for name, path in mapping.items()}


def _part(body: Any, path: str) -> Any:
    value = body
    for step in path.split("."):
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and len(step) < 7 and int(step) < len(value):
            value = value[int(step)]
        else:
            raise ValidationError(
                {f"body.{path}": f"The body has no “{path}”: there is no “{step}” where it should be."}
            )
    return value


def _new_secret() -> str:
    return f"hook_{secrets.token_urlsafe(32)}"


def _stored(secret: str) -> dict[str, str]:
    return {"digest": fingerprint(secret), "prefix": secret[:10]}
