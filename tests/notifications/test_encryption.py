"""Secrets at rest: readable with the key, and with nothing else."""

import json
import logging
import os
import pickle
from pathlib import Path

import pytest
from django.db import connection
from pytest_django import Settings

from notifications.models import Destination
from orchestrator.encryption import Secret, SecretField, Unreadable, decrypt, encrypt
from teams.models import Team

CONFIG = {"url": "https://hooks.slack.com/services/T024/B031/v3ryS3cretT0ken", "to": ["ünïcode 🐆"], "n": 1}


def stored() -> Destination:
    return Destination.objects.create(
        team=Team.default(), name="alerts", kind="slack", config=Secret.of(CONFIG), summary="hooks.slack.com/…"
    )


@pytest.mark.parametrize("value", [CONFIG, {}, [], "", None, 0, "x" * 100_000])
def test_a_value_comes_back(value: object) -> None:
    assert decrypt(encrypt(value)) == value


def test_the_same_value_is_never_written_alike() -> None:
    assert encrypt(CONFIG) != encrypt(CONFIG)


@pytest.mark.django_db
def test_a_row_comes_back() -> None:
    pk = stored().pk
    found = Destination.objects.get(pk=pk)
    assert isinstance(found.config, Secret)
    assert found.config.reveal() == CONFIG


@pytest.mark.django_db
def test_the_database_holds_nothing_readable() -> None:
    destination = stored()
    with connection.cursor() as cursor:
        cursor.execute("SELECT config FROM notifications_destination")
        (raw,) = cursor.fetchone()
    for part in ("hooks.slack.com", "v3ryS3cretT0ken", "T024", "url"):
        assert part not in raw
    assert raw == destination.config.stored


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "sqlite", reason="reads SQLite's files")
def test_the_database_s_files_hold_nothing_readable() -> None:
    stored()
    path = Path(str(connection.settings_dict["NAME"]))
    files = [file for file in path.parent.glob(f"{path.name}*") if os.path.getsize(file)]
    everything = b"".join(file.read_bytes() for file in files)
    assert b"hooks.slack.com/\xe2\x80\xa6" in everything  # its summary is there, so these are the right files
    assert b"v3ryS3cretT0ken" not in everything
    assert b"T024" not in everything


def test_an_older_key_still_reads(settings: Settings) -> None:
    settings.SECRET_KEY = "the older key"
    old = encrypt(CONFIG)
    settings.SECRET_KEY = "the newer key"
    with pytest.raises(Unreadable):
        decrypt(old)
    settings.SECRET_KEY_FALLBACKS = ["another one", "the older key"]
    assert decrypt(old) == CONFIG
    new = encrypt(CONFIG)
    settings.SECRET_KEY_FALLBACKS = []
    assert decrypt(new) == CONFIG  # written under the newer one


@pytest.mark.parametrize("damage", ["", "not a token", "gAAAAA", "ä"])
def test_what_cannot_be_read_says_what_to_do(damage: str) -> None:
    with pytest.raises(Unreadable, match="ORCHESTRATOR_SECRET_KEY_FALLBACKS") as caught:
        Secret(damage).reveal()
    assert "Enter it again" in str(caught.value)


def test_a_changed_byte_is_noticed() -> None:
    token = encrypt(CONFIG)
    with pytest.raises(Unreadable):
        decrypt(token[:40] + ("A" if token[40] != "A" else "B") + token[41:])


@pytest.mark.django_db
def test_nothing_that_prints_shows_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    destination = stored()
    logging.getLogger("test").warning("%s %r %s", destination.config, destination.config, vars(destination))
    shown = [repr(destination.config), str(destination.config), f"{destination.config}", repr([destination.config])]
    for text in [*shown, caplog.text]:
        assert "v3ryS3cretT0ken" not in text
    assert "v3ryS3cretT0ken" not in str(pickle.dumps(destination))
    with pytest.raises(TypeError):
        json.dumps(destination.config)


@pytest.mark.django_db
def test_a_plain_value_is_not_stored() -> None:
    with pytest.raises(TypeError, match="takes a Secret"):
        Destination.objects.create(team=Team.default(), name="a", kind="slack", config=CONFIG, summary="")


def test_forms_leave_it_out() -> None:
    assert SecretField(editable=True).editable is False
    assert Destination._meta.get_field("config").editable is False
