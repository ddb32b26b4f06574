"""The rounds: a clock that is wrong removes nothing, and what fails for one holds up nobody else."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from chatcore.accounts import erasure
from chatcore.care import clock, keeper, people, retention
from chatcore.care.keeper import LEASE, Keeper
from chatcore.care.retention import Retention
from chatcore.db import Database, leases
from chatcore.db.tables import Conversation, Setting, Tenant, UsageMetric, User, utcnow
from tests.care.conftest import Place, ago
from tests.conftest import add_person


class Time:
    """What the machine's clock says, beside the time that really passes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wrong = timedelta()
        self.passed = timedelta()
        for module in (keeper, retention):
            monkeypatch.setattr(module, "utcnow", self.now)
        monkeypatch.setattr(keeper.clock, "Jumps", lambda: clock_jumps(self.now, lambda: self.passed.total_seconds()))

    def now(self) -> datetime:
        return utcnow() + self.passed + self.wrong

    def run(self, **time: float) -> None:
        """Let time pass."""
        self.passed += timedelta(**time)


clock_jumps = clock.Jumps


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


def chats(place: Place) -> int:
    return place.count(Conversation)


def test_by_a_clock_that_went_ahead_nothing_is_removed(
    any_place: Place, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    place = any_place
    place.keep(message_days=90, ledger_days=100)
    place.chat(place.ada, 1, 1)
    place.call(place.ada, 1)
    work = Keeper(place.db)
    work.round()
    time.wrong = timedelta(days=400)
    work.round()
    assert "the clock may be wrong" in caplog.text
    Keeper(place.db).round()  # a process that was started since does not know that it jumped
    assert (chats(place), place.count(UsageMetric)) == (1, 1)
    time.wrong = timedelta()
    caplog.clear()
    place.chat(place.ada, 95, 95)
    work.round()
    assert chats(place) == 1, "once it is right, what is old goes"
    assert not caplog.records


def test_a_jump_by_less_than_an_instance_may_rest_is_seen_while_it_runs(place: Place, time: Time) -> None:
    place.keep(message_days=20)
    place.chat(place.ada, 1, 1)
    work = Keeper(place.db)
    work.round()
    time.wrong = timedelta(days=30)
    work.round()
    assert chats(place) == 1
    time.run(days=3.1)
    work.round()
    assert chats(place) == 0, "nobody put it back for three days, so it is right"


def test_a_clock_that_is_wrong_from_the_first_start_on_is_seen_by_what_there_is(place: Place, time: Time) -> None:
    place.keep(message_days=90)
    place.chat(place.ada, 1, 1)
    time.wrong = timedelta(days=400)
    Keeper(place.db).round()
    assert chats(place) == 1


def test_an_instance_that_nobody_uses_goes_on_removing(place: Place, time: Time) -> None:
    place.keep(message_days=90)
    place.chat(place.ada, 1, 1)
    work = Keeper(place.db)
    for _ in range(9):
        work.round()
        time.run(days=10)
    assert chats(place) == 1
    time.run(days=1)
    work.round()
    assert chats(place) == 0


def test_one_that_was_off_for_long_begins_after_three_days(place: Place, time: Time) -> None:
    place.keep(message_days=90)
    place.chat(place.ada, 1, 1)
    Keeper(place.db).round()
    time.run(days=100)
    work = Keeper(place.db)
    for days in (0.0, 2.9):
        time.run(days=days)
        work.round()
        assert chats(place) == 1
    time.run(hours=3)
    work.round()
    assert chats(place) == 0


def test_whoever_knows_that_the_clock_is_right_says_so(any_place: Place) -> None:
    any_place.change(update(User).values(created_at=ago(90)))
    assert any_place.db.write(lambda session: clock.doubt(session, utcnow())) is not None
    any_place.db.write(lambda session: clock.trust(session, utcnow()))
    assert any_place.db.write(lambda session: clock.doubt(session, utcnow())) is None


def test_the_sentence_says_what_is_strange_and_until_when(place: Place) -> None:
    now = datetime(2028, 1, 5, 12, tzinfo=UTC)
    seen = {"seen": "2026-11-26T10:00:00+00:00"}
    place.db.write(lambda session: session.add(Setting(key="retention.clock", value=seen)))
    assert place.db.write(lambda session: clock.doubt(session, now)) == (
        "By this machine's clock it is 2028-01-05 12:00 UTC, but the last that was seen of this instance is of "
        "2026-11-26; nothing is removed for being old before 2028-01-08 12:00."
    )


def test_an_empty_database_has_nothing_to_doubt(database: Database) -> None:
    assert database.write(lambda session: clock.doubt(session, utcnow())) is None


# ---- what fails


def broken(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, whose: str) -> None:
    """Make a step fail for one of all it is done for."""
    real = getattr(module, name)

    def step(of: str, *rest: Any) -> Any:
        if of == whose:
            raise ZeroDivisionError
        return real(of, *rest)

    monkeypatch.setattr(module, name, step)


def begin_erasing(place: Place, *usernames: str) -> list[str]:
    people = [add_person(place.db, name).user_id for name in usernames]
    for user_id, name in zip(people, usernames, strict=True):
        place.db.write(lambda session, who=user_id, name=name: erasure.begin(session, place.admin, who, name))
    return people


def test_a_person_whose_erasure_fails_keeps_neither_others_nor_retention_waiting(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place.keep(message_days=90)
    place.chat(place.bob, 100, 99)
    first, second = begin_erasing(place, "carol", "dave")
    broken(monkeypatch, people, "_rename_calls", first)
    Keeper(place.db).round()
    left = place.db.read(lambda session: set(session.scalars(select(User.id))))
    assert first in left
    assert second not in left
    assert chats(place) == 0
    assert caplog.text.count("a person is not erased yet") == 1
    assert first not in caplog.text


def test_a_tenant_whose_old_data_cannot_go_keeps_no_other_tenants(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    eve = add_person(place.db, "eve", tenant="Other")
    for who in (place.ada, eve):
        place.chat(who, 100, 99)
    place.change(update(Tenant).values(message_days=90))
    for whose, other in ((place.ada, eve), (eve, place.ada)):
        with monkeypatch.context() as patched:
            broken(patched, retention, "_condemn_old", whose.tenant_id)
            with pytest.raises(ZeroDivisionError):
                Retention(place.db).run()
        left = place.db.read(lambda session: session.scalars(select(Conversation.tenant_id)).all())
        assert other.tenant_id not in left
        assert "old data of a tenant was not removed" in caplog.text


def test_that_another_process_is_at_it_all_the_time_is_told(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.db.write(lambda session: leases.take(session, LEASE, "another", 3600))
    work = Keeper(place.db)
    for _ in range(5):
        assert not work.round()
    assert not caplog.records
    assert not work.round()
    assert "another process has been at old data" in caplog.text
