"""What Slack is sent, and what its answers mean."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from pytest_django import Settings

from notifications.content import Content, Item
from notifications.outgoing import Reply as Came
from notifications.transports import transport
from notifications.transports.http import http_answer, retry_after
from notifications.transports.slack import message
from tests.notifications.receiving import Receiver, Reply

NOW = datetime(2022, 6, 27, 20, 21, 37, tzinfo=UTC)
RUN = Content(
    id="m1",
    event="FAILED",
    tone="bad",
    title="fuzzy-leopard of new-thing failed",
    text="The fuzzy-leopard run of the new-thing flow entered a failed state at 2022-06-27 16:21:37 EDT\nKeyError: 'x'",
    time=NOW.isoformat(),
    log_lines=["one", "two"],
    url="https://orchestrator.example.com/runs/1/",
    url_label="Open the run",
    data={"policy": {"id": "p", "name": "Failures"}},
)


def said(content: Content) -> list[str]:
    """The text of each block."""
    blocks: list[dict[str, Any]] = message(content)["blocks"]
    return [block["text"]["text"] if block["type"] == "section" else block["elements"][0]["text"] for block in blocks]


def changed(**changes: Any) -> Content:
    return Content(**{field: getattr(RUN, field) for field in RUN.__struct_fields__} | changes)


def test_a_run_reads_as_it_should() -> None:
    assert said(RUN) == [
        f"❌ {RUN.text}",
        "```\none\ntwo\n```",
        "<https://orchestrator.example.com/runs/1/|Open the run>",
        "<!date^1656361297^{date_short_pretty} {time_secs}|2022-06-27 20:21:37 UTC> · Policy Failures",
    ]
    assert message(RUN)["text"] == "\n".join(said(RUN)[:3])
    assert all(block["text"]["verbatim"] for block in message(RUN)["blocks"][:3])


@pytest.mark.parametrize(("tone", "mark"), [("bad", "❌"), ("warning", "⚠️"), ("good", "✅"), ("neutral", "🔔")])
def test_a_tone_is_a_shape(tone: str, mark: str) -> None:
    assert said(changed(tone=tone))[0].startswith(mark)


def test_a_group_lists_what_happened_how_often() -> None:
    items = [Item(text="etl/nightly", count=1200, url="https://o.example.com/d/1/"), Item(text="report <a>")]
    assert said(changed(items=items, log_lines=[]))[1] == (
        "• 1,200 × <https://o.example.com/d/1/|etl/nightly>\n• report &lt;a&gt;"
    )


def test_nobody_is_mentioned_by_a_text_from_outside() -> None:
    hostile = "<!channel> <@U1> <https://evil.example|click> & *b*"
    shown = "&lt;!channel&gt; &lt;@U1&gt; &lt;https://evil.example|click&gt; &amp; *b*"
    content = changed(
        text=hostile,
        log_lines=[hostile],
        items=[Item(text=hostile, count=2, url="https://o.example.com/?a=1&b=<x>|y")],
        url_label=hostile,
        data={"policy": {"name": hostile}},
    )
    first, items, logs, link, context = said(content)
    assert first == f"❌ {shown}"
    assert logs == f"```\n{shown}\n```"
    assert items == f"• 2 × <https://o.example.com/?a=1&amp;b=&lt;x&gt;%7Cy|{shown}>"
    assert link.endswith(f"|{shown}>")
    assert context.endswith(f"Policy {shown}")
    assert "<!channel>" not in json.dumps(message(content))


def test_log_lines_cannot_leave_their_block() -> None:
    assert said(changed(log_lines=["a ``` <!here> ```", "b\nc"]))[1] == "```\na ''' &lt;!here&gt; '''\nb c\n```"


@pytest.mark.parametrize("letter", ["a", "&", "<", "é", "🐆", "a\n", "& \n"])
def test_slack_s_limits_hold(letter: str) -> None:
    made = message(
        changed(
            text=letter * 500_000,
            log_lines=[letter * 5_000] * 100,
            items=[Item(text=letter * 5_000, count=5, url="https://x/" + "&" * 200)] * 10,
        )
    )
    assert len(made["text"]) <= 40_000
    assert len(made["blocks"]) <= 50
    for block in made["blocks"]:
        text = block["text"]["text"] if block["type"] == "section" else block["elements"][0]["text"]
        assert 0 < len(text) <= 3_000
        unescaped = text.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")
        assert "&" not in unescaped


def test_a_long_text_is_split_at_lines() -> None:
    pieces = said(changed(text="\n".join(f"line {number:04}" for number in range(500)), log_lines=[], url=""))[:-1]
    assert len(pieces) == 2
    assert pieces[1].startswith("line ")
    assert pieces[1].endswith("line 0499")


def test_the_last_log_lines_are_kept() -> None:
    assert (
        said(changed(log_lines=[f"{number} {'x' * 290}" for number in range(20)]))[1].splitlines()[-2].startswith("19 ")
    )


def test_the_least_that_can_be_said() -> None:
    content = Content(id="m", event="TEST", tone="neutral", title="A test", text="", time="")
    assert said(content) == ["🔔 A test"]


SLACK_ANSWERS = [
    (200, "ok", True, False),
    (400, "invalid_payload", False, True),
    (400, "invalid_token", False, True),
    (403, "action_prohibited", False, True),
    (404, "no_service", False, True),
    (404, "channel_not_found", False, True),
    (410, "channel_is_archived", False, True),
    (408, "", False, False),
    (425, "", False, False),
    (429, "rate_limited", False, False),
    (500, "rollup_error", False, False),
    (
        502,
        "<html><head><title>502 Bad &amp; Gateway</title></head><body>" + "x" * 1000 + "</body></html>",
        False,
        False,
    ),
    (503, "", False, False),
]


@pytest.mark.parametrize(("status", "words", "ok", "is_final"), SLACK_ANSWERS)
def test_answers_are_told_in_slack_s_words(
    receiver: Receiver, status: int, words: str, ok: bool, is_final: bool
) -> None:
    receiver.reply = Reply(status, words.encode())
    slack = transport("slack")
    answer = slack.send(slack.parse(f"{receiver.url}/services/T/B/x"), RUN)
    assert (answer.ok, answer.is_final) == (ok, is_final)
    expected = {408: "Request Timeout", 425: "Too Early", 502: "502 Bad & Gateway", 503: "Service Unavailable"}
    assert answer.text == f"{status} {expected.get(status, words)}"


def test_a_redirect_is_told_without_its_query(receiver: Receiver) -> None:
    receiver.reply = Reply(302, b"", {"Location": "https://login.example.com/in?token=s3cret"})
    slack = transport("slack")
    answer = slack.send(slack.parse(f"{receiver.url}/services/T/B/x"), RUN)
    assert answer.text == "302 It redirects to https://login.example.com/in; redirects are not followed."
    assert answer.is_final


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30.0),
        (" 0 ", 0.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
        ("Mon, 27 Jun 2022 20:22:07 -0000", 30.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("٣", None),
        ("9" * 5000, 999999999999.0),
        ("Mon, 27 Jun 99999 20:22:07 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_and_as_a_date(value: str, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


def test_retry_after_comes_with_the_answer() -> None:
    answer = http_answer(Came(429, "rate_limited", {"retry-after": "30"}))
    assert (answer.text, answer.retry_after_seconds, answer.is_final) == ("429 rate_limited", 30.0, False)


def test_a_webhook_that_is_not_whole_is_refused() -> None:
    for address in (
        "https://hooks.slack.com/",
        "https://hooks.slack.com/services/T/B",
        "https://hooks.slack.com/x/T/B/c",
    ):
        with pytest.raises(ValidationError, match="not a whole webhook URL"):
            transport("slack").parse(address)


def test_the_summary_shows_what_slack_lists_a_webhook_by() -> None:
    slack = transport("slack")
    config = slack.parse("https://hooks.slack.com/services/T024/B031/s3cretT0ken")
    assert slack.summary(config) == "hooks.slack.com/services/T024/B031/…"
    assert slack.summary(slack.parse("https://chat.example.com/hooks/s3cretT0ken")) == "chat.example.com/…"


def test_compatible_receivers_may_be_inside_where_that_is_allowed(settings: Settings) -> None:
    with pytest.raises(ValidationError, match="ORCHESTRATOR_ALLOW_PRIVATE_ADDRESSES"):
        transport("slack").parse("http://mattermost:8065/hooks/abc")
    settings.ALLOW_PRIVATE_ADDRESSES = True
    assert transport("slack").parse("http://mattermost:8065/hooks/abc") == {"url": "http://mattermost:8065/hooks/abc"}
