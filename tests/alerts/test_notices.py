"""Notices over real sockets: what arrives, who does not answer, wrong addresses, addresses inside the network."""

import logging
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from typing import Any

import pytest

from chatcore.addresses import is_public
from chatcore.alerts import channel_kinds
from chatcore.alerts.notices import Channel, Notice, Sender
from chatcore.errors import InvalidInput
from chatcore.notifier import PRIVATE, plugin
from tests.receivers import EndlessMail, Mailbox, Webhooks, free_port, mailbox, webhooks

NOTICE = Notice(
    "firing", "[critical] Errors", "7 % of 120 calls failed.", "critical", "alert_1", {"value": 7.0, "rule": "Errors"}
)
SLACK = "https://hooks.slack.com/services/T0PLANTED0/B0PLANTED0/plantedPLANTED0123456789"
KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def hooks() -> Iterator[Webhooks]:
    with webhooks() as server:
        yield server


@pytest.fixture(scope="module")
def mails() -> Iterator[Mailbox]:
    with mailbox() as server:
        yield server


@pytest.fixture(autouse=True)
def empty(hooks: Webhooks, mails: Mailbox) -> None:
    hooks.got.clear()
    hooks.paths.clear()
    mails.got.clear()
    mails.to.clear()


def channel(kind: str, fields: Mapping[str, str], *, name: str = "c", public_only: bool = False) -> Channel:
    return Channel(name, name, kind, fields, public_only)


def hook(url: str, **more: Any) -> Channel:
    return channel("webhook", {"url": url}, **more)


def test_a_webhook_gets_the_words_and_the_facts_as_json(hooks: Webhooks) -> None:
    [outcome] = Sender().send([(hook(hooks.url("/a/b?c=d&e=%2F")), NOTICE)])
    assert (outcome.sent, outcome.words, hooks.paths) == (True, "Sent.", ["/a/b?c=d&e=%2F"])
    [got] = hooks.got
    assert {name: got[name] for name in ("title", "message", "state", "severity", "value", "rule")} == {
        "title": "[critical] Errors", "message": "7 % of 120 calls failed.", "state": "firing", "severity": "critical",
        "value": 7.0, "rule": "Errors",
    }  # fmt: skip


def test_a_mail_server_gets_a_mail_for_each_address(mails: Mailbox) -> None:
    fields = channel_kinds.checked("email", mails.fields() | {"to": "ops@example.com, ada@example.com"})
    [outcome] = Sender().send([(channel("email", fields), NOTICE)])
    assert outcome.sent
    assert sorted(mails.to) == [["ada@example.com"], ["ops@example.com"]]
    assert mails.got[0]["Subject"] == "[critical] Errors"
    assert mails.got[0]["From"] == "chatcore@example.com"
    assert mails.got[0].get_content().strip() == "7 % of 120 calls failed."


@pytest.mark.parametrize(
    "query", ["?a=1&a=2", "?flag=&x=1", "?sp=%2Ftriggers%2Frun&sig=a%2Bb", "?+a=b&-c=d&:e=f", "?cto=1&method=GET&x"]
)
def test_what_follows_a_webhooks_question_mark_arrives_as_it_was_typed(hooks: Webhooks, query: str) -> None:
    [outcome] = Sender().send([(hook(hooks.url(f"/a%2Fb{query}")), NOTICE)])
    assert (outcome.sent, hooks.paths) == (True, [f"/a%2Fb{query}"])


def test_slack_gets_the_words(hooks: Webhooks, monkeypatch: pytest.MonkeyPatch) -> None:
    made: Any = plugin("slack", {"url": SLACK}, asdict(NOTICE))
    monkeypatch.setattr(type(made), "webhook_url", hooks.url("/services"))
    monkeypatch.setattr(hooks, "answer", b"ok")
    assert made.notify(NOTICE.body, NOTICE.title, notify_type="failure")
    assert hooks.paths == ["/services/T0PLANTED0/B0PLANTED0/plantedPLANTED0123456789"]
    assert "7 % of 120 calls failed." in str(hooks.got)
    assert "[critical] Errors" in str(hooks.got)


