"""Retention: what is older than its time goes, and nothing else; what the rollups counted stays."""

from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from chatcore.care import retention
from chatcore.care.keeper import LEASE, Keeper
from chatcore.care.retention import Retention
from chatcore.conversations.history import Filters, History
from chatcore.db import leases
from chatcore.db.tables import (
    Attachment,
    AuditEntry,
    Conversation,
    CostCorrection,
    LimitHit,
    Message,
    MessageAttachment,
    Rating,
    Tenant,
    Turn,
    UsageDaily,
    UsageMetric,
)
from chatcore.errors import Forbidden
from chatcore.ids import new_id
from chatcore.usage import Filter, Usage
from chatcore.usage.rollup_jobs import RollupJobs
from tests.care.conftest import Place, ago
from tests.conftest import add_person


def test_nothing_goes_where_nothing_was_set(any_place: Place) -> None:
    any_place.chat(any_place.ada, 4_000, 4_000)
    any_place.call(any_place.ada, 4_000)
    assert Retention(any_place.db).run() == []
    assert any_place.count(Conversation) == any_place.count(UsageMetric) == 1


def test_a_conversation_that_nobody_goes_on_with_is_erased_whole(any_place: Place) -> None:
    place = any_place
    old, _ = place.chat(place.ada, 100, 99)
    pinned, _ = place.chat(place.bob, 95)
    place.db.write(
        lambda s: s.execute(update(Conversation).where(Conversation.id == pinned).values(pinned_at=ago(1))) and None
    )
    young, _ = place.chat(place.ada, 10, 9)
    place.keep(message_days=90)
    (removed,) = Retention(place.db).run()
    assert (removed.conversations, removed.messages, removed.calls) == (2, 0, 0)
    left = place.db.read(lambda session: session.scalars(select(Conversation.id)).all())
    assert old not in left
    assert left == [young], "a pin keeps nothing"
    assert place.count(Message) == 2


def test_in_one_that_goes_on_old_messages_lose_their_words(any_place: Place) -> None:
    place = any_place
    chat, ids = place.chat(place.ada, 100, 99, 5, 4, words="secretword")
    place.keep(message_days=90)
    (removed,) = Retention(place.db).run()
    assert (removed.conversations, removed.messages) == (0, 2)
    first, second, third = (place.message(one) for one in ids[:3])
    assert first.content == second.content == "Removed after 90 days."
    assert first.parts == second.parts == []
    assert first.meta == {"trace_id": "trace_1", "removed": {"after_days": 90}}
    assert third.content.startswith("secretword")
    row = place.conversation(chat)
    assert "secretword" not in row.title + row.title_words
    assert row.title.startswith("Chat of ")
    assert Retention(place.db).run() == [], "what is removed is removed once"


def test_a_removed_message_is_not_found_any_more(any_place: Place) -> None:
    place = any_place
    _, ids = place.chat(place.ada, 100, 5, words="zebra")
    place.keep(message_days=90)
    find = partial(History(place.db).find, place.ada, "zebra", Filters())
    assert {one.message_id for one in find().hits} == {*ids, None}, "in both messages and in the title"
    Retention(place.db).run()
    assert [one.message_id for one in find().hits] == ids[1:]


def test_what_was_made_of_old_words_goes_with_them(place: Place) -> None:
    chat, ids = place.chat(place.ada, 100, 99, 1)
    attachment = new_id("att")

    def plant(session: Session) -> None:
        who = {"tenant_id": place.ada.tenant_id, "user_id": place.ada.user_id}
        session.add(
            Attachment(id=attachment, sha256="00", size=1, kind="text", media_type="text/plain", name="a", **who)
        )
        session.flush()
        tenant = place.ada.tenant_id
        session.add(
            MessageAttachment(message_id=ids[0], attachment_id=attachment, tenant_id=tenant, conversation_id=chat)
        )
        session.add(
            Rating(id="r", conversation_id=chat, message_id=ids[1], model="gpt", stars=5, question="q", reply="a",
                   comment="good", **who)
        )  # fmt: skip
        session.execute(update(Conversation).values(summary={"text": "words", "up_to": ids[1]}))

    place.db.write(plant)
    place.keep(message_days=90)
    Retention(place.db).run()
    assert place.count(MessageAttachment) == 0, "so that the file is collected"
    rating = place.db.read(lambda session: session.get_one(Rating, "r"))
    assert (rating.question, rating.reply, rating.comment, rating.stars) == (None, None, "good", 5)
    row = place.conversation(chat)
    assert row.summary is None


