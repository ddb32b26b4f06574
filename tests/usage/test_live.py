"""What happens now: replies that run, words a second, the last minutes, failures, refusals; and whose they are."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.db import Database
from chatcore.db.tables import Conversation, LimitHit, Message, Turn, TurnChunk, UsageMetric, utcnow
from chatcore.errors import DatabaseError
from chatcore.ids import new_id
from chatcore.usage.live import SERIES, Live, Sample
from tests.conftest import add_person


def begin(database: Database, who: Principal, model: str = "gpt", **values: Any) -> str:
    """A running turn with its reply; returns the turn's id."""
    turn_id, conversation_id, message_id = new_id("turn"), new_id("conv"), new_id("msg")
    whose = {"tenant_id": who.tenant_id, "user_id": who.user_id, "conversation_id": conversation_id}
    owner = {"owner_host": "h", "owner_pid": 1, "owner_started": "1"}

    def work(session: Session) -> None:
        session.add(Conversation(id=conversation_id, tenant_id=who.tenant_id, user_id=who.user_id, title="t"))
        session.flush()
        session.add(Message(id=message_id, role="assistant", content="", status="streaming", model=model, **whose))
        turn = {"id": turn_id, "message_id": message_id, "status": "running", **whose, **owner}
        session.add(Turn(**turn | values))

    database.write(work)
    return turn_id


def say(database: Database, who: Principal, turn_id: str, *texts: str, start: int = 0, kind: str = "text") -> None:
    rows = [
        TurnChunk(turn_id=turn_id, seq=start + number, tenant_id=who.tenant_id, kind=kind, text=said)
        for number, said in enumerate(texts)
    ]
    database.write(lambda session: session.add_all(rows))


def call(database: Database, who: Principal, ago: timedelta = timedelta(seconds=10), **values: Any) -> None:
    defaults = {
        "tenant_id": who.tenant_id, "user_id": who.user_id, "purpose": "chat", "provider": "openai", "model": "gpt",
        "outcome": "ok", "prompt_tokens": 10, "completion_tokens": 5, "cost_nano_usd": 1000,
        "trace_id": new_id("trace"), "created_at": utcnow() - ago,
    }  # fmt: skip
    database.write(lambda session: session.add(UsageMetric(id=new_id("use"), **defaults | values)))


def refuse(database: Database, who: Principal, kind: str, hits: int, ago: timedelta = timedelta()) -> None:
    minute = (utcnow() - ago).replace(second=0, microsecond=0)
    whose = {"tenant_id": who.tenant_id, "user_id": who.user_id, "tier": "free", "kind": kind, "model": "gpt"}
    database.write(lambda session: session.add(LimitHit(minute=minute, hits=hits, **whose)))


def test_nothing_at_all_is_nothing(any_database: Database) -> None:
    live, ada = Live(any_database), add_person(any_database, "ada", role="admin")
    now, hour = live.now(ada), live.hour(ada)
    assert (now.running, now.refusals) == (0, {})
    assert now.words_per_second is None
    assert live.now(ada, now.sample).words_per_second == 0
    assert hour.calls == hour.tokens == hour.failed == (0,) * SERIES
    assert hour.failures == ()
    assert hour.share_failed(60) is None
    assert hour.per_minute(hour.calls, 60) == 0


def test_running_replies_are_counted_by_model(any_database: Database) -> None:
    live, ada = Live(any_database), add_person(any_database, "ada", role="admin")
    for model in ("gpt", "claude", "claude"):
        begin(any_database, ada, model)
    begin(any_database, ada, status="complete", finished_at=utcnow())
    now = live.now(ada)
    assert now.running == 3
    assert list(now.active.items()) == [("claude", 2), ("gpt", 1)]


def test_words_are_counted_from_one_look_to_the_next(any_database: Database) -> None:
    live, ada = Live(any_database), add_person(any_database, "ada")
    old = begin(any_database, ada)
    say(any_database, ada, old, "said long before ")
    first = live.now(ada)
    assert first.words_per_second is None
    say(any_database, ada, old, "one two ", "three\nfour ", start=1)
    say(any_database, ada, begin(any_database, ada), "five six ", "seven ", kind="reasoning")
    gone = begin(any_database, ada, status="complete", finished_at=utcnow())
    say(any_database, ada, gone, "eight ")
    say(any_database, ada, gone, '{"no words": " a call of a tool "}', start=1, kind="tool_call")
    second = live.now(ada, first.sample)
    gap = (second.sample.at - first.sample.at).total_seconds()
    assert second.words_per_second == pytest.approx(8 / gap)
    assert live.now(ada, second.sample).words_per_second == 0