@pytest.mark.parametrize(("word", "action"), [("firing", "trigger"), ("recovered", "resolve")])
def test_pagerduty_opens_an_incident_and_resolves_the_same(
    hooks: Webhooks, monkeypatch: pytest.MonkeyPatch, word: str, action: str
) -> None:
    made: Any = plugin("pagerduty", {"key": KEY}, asdict(NOTICE) | {"word": word})
    monkeypatch.setattr("apprise.plugins.pagerduty.PAGERDUTY_API_LOOKUP", {made.region_name: hooks.url("/v2/enqueue")})
    assert made.notify(NOTICE.body, NOTICE.title, notify_type="failure")
    [got] = hooks.got
    assert (got["routing_key"], got["event_action"], got["dedup_key"]) == (KEY, action, "alert_1")
    if word == "firing":
        assert got["payload"]["severity"] == "critical"
        assert "7 % of 120 calls failed." in got["payload"]["summary"]


def test_one_that_hangs_holds_up_nobody_else(hooks: Webhooks) -> None:
    sender = Sender(1.0)
    jobs = [
        (hook(hooks.url("/hang"), name="slow"), NOTICE),
        (hook(hooks.url("/fine"), name="fine"), NOTICE),
    ]
    began = time.monotonic()
    slow, fine = sender.send(jobs)
    assert time.monotonic() - began < 3
    assert (slow.sent, slow.words) == (False, "There was no answer within 1 seconds.")
    assert fine.sent


def test_a_webhook_that_drips_for_ever_is_told_by_its_status(hooks: Webhooks) -> None:
    began = time.monotonic()
    outcomes = Sender(8).send([(hook(hooks.url("/drip"), name=f"c{number}"), NOTICE) for number in range(5)])
    assert all(one.sent for one in outcomes)
    assert time.monotonic() - began < 7
    assert not [one for one in threading.enumerate() if one.name.startswith("notices")]


def test_an_endless_answer_is_not_read(hooks: Webhooks) -> None:
    hooks.written = 0
    [outcome] = Sender().send([(hook(hooks.url("/endless")), NOTICE)])
    assert outcome.sent
    assert hooks.written < 64 << 20


def test_a_mail_server_that_never_stops_answering_is_left() -> None:
    with closing(EndlessMail()) as endless:
        fields = {"host": "127.0.0.1", "port": str(endless.port), "security": "none", "user": "", "password": "",
                  "from": "a@example.com", "to": "b@example.com"}  # fmt: skip
        [outcome] = Sender().send([(channel("email", fields), NOTICE)])
    assert not outcome.sent
    assert endless.written < 64 << 20


def test_notices_of_one_channel_arrive_in_their_order(hooks: Webhooks) -> None:
    target = hook(hooks.url())
    notices = [Notice("firing" if number % 2 == 0 else "recovered", f"n{number}", "b") for number in range(6)]
    assert all(one.sent for one in Sender().send([(target, notice) for notice in notices]))
    assert [one["title"] for one in hooks.got] == [f"n{number}" for number in range(6)]


@pytest.mark.parametrize("status", [400, 404, 500])
def test_a_refusal_is_told_with_its_status(hooks: Webhooks, status: int) -> None:
    [outcome] = Sender().send([(hook(hooks.url(f"/status/{status}")), NOTICE)])
    assert (outcome.sent, outcome.words) == (False, f"The other side refused it with the status {status}.")


def test_redirects_are_not_followed(hooks: Webhooks) -> None:
    [outcome] = Sender().send([(hook(hooks.url("/to/elsewhere")), NOTICE)])
    assert (outcome.sent, hooks.paths) == (False, ["/to/elsewhere"])


