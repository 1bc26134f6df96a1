"""The receiver and the mailbox of these tests do what they say."""

import smtplib

import requests

from tests.notifications.making import Make
from tests.notifications.receiving import Mailbox, Receiver, Reply


def test_the_receiver_answers_what_it_is_told(receiver: Receiver, make: Make) -> None:
    receiver.then(Reply(429, b"slow down", {"Retry-After": "3"}))
    assert requests.post(make.address, data=b"{}", timeout=5).headers["Retry-After"] == "3"
    assert requests.post(make.address, json={"a": 1}, timeout=5).text == "ok"
    assert receiver.wait(2, path="/")[1].json == {"a": 1}
    assert make.delivery(make.policy(), make.destination()).subject == make.flow().pk


def test_the_mailbox_keeps_what_comes(mailbox: Mailbox) -> None:
    with smtplib.SMTP("127.0.0.1", mailbox.port) as smtp:
        smtp.sendmail("a@example.org", ["b@example.org"], "Subject: hello\r\n\r\nworld")
    assert mailbox.wait(1)[0]["Subject"] == "hello"