@pytest.mark.parametrize("ago", [timedelta(minutes=2), timedelta(seconds=-5)])
def test_a_look_long_ago_or_of_another_clock_says_nothing_of_now(database: Database, ago: timedelta) -> None:
    live, ada = Live(database), add_person(database, "ada")
    assert live.now(ada, Sample(utcnow() - ago)).words_per_second is None


def test_what_has_ended_and_what_it_cost_stand_apart(any_database: Database) -> None:
    live, ada = Live(any_database), add_person(any_database, "ada")
    call(any_database, ada)
    call(any_database, ada, outcome="error", error_type="provider_down", cost_nano_usd=0)
    call(any_database, ada, cost_nano_usd=None)
    call(any_database, ada, outcome="running", cost_nano_usd=None, prompt_tokens=0, completion_tokens=0)
    call(any_database, ada, timedelta(minutes=30))
    hour = live.hour(ada)
    sums = [sum(counts[-5:]) for counts in (hour.calls, hour.settled, hour.failed, hour.tokens)]
    assert sums == [4, 3, 1, 45]
    assert (sum(hour.cost_nano_usd[-5:]), sum(hour.unpriced[-5:])) == (1000, 1)
    assert hour.share_failed(5) == pytest.approx(1 / 3)
    assert hour.share_failed(60) == pytest.approx(1 / 4)


def test_the_hour_stands_by_minute(any_database: Database) -> None:
    live, ada, at = Live(any_database), add_person(any_database, "ada"), utcnow().replace(second=30, microsecond=0)
    for minutes, outcome in ((0, "ok"), (0, "timeout"), (1, "ok"), (60, "ok"), (61, "ok")):
        call(any_database, ada, outcome=outcome, created_at=at - timedelta(minutes=minutes))
    hour = live.hour(ada, at)
    assert (hour.calls[-1], hour.calls[-2], hour.calls[0], sum(hour.calls)) == (2, 1, 1, 4)
    assert (hour.tokens[-1], hour.cost_nano_usd[-1], hour.failed[-1], sum(hour.failed)) == (30, 2000, 1, 1)
    assert hour.start == (at - timedelta(minutes=60)).replace(second=0)
    # The present minute is half over.
    assert hour.per_minute(hour.calls, 5) == pytest.approx(3 / 4.5)
    assert hour.per_minute(hour.calls, 61) == pytest.approx(4 / 60.5)


def test_a_clock_that_jumps_breaks_nothing(any_database: Database) -> None:
    live, ada = Live(any_database), add_person(any_database, "ada")
    call(any_database, ada, created_at=utcnow() + timedelta(hours=2))
    call(any_database, ada)
    assert sum(live.hour(ada).calls) == 1


def test_the_newest_failures_are_listed_without_words(any_database: Database) -> None:
    live, ada = Live(any_database), add_person(any_database, "ada")
    for number in range(12):
        call(any_database, ada, timedelta(minutes=number), outcome="error", error_type=f"code-{number}")
    call(any_database, ada, outcome="interrupted", error_type=None)
    call(any_database, ada, outcome="stopped")
    found = live.hour(ada).failures
    assert len(found) == 8
    assert [one.error_type for one in found][:3] == ["code-0", "", "code-1"]
    assert found[0].at > found[-1].at
    assert found[0].trace_id.startswith("trace_")
    assert found[0].call_id.startswith("use_")
    assert set(vars(found[0])) == {"call_id", "at", "model", "provider", "outcome", "error_type", "trace_id"}


def test_refusals_are_counted_by_kind(any_database: Database) -> None:
    live, ada = Live(any_database), add_person(any_database, "ada")
    refuse(any_database, ada, "requests", 3)
    refuse(any_database, ada, "requests", 2, timedelta(minutes=2))
    refuse(any_database, ada, "budget", 1)
    refuse(any_database, ada, "tokens", 9, timedelta(minutes=20))
    assert live.now(ada).refusals == {"requests": 5, "budget": 1}


# ---- whose it is


@pytest.fixture
def busy(any_database: Database) -> dict[str, Principal]:
    """A member, their admin, another admin; each has a running reply, a failed call and a refusal."""
    people = {
        "member": add_person(any_database, "bob"), "admin": add_person(any_database, "ada", role="admin"),
        "operator": add_person(any_database, "root", role="operator"),
        "other": add_person(any_database, "eve", tenant="Other", role="admin"),
    }  # fmt: skip
    for name, who in people.items():
        say(any_database, who, begin(any_database, who, f"model-of-{name}"), "one two three ")
        call(any_database, who, outcome="error", model=f"model-of-{name}", error_type="timeout")
        refuse(any_database, who, "requests", 1)
    return people