def test_a_title_that_a_person_chose_stays(place: Place) -> None:
    chat, _ = place.chat(place.ada, 100, 1)
    place.change(update(Conversation).values(title="Mine", title_source="person"))
    place.keep(message_days=90)
    Retention(place.db).run()
    row = place.conversation(chat)
    assert row.title == "Mine"


def test_a_running_turn_is_left_alone(any_place: Place) -> None:
    place = any_place
    chat, ids = place.chat(place.ada, 100, 100)

    def run(session: Session) -> None:
        whose = {"tenant_id": place.ada.tenant_id, "user_id": place.ada.user_id}
        session.add(
            Turn(id="turn", conversation_id=chat, message_id=ids[1], status="running", owner_host="h", owner_pid=1,
                 owner_started="x", **whose)
        )  # fmt: skip

    place.db.write(run)
    place.keep(message_days=90)
    assert Retention(place.db).run() == []
    assert place.conversation(chat)


def test_calls_go_and_what_was_counted_of_them_stays(any_place: Place) -> None:
    place = any_place
    for age in (200, 150, 101, 10, 1):
        place.call(place.ada, age)
    gone = place.call(place.ada, 160, cost=None)
    place.db.write(lambda s: s.add(CostCorrection(id="c", tenant_id="t", usage_id=gone, before_source="none")))
    place.db.write(lambda s: s.add(LimitHit(minute=ago(150), tenant_id=place.ada.tenant_id, user_id="u", tier="free",
                                            kind="requests", model="gpt")))  # fmt: skip
    counted = select(func.sum(UsageDaily.calls), func.sum(UsageDaily.cost_nano_usd))
    before = place.db.read(lambda session: session.execute(counted).one())
    place.keep(ledger_days=100)
    (removed,) = Retention(place.db).run()
    assert removed.calls == 4
    assert place.count(UsageMetric) == 2
    assert place.count(CostCorrection) == place.count(LimitHit) == 0
    assert place.db.read(lambda session: session.execute(counted).one()) == before
    since = place.db.read(lambda session: session.scalar(select(Tenant.ledger_since)))
    assert since is not None
    assert (since.hour, since.minute) == (0, 0)
    assert Retention(place.db).run() == []


def test_a_call_that_no_rollup_counts_yet_stays(any_place: Place) -> None:
    any_place.call(any_place.ada, 200, rolled=False)
    any_place.keep(ledger_days=100)
    assert Retention(any_place.db).run() == []
    assert any_place.count(UsageMetric) == 1


def test_calls_stay_while_days_are_counted_anew(place: Place) -> None:
    place.call(place.ada, 200)
    place.keep(ledger_days=100)
    place.change(update(Tenant).values(timezone="Asia/Kathmandu"))
    assert Retention(place.db).run() == []
    place.change(update(Tenant).values(days_zone="Asia/Kathmandu"))
    assert Retention(place.db).run()[0].calls == 1


