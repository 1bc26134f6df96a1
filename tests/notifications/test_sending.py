"""Sending from the threads of one process, to a real receiver. Several processes, killed ones: test_killed_senders."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import time_machine
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from notifications import actions, bells, composing, failing, leases, senders, sweeping
from notifications import sending as sending_module
from notifications.content import Content
from notifications.gathering import gather
from notifications.leases import Lease
from notifications.models import Delivery, Destination, Message, Subscription
from notifications.sending import Sending, Try, begin, record, send
from notifications.transports import Answer
from orchestrator.encryption import Secret
from orchestrator.sdk.ids import uuid7
from tests.notifications.making import Make
from tests.notifications.receiving import PlainTransport, Received, Receiver, Reply

pytestmark = pytest.mark.django_db(transaction=True)
HANG = Reply(delay=10)


@pytest.fixture
def sending(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sending]:
    """A process's threads, which jobs and sweeps use."""
    sending = Sending()
    monkeypatch.setattr(sending_module, "current", lambda: sending)
    yield sending
    sending.close()
    receiver.release.set()
    assert sending.wait(15)


@pytest.fixture
def told(make: Make) -> Delivery:
    """A delivery that is due."""
    destination = make.destination()
    return make.delivery(make.policy(destination), destination)


def take(destination: Destination | None) -> Lease:
    assert destination is not None
    lease = leases.take(destination.pk, timezone.now())
    assert lease is not None
    return lease


def settled(sending: Sending) -> None:
    """Wait until the threads have nothing more to do."""
    deadline = time.monotonic() + 10
    while sending._taken and time.monotonic() < deadline:
        with sending._changed:
            sending._changed.wait(0.02)
    assert not sending._taken


def test_what_is_due_is_sent_and_its_answer_kept(sending: Sending, told: Delivery, receiver: Receiver) -> None:
    sending.offer([told.destination_id])
    [request] = receiver.wait(1)
    settled(sending)
    told.refresh_from_db()
    message = told.message
    assert message is not None
    assert (message.state, message.tries, message.count, message.kind) == ("sent", 1, 1, "single")
    assert request.json == message.content
    assert request.json["id"] == str(message.pk)
    assert [(said["ok"], said["text"]) for said in message.answers] == [(True, "200 ok")]
    assert (told.due_at, told.status) == (None, Delivery.Status.SENT)
    destination = Destination.objects.get()
    assert (destination.lease_holder, destination.failures, destination.last_answer) == (None, 0, "200 ok")


def test_a_message_is_committed_before_it_leaves(sending: Sending, told: Delivery, receiver: Receiver) -> None:
    seen: list[Any] = []

    def look(request: Received) -> Reply:
        seen.extend(Message.objects.values_list("pk", "state", "tries"))
        connection.close()
        return Reply()

    receiver.reply = look
    sending.offer([told.destination_id])
    settled(sending)
    assert seen == [(UUID(receiver.received[0].json["id"]), "waiting", 1)]