@pytest.mark.parametrize("kind", ["webhook", "email"])
def test_where_nobody_listens_the_sentence_says_so(kind: str) -> None:
    port = str(free_port())
    mail = {"host": "127.0.0.1", "port": port, "security": "none", "user": "", "password": "",
            "from": "a@example.com", "to": "b@example.com"}  # fmt: skip
    fields = {"url": f"http://127.0.0.1:{port}/x"} if kind == "webhook" else mail
    [outcome] = Sender().send([(channel(kind, fields), NOTICE)])
    assert (outcome.sent, outcome.words) == (
        False, "The other side cannot be reached, or refused it. Check the address.",
    )  # fmt: skip


def test_a_mail_server_without_the_encryption_that_is_asked_for_is_no_success(mails: Mailbox) -> None:
    [outcome] = Sender().send([(channel("email", mails.fields() | {"security": "starttls"}), NOTICE)])
    assert (outcome.sent, mails.got) == (False, [])


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/x", "https://127.0.0.1/x", "https://localhost/x", "https://10.1.2.3/x", "https://[::1]/x",
        "https://169.254.169.254/latest", "https://[::ffff:192.168.1.1]/x", "https://0.0.0.0/x", "https://2130706433/x",
        "https://user:password@192.168.0.1:8443/x", "https://[fe80::1]/x", "https://100.64.0.1/x",
        "https://[64:ff9b::7f00:1]/x", "https://[2002:7f00:1::]/x", "https://[::127.0.0.1]/x", "https://0/x",
    ],
)  # fmt: skip
def test_a_teams_webhook_goes_to_no_address_inside_the_network(url: str) -> None:
    with pytest.raises(InvalidInput):
        channel_kinds.require_public("webhook", {"url": url})
    [outcome] = Sender().send([(hook(url, public_only=True), NOTICE)])
    assert not outcome.sent


def test_an_address_inside_the_network_is_looked_for_again_before_each_notice(hooks: Webhooks, mails: Mailbox) -> None:
    outcomes = Sender().send(
        [
            (hook(hooks.url(), public_only=True, name="a"), NOTICE),
            (channel("email", mails.fields(), public_only=True, name="b"), NOTICE),
        ]
    )
    assert not any(one.sent for one in outcomes)
    assert (hooks.got, mails.got) == ([], [])


def test_what_is_connected_to_is_looked_at_and_not_what_a_name_server_said_before() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0)
    port = listener.getsockname()[1]
    mail = {"host": "localhost", "port": str(port), "security": "none", "user": "", "password": "",
            "from": "a@example.com", "to": "b@example.com"}  # fmt: skip
    jobs = [
        (hook(f"https://localhost:{port}/x", public_only=True, name="a"), NOTICE),
        (channel("email", mail, public_only=True, name="b"), NOTICE),
        (hook("https://no-such-name.invalid/x", public_only=True, name="c"), NOTICE),
    ]
    outcomes = Sender().send(jobs)
    assert [one.words for one in outcomes[:2]] == [PRIVATE] * 2
    assert not outcomes[2].sent
    with pytest.raises(BlockingIOError):
        listener.accept()
    listener.close()


def test_a_proxy_is_not_asked_for_a_teams_webhook(hooks: Webhooks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", hooks.url())
    monkeypatch.setenv("https_proxy", hooks.url())
    [outcome] = Sender().send([(hook("https://127.0.0.1:9/x", public_only=True), NOTICE)])
    assert (outcome.sent, outcome.words, hooks.paths) == (False, PRIVATE, [])


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "192.0.0.170", "168.63.129.16",
        "100.64.0.1", "169.254.169.254", "::", "::1", "::7f00:1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::1",
        "2002:a00:1::", "2001:0:1::1", "fe80::1%eth0", "fc00::1", "ff02::1", "240.0.0.1", "", "name", "192.88.99.1/24",
    ],
)  # fmt: skip
def test_addresses_that_are_not_of_the_public_internet(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "8.8.8.8"])
def test_addresses_of_the_public_internet(address: str) -> None:
    assert is_public(address)


