"""Notices on their way, with two processes: each once, in their order, and none that is overtaken."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from chatcore.alerts import delivery, looks
from chatcore.alerts.notices import Channel, Notice, Outcome, Sender
from chatcore.alerts.rules import Rule
from chatcore.config import Settings
from chatcore.db import Database
from chatcore.db.tables import Alert
from tests.alerts.alerting import START, House
from tests.receivers import Webhooks, webhooks

FAILED = Outcome(False, "It could not be sent.")
LATE = Outcome(False, "There was no answer within 10 seconds.", late=True)
SENT = Outcome(True, "Sent.")


class Post(Sender):
    """Keeps what is to be sent, and says what it is told to say."""

    def __init__(self) -> None:
        super().__init__()
        self.outcome = SENT
        self.sent: list[tuple[str, str]] = []

    def send(self, jobs: Sequence[tuple[Channel, Notice]]) -> list[Outcome]:
        """What arrives, by channel and word; one that is late has arrived."""
        if self.outcome is not FAILED:
            self.sent += [(channel.name, notice.word) for channel, notice in jobs]
        return [self.outcome for _ in jobs]

    def words(self) -> list[str]:
        return [word for _, word in self.sent]


@pytest.fixture(scope="module")
def hooks() -> Iterator[Webhooks]:
    with webhooks() as server:
        yield server


@pytest.fixture
def post() -> Post:
    return Post()


@pytest.fixture
def house(any_database: Database, settings: Settings, post: Post) -> Iterator[House]:
    house = House(any_database, settings)
    house.without_defaults()
    for side in house.sides:
        side.sender = post
    yield house
    house.close()


def queue(house: House) -> Rule:
    """A rule that fires, and nobody was told yet."""
    made = Rule("Errors", "error_rate", 5, 60, min_calls=5, channels=(house.hook("http://127.0.0.1:9/x"),))
    made = replace(made, id=house.alerts.save_rule(house.root, made))
    house.calls(10, "error")
    house.alerts.look(house.clock.now(), float("inf"))
    return made


def fire(house: House) -> Rule:
    """The same, after its channel was tried."""
    made = queue(house)
    house.rounds()
    return made


def recover(house: House, rounds: int = 1) -> None:
    house.clock.forward(61)
    house.calls(20)
    house.rounds(rounds)


def told(house: House) -> list[tuple[str, str]]:
    found = [*house.alerts.firing(house.root), *house.alerts.history(house.root)]
    return [(one.word, one.state) for one in found[0].told]


def test_what_is_over_before_it_could_be_sent_is_not_told_at_all(house: House, post: Post) -> None:
    post.outcome = FAILED
    fire(house)
    post.outcome = SENT
    recover(house, 20)
    assert post.sent == []
    assert told(house) == [("firing", "dropped")]
    assert house.alerts.history(house.root)[0].told[0].words == "It was over before it could be sent."


def test_a_channel_that_may_have_got_the_first_notice_is_told_that_it_is_over(house: House, post: Post) -> None:
    post.outcome = LATE
    fire(house)
    post.outcome = SENT
    recover(house, 20)
    assert post.words() == ["firing", "recovered"]
    assert told(house) == [("firing", "dropped"), ("recovered", "sent")]


def test_that_it_is_over_waits_until_it_is_known_what_came_of_the_first_notice(house: House, post: Post) -> None:
    queue(house)
    [claimed] = house.alerts.claim(house.clock.now())
    house.clock.forward(61)
    house.calls(20)
    house.sides[1].look(house.clock.now(), float("inf"))
    assert house.sides[1].claim(house.clock.now()) == []
    house.alerts.record([(claimed, SENT)], house.clock.now())
    [over] = house.sides[1].claim(house.clock.now())
    assert over.notice.word == "recovered"


def test_where_the_first_notice_failed_meanwhile_nothing_more_is_sent(house: House, post: Post) -> None:
    queue(house)
    [claimed] = house.alerts.claim(house.clock.now())
    house.clock.forward(61)
    house.calls(20)
    house.alerts.look(house.clock.now(), float("inf"))
    house.alerts.record([(claimed, FAILED)], house.clock.now())
    house.rounds(20)
    assert post.sent == []
    assert told(house) == [("firing", "dropped")]


def test_what_one_process_sends_no_other_is_given(house: House) -> None:
    queue(house)
    assert len(house.alerts.claim(house.clock.now())) == 1
    assert house.sides[1].claim(house.clock.now()) == []
    house.clock.forward(119)
    assert house.sides[1].claim(house.clock.now()) == []
    house.clock.forward(2)
    assert len(house.sides[1].claim(house.clock.now())) == 1, "who claimed it has died"


def test_a_look_that_began_before_a_notice_was_sent_is_dropped(house: House) -> None:
    fire(house)
    before = house.db.read(lambda session: looks._known(session, house.clock.now()))
    [alert] = before.open.values()
    later = {**alert.details, "notices": []}
    house.db.write(lambda session: session.execute(update(Alert).values(details=later)))
    assert not house.db.write(lambda session: looks._write(session, before, [], house.clock.now()))


@pytest.mark.parametrize("end", ["delete", "disable", "change"])
def test_what_waits_to_be_sent_is_dropped_when_its_rule_is_gone(house: House, post: Post, end: str) -> None:
    post.outcome = FAILED
    made = fire(house)
    if end == "delete":
        house.alerts.delete_rule(house.root, made.id)
    else:
        changed = replace(made, enabled=False) if end == "disable" else replace(made, metric="timeout_rate")
        house.alerts.save_rule(house.root, changed)
    post.outcome = SENT
    house.rounds(20)
    assert post.sent == []
    assert told(house) == [("firing", "dropped")]
    assert house.alerts.history(house.root)[0].ended


def test_notices_that_cannot_be_read_hold_up_no_others(house: House, post: Post) -> None:
    post.outcome = FAILED
    fire(house)
    house.db.write(lambda session: session.execute(update(Alert).values(details={"notices": [{"state": "queued"}]})))
    post.outcome = SENT
    made = Rule("Timeouts", "timeout_rate", 1, 60, min_calls=5, channels=(house.hook("http://127.0.0.1:9/y"),))
    house.alerts.save_rule(house.root, made)
    house.clock.forward(61)
    house.calls(10, "timeout")
    house.rounds(2)
    assert post.words()[:1] == ["firing"]


def test_the_notices_of_many_channels_are_all_kept(house: House, post: Post) -> None:
    ids = tuple(house.hook("http://127.0.0.1:9/x") for _ in range(50))
    house.alerts.save_rule(house.root, Rule("Errors", "error_rate", 5, 60, min_calls=5, channels=ids))
    house.calls(10, "error")
    house.rounds()
    recover(house, 2)
    assert post.words() == ["firing"] * 50 + ["recovered"] * 50


OUTCOMES = st.lists(st.sampled_from([SENT, FAILED, LATE]), max_size=12)


@given(outcomes=OUTCOMES, over_after=st.integers(0, 8))
def test_nobody_hears_that_it_fires_after_they_heard_that_it_is_over(outcomes: list[Outcome], over_after: int) -> None:
    """One channel, by the values alone: what arrives is nothing, `firing`, or `firing` and then `recovered`."""
    details: dict[str, Any] = {}
    delivery.queue(details, ["c"], "firing", "b", 1, START)
    arrived: list[str] = []
    for number, outcome in enumerate([*outcomes, *[SENT] * 12]):
        if number == over_after:
            delivery.queue(details, ["c"], "recovered", "b", 1, START)
        for one in delivery._first_of_channels(details):
            if outcome is not FAILED:
                arrived.append(one["word"])
            after = delivery._after(one, outcome, START)
            notices = [after if other["id"] == one["id"] else other for other in details["notices"]]
            details["notices"] = delivery._overtaken(notices)
    assert arrived == sorted(arrived), "firing before recovered"
    assert "firing" in arrived or not arrived
    assert delivery.next_due(details) is None


def test_a_row_of_the_database_says_when_the_next_is_due(house: House, post: Post) -> None:
    def due() -> datetime | None:
        return house.db.read(lambda session: session.scalars(select(Alert.due_at)).one())

    post.outcome = FAILED
    fire(house)
    assert due() is not None
    post.outcome = SENT
    house.rounds(2)
    assert due() is None