def test_a_time_zone_that_changes_meanwhile_stops_it(any_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its days are not those by which the end of the ledger was reckoned."""
    place = any_place
    monkeypatch.setattr(retention, "_ROWS", 2)
    for age in range(91, 97):
        place.call(place.ada, age)
    place.keep(ledger_days=90)

    def work(session: Session) -> None:
        session.execute(update(Tenant).where(Tenant.id == place.admin.tenant_id).values(timezone="Asia/Tokyo"))

    monkeypatch.setattr(retention.time, "sleep", lambda _: place.db.write(work))
    (removed,) = Retention(place.db).run()
    assert (removed.calls, place.count(UsageMetric)) == (2, 4)
    monkeypatch.undo()
    RollupJobs(place.db).keep_up()
    (removed,) = Retention(place.db).run()
    assert (removed.calls, place.count(UsageMetric)) == (4, 0)
    whole = Filter(ago(200), ago(0))
    assert all(Usage(place.db).breakdown(place.admin, whole, by)["calls"].sum() == 6 for by in ("model", "user"))


def test_made_up_calls_leave_the_sums_when_they_go(any_place: Place) -> None:
    place = any_place
    for age in (100, 99, 98):
        place.call(place.ada, age, is_demo=age != 99)
    place.keep(ledger_days=90)
    (removed,) = Retention(place.db).run()
    assert removed.calls == 3
    totals = Usage(place.db).totals(place.admin, Filter(ago(200), ago(0)))
    assert (totals.calls, totals.demo, totals.cost_nano_usd) == (1, 0, 1_000)
    assert RollupJobs(place.db).check() == []


def test_another_tenant_keeps_everything(any_place: Place) -> None:
    place = any_place
    other = add_person(place.db, "eve", tenant="Other")
    place.chat(other, 100, 99)
    place.call(other, 200)
    place.keep(message_days=90, ledger_days=100)
    assert Retention(place.db).run() == []
    assert place.count(Conversation) == place.count(UsageMetric) == 1


def test_what_would_go_is_counted_before_it_goes(any_place: Place) -> None:
    place = any_place
    place.chat(place.ada, 100, 99)
    place.chat(place.ada, 100, 5)
    place.call(place.ada, 200)
    retention = Retention(place.db)
    seen = retention.preview(place.admin, 90, 100)
    assert (seen.conversations, seen.messages, seen.calls) == (1, 1, 1)
    assert not retention.preview(place.admin, None, None).anything
    assert retention.due() == []
    place.keep(message_days=90, ledger_days=100)
    assert retention.due() == retention.run()
    with pytest.raises(Forbidden):
        retention.preview(place.ada, 1, None)


def test_what_went_stands_in_the_audit_log(place: Place) -> None:
    place.chat(place.ada, 100, 99)
    place.keep(message_days=90)
    Retention(place.db).run()
    entry = place.db.read(lambda session: session.scalars(select(AuditEntry)).one())
    assert (entry.action, entry.user_id) == ("retention.run", None)
    assert entry.details == {"conversations": 1, "messages": 0, "calls": 0}


def test_one_process_does_it_at_a_time(place: Place) -> None:
    place.chat(place.ada, 100, 99)
    place.keep(message_days=90)
    place.db.write(lambda session: leases.take(session, LEASE, "another", 60))
    assert not Keeper(place.db).round()
    assert place.count(Conversation) == 1
    place.db.write(lambda session: leases.release(session, LEASE, "another"))
    assert Keeper(place.db).round()
    assert place.count(Conversation) == 0


ages = st.lists(st.integers(0, 200), min_size=1, max_size=5)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ages, max_size=4), st.integers(1, 150))
def test_exactly_what_is_older_goes(place: Place, chats: list[list[int]], days: int) -> None:
    made = [(place.chat(place.ada, *(age + 0.5 for age in sorted(each, reverse=True))), sorted(each)) for each in chats]
    place.keep(message_days=days)
    Retention(place.db).run()
    left = place.db.read(lambda session: set(session.scalars(select(Conversation.id))))
    for (conversation_id, ids), each in made:
        assert (conversation_id in left) == (each[0] < days)
        if conversation_id in left:
            removed = [place.message(one).content.startswith("Removed") for one in ids]
            assert removed == [age >= days for age in reversed(each)]
