"""Secrets at rest: a model field whose value is stored encrypted (Fernet: AES-128-CBC with HMAC-SHA256).

The key is derived from `SECRET_KEY`. With `ORCHESTRATOR_SECRET_KEY_FALLBACKS` (older keys, separated by commas) what
was stored under an older key stays readable; it is written under the new one when it is next saved.
"""

import json
from base64 import urlsafe_b64encode
from functools import cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import models


class Unreadable(ValueError):
    """A secret that was stored under a key that this server does not have."""

    def __init__(self) -> None:
        super().__init__(
            "It was stored under another secret key. Enter it again, or give the server the older key in"
            " ORCHESTRATOR_SECRET_KEY_FALLBACKS."
        )


def encrypt(value: Any) -> str:
    """Return a JSON value as text that only a server with its secret key can read."""
    return _fernet(settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS).encrypt(json.dumps(value).encode()).decode()


def decrypt(text: str) -> Any:
    """Return the value of what `encrypt` made. Raises Unreadable."""
    try:
        return json.loads(_fernet(settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS).decrypt(text))
    except (InvalidToken, ValueError):  # ValueError: not even written as a token is
        raise Unreadable from None


class Secret:
    """A value that is encrypted in the database and decrypted when it is asked for; prints as dots."""

    __slots__ = ("_stored",)

    def __init__(self, stored: str) -> None:
        self._stored = stored

    @classmethod
    def of(cls, value: Any) -> "Secret":
        """Encrypt a JSON value."""
        return cls(encrypt(value))

    @property
    def stored(self) -> str:
        """What the database holds."""
        return self._stored

    def reveal(self) -> Any:
        """Return the value. Raises Unreadable."""
        return decrypt(self._stored)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._stored == self._stored

    def __hash__(self) -> int:
        return hash(self._stored)

    def __str__(self) -> str:
        return "••••••"

    def __repr__(self) -> str:
        return "Secret(••••••)"


class SecretField(models.TextField):
    """A column of `Secret` values; forms and the admin leave it out."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["editable"] = False
        super().__init__(*args, **kwargs)

    def from_db_value(self, value: str | None, *_: Any) -> Secret | None:
        """Wrap what was stored."""
        return None if value is None else Secret(value)

    def to_python(self, value: Any) -> Any:
        """Leave it as it is: no text from outside becomes a secret by itself."""
        return value

    def get_prep_value(self, value: Any) -> str | None:
        """Unwrap for the database; anything but a Secret is refused."""
        if value is None:
            return None
        if not isinstance(value, Secret):
            raise TypeError(f"A SecretField takes a Secret, not {type(value).__name__}.")
        return value.stored


@cache
def _fernet(*keys: str) -> MultiFernet:
    return MultiFernet([Fernet(_derived(key)) for key in keys])


def _derived(key: str) -> bytes:
    derivation = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"orchestrator.encryption")
    return urlsafe_b64encode(derivation.derive(key.encode()))