def test_a_public_address_is_fine() -> None:
    channel_kinds.require_public("webhook", {"url": "https://93.184.216.34/x"})
    channel_kinds.require_public("webhook", {"url": "https://no-such-name.invalid/x"})
    channel_kinds.require_public("slack", {"url": SLACK})


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("slack", {"url": "https://example.com/services/a/b/c"}), ("slack", {"url": ""}), ("slack", {}),
        ("slack", {"url": "https://hooks.slack.com.evil.example/services/T0AAAAAA/B0AAAAAA/aaaaaaaaaaaa"}),
        ("pagerduty", {"key": "short"}), ("pagerduty", {"key": "a b" * 10}), ("webhook", {"url": "ftp://example.com"}),
        ("webhook", {"url": "https://"}), ("webhook", {"url": "https://example.com:99999/"}),
        ("webhook", {"url": "https://example.com/a b"}), ("webhook", {"url": "https://example.com/\nHost: x"}),
        ("webhook", {"url": "https://127.0.0.1\\.x/hook"}), ("webhook", {"url": "https://example.com/a\\b"}),
        ("webhook", {"url": "https://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460/"}),
        ("webhook", {"url": "https://127\u30020\u30020\u30021/"}), ("webhook", {"url": "https://a%62c.example/"}),
        ("webhook", {"url": "https://[::1/"}), ("webhook", {"url": "x" * 3000}), ("phone", {"number": "1"}),
        ("email", {"host": "a b", "from": "a@example.com", "to": "b@example.com"}),
        ("email", {"host": "a", "port": "0", "from": "a@example.com", "to": "b@example.com"}),
        ("email", {"host": "a", "port": "x", "from": "a@example.com", "to": "b@example.com"}),
        ("email", {"host": "a", "from": "nobody", "to": "b@example.com"}),
        ("email", {"host": "a", "from": "a@example.com", "to": "b@example.com, x"}),
        ("email", {"host": "a", "from": "a@example.com\nBcc: c@example.com", "to": "b@example.com"}),
        ("email", {"host": "a", "from": "a@example.com", "to": ",".join(["b@example.com"] * 21)}),
        ("email", {"host": "a", "from": "a@example.com", "to": "b@example.com", "user": "u"}),
        ("email", {"host": "a", "from": "a@example.com", "to": "b@example.com", "security": "x"}),
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_refused_with_a_sentence(kind: str, fields: dict[str, str]) -> None:
    with pytest.raises(InvalidInput) as refused:
        channel_kinds.checked(kind, fields)
    assert str(refused.value).endswith(".")


def test_what_is_shown_of_an_address_gives_nothing_away() -> None:
    mail = {"host": "smtp.example.com", "to": "ops@example.com", "password": "planted"}
    assert channel_kinds.shown("slack", {"url": SLACK}) == "hooks.slack.com/…"
    assert channel_kinds.shown("pagerduty", {"key": KEY}) == "key …cdef"
    assert channel_kinds.shown("webhook", {"url": "https://u:planted@example.com:8/p?k=planted"}) == ("example.com:8/…")
    assert channel_kinds.shown("webhook", {"url": "https://example.com"}) == "example.com/…"
    assert channel_kinds.shown("email", mail) == "ops@example.com by smtp.example.com"


def test_no_address_stands_in_a_log_or_a_repr(hooks: Webhooks, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = hook(hooks.url("/status/500?token=planted-9876543210"))
    bad = channel("pagerduty", {"key": ""}, name="bad")
    gone = hook(f"http://127.0.0.1:{free_port()}/planted-9876543210", name="gone")
    outcomes = Sender().send([(secret, NOTICE), (bad, NOTICE), (gone, NOTICE)])
    assert not any(one.sent for one in outcomes)
    said = f"{caplog.text} {outcomes} {secret!r} {gone!r}"
    assert "planted" not in said
    assert "apprise" not in caplog.text