def test_nothing_is_held_while_the_network_is_waited_for(
    sending: Sending, told: Delivery, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[Any] = []
    real = PlainTransport.send

    def look(self: PlainTransport, config: dict[str, Any], content: Content) -> Answer:
        held.append((connection.connection, [one.in_atomic_block for one in sending._database._connections]))
        return real(self, config, content)

    monkeypatch.setattr(PlainTransport, "send", look)
    sending.offer([told.destination_id])
    settled(sending)
    assert held == [(None, [False])]


def test_what_comes_while_something_is_sent_follows_it(
    sending: Sending, told: Delivery, receiver: Receiver, make: Make
) -> None:
    assert told.policy is not None
    assert told.destination is not None
    receiver.then(Reply(delay=0.3))
    sending.offer([told.destination_id])
    receiver.wait(1)
    make.deliveries(told.policy, told.destination, 3)
    sending.offer([told.destination_id])
    receiver.wait(4)
    settled(sending)
    assert Message.objects.filter(state="sent").count() == 4


def test_a_lost_bell_is_made_good_by_the_sweep(sending: Sending, told: Delivery, receiver: Receiver) -> None:
    sweeping.sweep()
    receiver.wait(1)
    settled(sending)
    sweeping.sweep()  # nothing is left
    settled(sending)
    assert len(receiver.received) == 1


def test_another_process_that_holds_the_lease_is_left_alone(
    sending: Sending, told: Delivery, receiver: Receiver
) -> None:
    now = timezone.now()
    Destination.objects.update(lease_holder=uuid7(), lease_expires_at=now + timedelta(seconds=5))
    sweeping.sweep()
    sending.offer([told.destination_id])
    settled(sending)
    assert receiver.received == []
    assert leases.due(now).count() == 0
    assert leases.due(now + timedelta(seconds=5)).count() == 1  # it lapsed


def test_who_lost_the_lease_writes_and_sends_nothing(told: Delivery, make: Make) -> None:
    lease = take(told.destination)
    Destination.objects.update(lease_holder=uuid7())
    now = timezone.now()
    assert not gather(lease, now)
    assert begin(lease, now) is None
    assert Message.objects.count() == 0
    lease.release()
    assert Destination.objects.get().lease_holder is not None


def test_a_server_that_fails_is_tried_again_and_others_are_not_concerned(
    sending: Sending, told: Delivery, receiver: Receiver, make: Make
) -> None:
    assert told.policy is not None
    assert told.destination is not None
    other = make.destination(receiver.url + "/other")
    make.delivery(make.policy(other), other)
    receiver.then(Reply(500, b"broken"))
    sending.offer([told.destination_id])
    settled(sending)
    make.delivery(told.policy, told.destination)  # waits with the first
    sweeping.sweep()
    receiver.wait(1, path="/other")
    settled(sending)
    assert len(receiver.at("/")) == 1
    destination = Destination.objects.get(pk=told.destination_id)
    assert (destination.failures, destination.last_answer) == (1, "500 broken")
    assert destination.retry_at is not None
    assert destination.last_answer_at is not None
    assert timedelta(seconds=4) <= destination.retry_at - destination.last_answer_at <= timedelta(seconds=6)

    Destination.objects.update(retry_at=timezone.now())
    sweeping.sweep()
    receiver.wait(3, path="/")[1:]
    settled(sending)
    destination.refresh_from_db()
    assert (destination.failures, destination.failing_since, destination.retry_at) == (0, None, None)
    first = receiver.at("/")[0].json["id"]
    assert Counter(request.json["id"] for request in receiver.at("/"))[first] == 2  # the same message, the same id


def test_retry_after_is_honoured_to_the_second(sending: Sending, told: Delivery, receiver: Receiver) -> None:
    receiver.then(Reply(429, b"slow down", {"Retry-After": "2"}))
    sending.offer([told.destination_id])
    [refused] = receiver.wait(1)
    settled(sending)
    destination = Destination.objects.get()
    assert destination.retry_at is not None
    assert destination.last_answer_at is not None
    assert destination.retry_at - destination.last_answer_at == timedelta(seconds=2)
    while len(receiver.received) == 1 and time.time() < refused.at + 10:
        sweeping.sweep()
        settled(sending)
        time.sleep(0.05)  # a sweep has no event to wait for
    assert 2.0 <= receiver.received[1].at - refused.at < 3.0


def test_a_final_answer_fails_that_message_and_the_next_is_sent(
    sending: Sending, told: Delivery, receiver: Receiver, make: Make
) -> None:
    assert told.policy is not None
    assert told.destination is not None
    make.delivery(told.policy, told.destination)
    receiver.then(Reply(400, b"invalid_payload"))
    sending.offer([told.destination_id])
    receiver.wait(2)
    settled(sending)
    assert Counter(Message.objects.values_list("state", flat=True)) == {"failed": 1, "sent": 1}
    assert Destination.objects.get().refusals == 0  # in a row


def test_a_secret_that_cannot_be_read_is_a_final_answer(sending: Sending, told: Delivery, receiver: Receiver) -> None:
    Destination.objects.update(config=Secret("gAAAA-of-another-key"))
    sending.offer([told.destination_id])
    settled(sending)
    message = Message.objects.get()
    assert message.state == "failed"
    assert "stored under another secret key" in message.answers[0]["text"]
    assert receiver.received == []


def test_a_transport_with_a_fault_is_an_answer(told: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Answer:
        raise RuntimeError("a bug")

    monkeypatch.setattr(PlainTransport, "send", broken)
    lease = take(told.destination)
    gather(lease, timezone.now())
    attempt = begin(lease, timezone.now())
    assert attempt is not None
    answer = send(attempt)
    assert (answer.ok, answer.is_final) == (False, False)
    assert "RuntimeError" in answer.text


def test_an_answer_that_the_database_cannot_hold_is_kept_as_far_as_it_can(told: Delivery) -> None:
    lease = take(told.destination)
    gather(lease, timezone.now())
    attempt = begin(lease, timezone.now())
    assert attempt is not None
    record(attempt, Answer(False, "a\0b\ud800" + 1000 * "x"), 0.1, timezone.now())
    assert Message.objects.get().answers[0]["text"].startswith("ab?xx")


def test_a_message_that_kills_its_sender_is_given_up(told: Delivery) -> None:
    gather(take(told.destination), timezone.now())
    message = Message.objects.get()
    message.tries = 2 * failing.MAX_TRIES
    answer = send(Try(message, "plain", Secret.of({"url": "http://127.0.0.1:9/"})))
    assert (answer.ok, answer.is_final) == (False, True)


@pytest.mark.parametrize("several", [1, 30])
def test_a_text_that_cannot_be_composed_loses_no_message(
    several: int, sending: Sending, receiver: Receiver, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Content:
        raise ZeroDivisionError

    monkeypatch.setattr(composing, "of_delivery", broken)
    destination = make.destination()
    make.deliveries(make.policy(destination), destination, several)
    sending.offer([destination.pk])
    sent = receiver.wait(min(several, 10))
    settled(sending)
    assert all("boom" in request.json["text"] and "ZeroDivisionError" in request.json["text"] for request in sent)


def test_deliveries_whose_policy_is_gone_are_dropped(sending: Sending, receiver: Receiver, make: Make) -> None:
    destination = make.destination()
    gone, kept = make.policy(destination), make.policy(destination)
    make.deliveries(gone, destination, 3)
    make.delivery(kept, destination)
    gone.delete()
    sending.offer([destination.pk])
    receiver.wait(1)
    settled(sending)
    assert Delivery.objects.count() == len(receiver.received) == 1


def test_a_paused_destination_keeps_what_comes_and_resuming_sends_it(
    sending: Sending, told: Delivery, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[Any] = []
    monkeypatch.setattr(bells, "_send", rung.append)
    assert told.destination is not None
    actions.pause_destination(told.destination, user=None)
    sweeping.sweep()
    sending.offer([told.destination_id])
    settled(sending)
    assert receiver.received == []
    assert Delivery.objects.get().due_at is not None

    actions.resume_destination(told.destination, user=None)
    assert rung == [{told.destination_id}]
    sending.offer(rung[0])
    receiver.wait(1)


def test_a_thousand_at_once_are_ten_messages_and_one_for_the_rest(
    sending: Sending, receiver: Receiver, make: Make
) -> None:
    destination = make.destination()
    policy = make.policy(destination)
    make.deliveries(policy, destination, 1000, deployment=make.deployment())
    sending.offer([destination.pk])
    receiver.wait(10)
    settled(sending)
    assert len(receiver.received) == 10
    assert Delivery.objects.filter(held_for="burst").count() == 990

    # a minute later
    window = Subscription.objects.get()
    assert window.window_began_at is not None
    Delivery.objects.filter(held_for="burst").update(due_at=timezone.now())
    Subscription.objects.update(window_began_at=window.window_began_at - timedelta(minutes=1))
    sweeping.sweep()
    receiver.wait(11)
    settled(sending)
    last = receiver.received[10].json
    assert last["data"]["count"] == 990
    assert [(item["text"], item["count"]) for item in last["items"]] == [("new-thing/nightly", 990)]
    assert Counter(Message.objects.values_list("kind", "count", "state")) == {
        ("single", 1, "sent"): 10,
        ("burst", 990, "sent"): 1,
    }
    assert Delivery.objects.filter(message__state="sent").count() == 1000


def test_a_minute_schedule_that_keeps_failing_is_told_once_an_hour(make: Make) -> None:
    destination, deployment = make.destination(), make.deployment()
    policy = make.policy(destination)
    start = timezone.now()
    lease = take(destination)
    for minute in range(125):
        with time_machine.travel(start + timedelta(minutes=minute), tick=False):
            repeats = minute not in {0, 100}  # there was a success before
            make.delivery(policy, destination, deployment=deployment, repeats=repeats)
            while gather(lease, timezone.now()):
                pass
    told = [
        ((message.created_at - start) // timedelta(minutes=1), message.kind, message.count)
        for message in Message.objects.order_by("id")
    ]
    assert told == [(0, "single", 1), (60, "repeat", 59), (100, "single", 1), (120, "repeat", 59)]


def waits(receiver: Receiver, path: str, do: Callable[[], object]) -> float:
    """How long after an action the receiver had a request."""
    began = time.time()
    do()
    return receiver.wait(1, path=path)[0].at - began


@pytest.mark.parametrize(("number", "failures"), [(1, 0), (40, 0), (40, 3)])
def test_destinations_that_hang_delay_nobody_else(
    number: int, failures: int, sending: Sending, receiver: Receiver, make: Make
) -> None:
    receiver.reply = lambda request: HANG if request.path == "/hangs" else Reply()
    hanging = [make.destination(receiver.url + "/hangs", failures=failures) for _ in range(number)]
    policy = make.policy(*hanging)
    for one in hanging:
        make.delivery(policy, one)
    sending.offer([one.pk for one in hanging])
    receiver.wait(min(number, 16), path="/hangs")
    quick = make.destination(receiver.url + "/quick")
    make.delivery(make.policy(quick), quick)
    # Behind one that hangs it would be ten seconds; how quick it is, the benchmark holds.
    assert waits(receiver, "/quick", lambda: sending.offer([quick.pk])) <= 5.0


def test_a_stop_waits_for_what_is_being_sent_and_starts_nothing_new(
    sending: Sending, receiver: Receiver, make: Make
) -> None:
    destination = make.destination()
    make.deliveries(make.policy(destination), destination, 3)
    receiver.then(Reply(delay=0.5))
    sending.offer([destination.pk])
    receiver.wait(1)
    sending.close()
    assert not sending.wait(0.1)
    assert sending.wait(5)
    sending.offer([destination.pk])
    assert len(receiver.received) == 1
    assert Counter(Message.objects.values_list("state", flat=True)) == {"sent": 1, "waiting": 2}
    assert Destination.objects.get().lease_holder is None


def test_this_process_is_no_dead_sender() -> None:
    assert senders.own_id() == senders.own_id()
    assert senders.dead() == []


def test_a_file_of_another_machine_is_not_judged_and_removed_after_a_day(settings: Settings) -> None:
    folder = settings.HOME.root / "senders"
    folder.mkdir(exist_ok=True)
    foreign, old = folder / str(uuid7()), folder / str(uuid7())
    for path in (foreign, old):
        path.write_text("another-machine another-boot")  # nobody holds its lock
    os.utime(old, (time.time() - 2 * 86_400,) * 2)
    assert senders.dead() == []
    assert (foreign.exists(), old.exists()) == (True, False)
    senders.forget(UUID(foreign.name))
    assert not foreign.exists()
