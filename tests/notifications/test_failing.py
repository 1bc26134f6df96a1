"""When a failing destination is tried again, when it is paused, and that its admins are told once."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from notifications import failing, leases
from notifications.failing import Health, after, backoff
from notifications.gathering import gather
from notifications.models import Destination, Message
from notifications.sending import begin, record
from notifications.transports import Answer
from teams.models import Membership, Role, User
from tests.notifications.making import Make
from tests.notifications.receiving import Mailbox

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
BROKEN, REFUSED, FINE = Answer(False, "500"), Answer(False, "404 no_service", is_final=True), Answer(True, "200")


def test_the_backoff_grows_to_a_quarter_of_an_hour() -> None:
    seconds = [backoff(failures, 0.5).total_seconds() for failures in range(1, 12)]
    assert seconds == [5, 10, 20, 40, 80, 160, 320, 640, 900, 900, 900]
    assert backoff(10_000, 0.5).total_seconds() == 900
    assert [backoff(1, chance).total_seconds() for chance in (0.0, 1.0)] == [4, 6]


def test_a_success_clears_everything() -> None:
    assert after(Health(7, 2, NOW, NOW), FINE, NOW) == Health()


def test_failures_are_counted_and_waited_for() -> None:
    first = after(Health(), BROKEN, NOW, chance=0.5)
    assert first == Health(1, 0, NOW, NOW + timedelta(seconds=5))
    later = NOW + timedelta(seconds=6)
    assert after(first, BROKEN, later, chance=0.5) == Health(2, 0, NOW, later + timedelta(seconds=10))


@pytest.mark.parametrize(("asked", "waited"), [(0, 0), (7.5, 7.5), (-3, 0), (1e9, 3600)])
def test_retry_after_is_taken_up_to_an_hour(asked: float, waited: float) -> None:
    answer = Answer(False, "429", retry_after_seconds=asked)
    assert after(Health(), answer, NOW).retry_at == NOW + timedelta(seconds=waited)


def test_a_final_answer_holds_up_no_other_message() -> None:
    assert after(Health(), REFUSED, NOW) == Health(1, 1, NOW, None)
    assert after(Health(1, 1, NOW), BROKEN, NOW).refusals == 0


@pytest.mark.parametrize(
    ("health", "pauses"),
    [
        (Health(8, 0, NOW - timedelta(minutes=30)), True),
        (Health(7, 0, NOW - timedelta(hours=5)), False),
        (Health(50, 0, NOW - timedelta(minutes=29)), False),
        (Health(5, 5, NOW), True),
        (Health(9, 4, NOW), False),
    ],
)
def test_it_is_paused_when_it_failed_for_long_or_refused_everything(health: Health, pauses: bool) -> None:
    assert health.should_pause(NOW) is pauses


@pytest.mark.parametrize(
    ("tries", "hours", "gives_up"), [(11, 1, False), (12, 0, True), (1, 24, True), (1, 23.9, False)]
)
def test_a_message_is_given_up_after_twelve_tries_or_a_day(tries: int, hours: float, gives_up: bool) -> None:
    assert failing.gives_up(tries, NOW - timedelta(hours=hours), NOW) is gives_up


@pytest.fixture
def mail(mailbox: Mailbox, settings: Settings) -> Mailbox:
    """A mailbox that this server mails to."""
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", mailbox.port
    settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.DEFAULT_FROM_EMAIL = "orchestrator@example.org"
    return mailbox


@pytest.fixture
def admin(make: Make) -> User:
    """An admin of the team, with an address."""
    user = User.objects.create(username="ada", email="ada@example.org")
    Membership.objects.create(user=user, team=make.team, role=Role.ADMIN)
    return user


@pytest.fixture
def paused(make: Make) -> Iterator[Destination]:
    """A destination that kept failing."""
    destination = make.destination(failing_since=timezone.now(), last_answer="404 no_service")
    failing.pause(destination.pk, timezone.now())
    yield destination
    connection.close()


@pytest.mark.django_db(transaction=True)
def test_a_destination_that_keeps_failing_is_paused_and_keeps_what_waits(make: Make) -> None:
    destination = make.destination()
    make.delivery(make.policy(destination), destination)
    start = now = timezone.now()
    lease = leases.take(destination.pk, now)
    assert lease is not None
    gather(lease, now)
    tries = 0
    while (attempt := begin(lease, now)) is not None:
        tries += 1
        record(attempt, BROKEN, 0.1, now)
        destination.refresh_from_db()
        now = destination.retry_at or now
    assert destination.paused_at is not None
    assert destination.gave_up
    assert 8 <= tries < failing.MAX_TRIES
    assert timedelta(minutes=30) <= destination.paused_at - start < timedelta(hours=1)
    assert destination.tell_admins_at == destination.paused_at
    message = Message.objects.get()
    assert (message.state, message.tries, len(message.answers)) == ("waiting", tries, tries)

    failing.clear(destination.pk)
    message.refresh_from_db()
    assert message.tries == 0  # it has all its tries again
    assert leases.take(destination.pk, timezone.now()) is not None


@pytest.mark.django_db(transaction=True)
def test_five_refusals_pause_it_and_what_comes_then_is_kept(make: Make) -> None:
    destination = make.destination()
    make.deliveries(make.policy(destination), destination, 9)
    now = timezone.now()
    lease = leases.take(destination.pk, now)
    assert lease is not None
    gather(lease, now)
    while (attempt := begin(lease, now)) is not None:
        record(attempt, REFUSED, 0.1, now)
    assert sorted(Message.objects.values_list("state", flat=True)) == ["failed"] * 5 + ["waiting"] * 4
    destination.refresh_from_db()
    assert destination.gave_up


@pytest.mark.django_db(transaction=True)
def test_a_person_who_paused_it_first_is_not_overruled(make: Make) -> None:
    destination = make.destination(paused_at=NOW)
    assert not failing.pause(destination.pk, timezone.now())
    destination.refresh_from_db()
    assert (destination.gave_up, destination.paused_at, destination.tell_admins_at) == (False, NOW, None)


@pytest.mark.django_db(transaction=True)
def test_the_admins_get_one_mail_from_sweeps_at_once(paused: Destination, admin: User, mail: Mailbox) -> None:
    now, told = timezone.now(), []

    def tell() -> None:
        told.append(failing.tell_admins(paused.pk, now))
        connection.close()

    threads = [threading.Thread(target=tell) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(told) == [False, False, False, True]
    assert not failing.tell_admins(paused.pk, now + timedelta(days=1))
    [message] = mail.wait(1)
    assert message["To"] == "ada@example.org"
    assert "paused" in message["Subject"]
    assert "404 no_service" in str(message)
    paused.refresh_from_db()
    assert paused.admins_told_at == now


@pytest.mark.django_db(transaction=True)
def test_a_mail_that_is_not_taken_is_tried_again_later(paused: Destination, admin: User, mail: Mailbox) -> None:
    now = timezone.now()
    mail.refusal = "451 Try later"
    assert not failing.tell_admins(paused.pk, now)
    mail.refusal = ""
    assert not failing.tell_admins(paused.pk, now + timedelta(minutes=4))
    assert failing.tell_admins(paused.pk, now + timedelta(minutes=6))
    assert len(mail.mails) == 1


@pytest.mark.django_db(transaction=True)
def test_superusers_are_told_where_no_admin_has_an_address(paused: Destination, mail: Mailbox) -> None:
    User.objects.create(username="root", email="root@example.org", is_superuser=True)
    assert failing.tell_admins(paused.pk, timezone.now())
    assert mail.wait(1)[0]["To"] == "root@example.org"


@pytest.mark.django_db(transaction=True)
def test_without_anybody_to_mail_there_is_the_banner(paused: Destination, mail: Mailbox) -> None:
    assert not failing.tell_admins(paused.pk, timezone.now())
    paused.refresh_from_db()
    assert (paused.gave_up, paused.tell_admins_at, paused.admins_told_at) == (True, None, None)
    assert mail.mails == []