@pytest.mark.parametrize(
    ("who", "seen"),
    [
        ("member", {"member"}), ("other", {"other"}),
        ("admin", {"member", "admin", "operator"}), ("operator", {"member", "admin", "operator"}),
    ],
)  # fmt: skip
def test_members_see_their_own_and_admins_their_tenant(
    any_database: Database, busy: dict[str, Principal], who: str, seen: set[str]
) -> None:
    live = Live(any_database)
    before = Sample(utcnow() - timedelta(seconds=1), {})
    now, hour = live.now(busy[who], before), live.hour(busy[who])
    assert set(now.active) == {f"model-of-{name}" for name in seen}
    assert {one.model for one in hour.failures} == set(now.active)
    assert now.refusals["requests"] == sum(hour.calls) == sum(hour.failed) == len(seen)
    assert now.words_per_second == pytest.approx(3 * len(seen), rel=0.5)
    assert len(now.sample.chunks) == len(seen)


def test_a_sample_that_names_anothers_turns_shows_nothing_of_them(
    any_database: Database, busy: dict[str, Principal]
) -> None:
    live = Live(any_database)
    theirs = live.now(busy["other"]).sample
    forged = Sample(utcnow() - timedelta(seconds=1), dict.fromkeys(theirs.chunks, -1))
    own = live.now(busy["member"], forged)
    assert not set(own.sample.chunks) & set(theirs.chunks)
    assert own.words_per_second == pytest.approx(3, rel=0.5)


# ---- cost


def statements(database: Database, work: Callable[[], object]) -> list[str]:
    said: list[str] = []

    def hear(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement != "BEGIN":
            said.append(statement)

    event.listen(database.engine, "before_cursor_execute", hear)
    work()
    event.remove(database.engine, "before_cursor_execute", hear)
    return said


def test_a_look_is_a_few_short_statements(database: Database) -> None:
    live, ada = Live(database), add_person(database, "ada", role="admin")
    for number in range(100):
        turn = begin(database, ada, f"model-{number % 5}")
        say(database, ada, turn, *["some words of a reply "] * 50)
    before = live.now(ada)
    for number in range(20):
        say(database, ada, list(before.sample.chunks)[number], "and two more ", start=50)
    assert len(statements(database, lambda: live.now(ada, before.sample))) == 3
    assert len(statements(database, lambda: live.hour(ada))) == 2
    took = []
    for _ in range(5):
        began = time.perf_counter()
        live.now(ada, before.sample)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.03


def test_a_database_that_is_away_is_a_sentence(database: Database) -> None:
    live, ada = Live(database), add_person(database, "ada")
    database.write(lambda session: session.execute(text("DROP TABLE limit_hits")))
    with pytest.raises(DatabaseError, match="ry again"):
        live.now(ada)


minutes_ago = st.integers(0, 80)
outcomes = st.sampled_from(["ok", "error", "timeout", "stopped", "running", "interrupted", "cached"])


@given(rows=st.lists(st.tuples(minutes_ago, outcomes, st.integers(0, 10**6), st.integers(0, 10**12)), max_size=20))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_hour_equals_a_sum_over_the_rows(database: Database, rows: list[tuple[int, str, int, int]]) -> None:
    at, ada = datetime.fromisoformat("2026-03-29T01:30:30+00:00"), add_person(database, new_id("p"))
    for minutes, outcome, tokens, cost in rows:
        values = {"prompt_tokens": tokens, "completion_tokens": 0, "cost_nano_usd": cost}
        call(database, ada, outcome=outcome, created_at=at - timedelta(minutes=minutes), **values)
    hour, inside = Live(database).hour(ada, at), [row for row in rows if row[0] < SERIES]
    for minute in range(SERIES):
        here = [row for row in inside if row[0] == SERIES - 1 - minute]
        assert hour.calls[minute] == len(here)
        assert hour.tokens[minute] == sum(row[2] for row in here)
        assert hour.cost_nano_usd[minute] == sum(row[3] for row in here)
    failed = [row for row in inside if row[1] in ("error", "timeout", "interrupted")]
    assert sum(hour.failed) == len(failed)
    assert len(hour.failures) == min(8, len(failed))
