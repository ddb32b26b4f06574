"""Every number of the usage page against plain Python over the same rows, on both databases."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert
from sqlalchemy.exc import OperationalError

from chatcore.accounts.principal import Principal, Role
from chatcore.db import Database
from chatcore.db.tables import Tenant, UsageMetric, User
from chatcore.errors import DatabaseError, InvalidInput
from chatcore.ids import new_id
from chatcore.usage import Filter, Totals, Usage
from chatcore.usage.totals import FAILED, OUTCOMES

START = datetime(2026, 3, 1, tzinfo=UTC)
END = START + timedelta(days=5)
PEOPLE = {"user_ann": "tenant_a", "user_bob": "tenant_a", "user_cy": "tenant_b"}


NUMBERS = ("prompt_tokens", "cached_tokens", "cache_write_tokens", "completion_tokens", "reasoning_tokens",
           "saved_nano_usd")  # fmt: skip


def principal(user_id: str, role: Role = "member") -> Principal:
    return Principal(user_id, PEOPLE[user_id], user_id, user_id.title(), role)


ANN, BOB_ADMIN, CY_OPERATOR = principal("user_ann"), principal("user_bob", "admin"), principal("user_cy", "operator")
ALL = Filter(START, END)


def call(**values: Any) -> dict[str, Any]:
    """A priced, settled call of Ann's on the first day, except for what `values` says. One that runs has no numbers."""
    row = {
        "id": new_id("use"), "created_at": START, "tenant_id": "tenant_a", "user_id": "user_ann", "purpose": "chat",
        "provider": "acme", "model": "m1", "agent_id": None, "outcome": "ok", "prompt_tokens": 10, "cached_tokens": 0,
        "completion_tokens": 5, "reasoning_tokens": 0, "usage_source": "provider", "cost_nano_usd": 7, "trace_id": "t",
    } | values  # fmt: skip
    if row["outcome"] == "running":
        row |= dict.fromkeys(NUMBERS, 0) | {"cost_nano_usd": None, "usage_source": "none"}
    return row | {"tenant_id": PEOPLE[row["user_id"]], "cache_hit": row["outcome"] == "cached"}


def put(db: Database, *rows: dict[str, Any]) -> None:
    if rows:
        db.write(lambda session: session.execute(insert(UsageMetric), list(rows)))


@pytest.fixture
def db(any_database: Database) -> Database:
    tenants = [{"id": one, "name": one} for one in ("tenant_a", "tenant_b")]
    users = [
        {"id": one, "tenant_id": tenant, "username": one, "name": one, "role": "member"}
        for one, tenant in PEOPLE.items()
    ]
    any_database.write(lambda session: session.execute(insert(Tenant), tenants))
    any_database.write(lambda session: session.execute(insert(User), users))
    return any_database


tokens = st.integers(0, 2_000_000_000)
calls = st.builds(
    call,
    created_at=st.integers(-86_400_000, 6 * 86_400_000).map(lambda ms: START + timedelta(milliseconds=ms)),
    user_id=st.sampled_from(sorted(PEOPLE)),
    purpose=st.sampled_from(["chat", "title", "api"]),
    provider=st.sampled_from(["acme", "zeta"]),
    model=st.sampled_from(["m1", "m2", "m3"]),
    agent_id=st.sampled_from([None, "agent_x"]),
    outcome=st.sampled_from(["running", "ok", "stopped", "cached", *FAILED]),
    prompt_tokens=tokens,
    cached_tokens=tokens,
    completion_tokens=tokens,
    reasoning_tokens=tokens,
    usage_source=st.sampled_from(["provider", "estimated", "none"]),
    cost_nano_usd=st.none() | st.integers(0, 10**15),
    saved_nano_usd=st.integers(0, 10**12),
    is_demo=st.booleans(),
)
filters = st.builds(
    lambda start, days, models, users, purposes: Filter(
        START + timedelta(days=start), START + timedelta(days=start + days), models, users, purposes
    ),
    st.integers(-1, 3),
    st.integers(1, 4),
    st.lists(st.sampled_from(["m1", "m2", "gone"]), max_size=2, unique=True).map(tuple),
    st.lists(st.sampled_from(sorted(PEOPLE)), max_size=2, unique=True).map(tuple),
    st.lists(st.sampled_from(["chat", "api"]), max_size=1).map(tuple),
)
askers = st.sampled_from([ANN, BOB_ADMIN, CY_OPERATOR])


def visible(rows: list[dict[str, Any]], asker: Principal, chosen: Filter) -> list[dict[str, Any]]:
    """The scope and the filter again, in Python."""
    return [
        row
        for row in rows
        if row["tenant_id"] == asker.tenant_id
        and (asker.is_admin or row["user_id"] == asker.user_id)
        and chosen.start <= row["created_at"] < chosen.end
        and (not chosen.models or row["model"] in chosen.models)
        and (not chosen.user_ids or row["user_id"] in chosen.user_ids)
        and (not chosen.purposes or row["purpose"] in chosen.purposes)
    ]


def summed(rows: list[dict[str, Any]]) -> Totals:
    known = [row["cost_nano_usd"] for row in rows if row["cost_nano_usd"] is not None]
    return Totals(
        calls=len(rows),
        prompt_tokens=sum(row["prompt_tokens"] for row in rows),
        cached_tokens=sum(row["cached_tokens"] for row in rows),
        completion_tokens=sum(row["completion_tokens"] for row in rows),
        reasoning_tokens=sum(row["reasoning_tokens"] for row in rows),
        cost_nano_usd=sum(known) if known else None,
        saved_nano_usd=sum(row.get("saved_nano_usd", 0) for row in rows),
        unpriced=sum(row["cost_nano_usd"] is None and row["outcome"] != "running" for row in rows),
        estimated=sum(row["usage_source"] == "estimated" for row in rows),
        running=sum(row["outcome"] == "running" for row in rows),
        failed=sum(row["outcome"] in FAILED for row in rows),
        cached=sum(row["outcome"] == "cached" for row in rows),
        demo=sum(row.get("is_demo", False) for row in rows),
        **{one: sum(row["outcome"] == one for row in rows) for one in set(OUTCOMES) - {"cached"}},
    )


def check_everything(db: Database, rows: list[dict[str, Any]], asker: Principal, chosen: Filter) -> None:
    usage, expected = Usage(db), visible(rows, asker, chosen)
    totals = summed(expected)
    assert usage.totals(asker, chosen) == totals

    report = usage.report(asker, chosen, now=END + timedelta(days=9))
    assert report.totals == totals
    assert report.previous == summed(visible(rows, asker, chosen.previous(END + timedelta(days=9))))
    assert report.by_model.equals(usage.by_model(asker, chosen))
    for line in report.by_model.itertuples():
        of_model = summed([row for row in expected if row["model"] == line.model])
        cost = None if pd.isna(line.cost_nano_usd) else int(line.cost_nano_usd)
        assert (line.calls, line.unpriced, line.estimated, line.failed, cost) == (
            of_model.calls, of_model.unpriced, of_model.estimated, of_model.failed, of_model.cost_nano_usd
        )  # fmt: skip

    for group_by, key in (("model", "model"), ("provider", "provider"), ("agent", "agent_id"), ("user", "user_id")):
        frame = usage.tokens_by_day(asker, chosen, group_by)  # type: ignore[arg-type]
        assert int(frame["cost_nano_usd"].sum()) == (totals.cost_nano_usd or 0)
        for line in frame.itertuples():
            length = timedelta(hours=1) if chosen.by_hour else timedelta(days=1)
            cell = summed(
                [
                    r
                    for r in expected
                    if (r[key] or "none") == line.group and line.day <= r["created_at"] < line.day + length
                ]
            )
            assert (line.calls, line.prompt_tokens, line.completion_tokens, line.unpriced) == (
                cell.calls, cell.prompt_tokens, cell.completion_tokens, cell.unpriced
            )  # fmt: skip
        assert int(frame["calls"].sum()) == totals.calls

    listed = usage.calls(asker, chosen, limit=1000)
    assert [one.id for one in listed] == [
        row["id"] for row in sorted(expected, key=lambda row: (row["created_at"], row["id"]), reverse=True)
    ]
    assert "".join(usage.export_csv(asker, chosen)).count("\r\n") == totals.calls + 1
    ever = Filter(START - timedelta(days=999), END + timedelta(days=999))
    assert usage.models(asker) == sorted({row["model"] for row in visible(rows, asker, ever)})


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(calls, max_size=25), asker=askers, chosen=filters)
def test_every_number_is_the_sum_over_the_rows_that_are_theirs(
    db: Database, rows: list[dict[str, Any]], asker: Principal, chosen: Filter
) -> None:
    rows = [row | {"id": new_id("use")} for row in rows]
    db.write(lambda session: session.execute(delete(UsageMetric)))
    put(db, *rows)
    check_everything(db, rows, asker, chosen)


def test_nobody_counts_what_is_not_theirs(db: Database) -> None:
    put(db, call(), call(user_id="user_bob", model="bobs"), call(user_id="user_cy", model="cys"))
    usage = Usage(db)
    assert usage.totals(ANN, ALL).calls == 1
    assert usage.totals(BOB_ADMIN, ALL).calls == 2
    assert usage.totals(CY_OPERATOR, ALL).calls == 1
    assert usage.models(ANN) == ["m1"]
    assert [one.id for one in usage.people(ANN)] == ["user_ann"]
    assert [one.id for one in usage.people(BOB_ADMIN)] == ["user_ann", "user_bob"]


@pytest.mark.parametrize(
    ("asker", "other"), [(ANN, "user_bob"), (ANN, "user_cy"), (BOB_ADMIN, "user_cy"), (CY_OPERATOR, "user_ann")]
)
def test_asking_for_another_person_by_id_gives_nothing(db: Database, asker: Principal, other: str) -> None:
    put(db, *(call(user_id=one) for one in PEOPLE))
    usage, chosen = Usage(db), Filter(START, END, user_ids=(other,))
    assert usage.totals(asker, chosen) == Totals()
    assert usage.report(asker, chosen).by_model.empty
    assert usage.tokens_by_day(asker, chosen).empty
    assert usage.calls(asker, chosen) == []
    assert len(list(usage.export_csv(asker, chosen))) == 1


def test_an_unknown_cost_is_never_zero(db: Database) -> None:
    put(
        db,
        call(model="free", cost_nano_usd=None),
        call(model="paid", cost_nano_usd=40),
        call(model="paid", cost_nano_usd=None),
    )
    put(db, call(model="busy", outcome="running", cost_nano_usd=None))
    usage = Usage(db)
    totals = usage.totals(BOB_ADMIN, ALL)
    assert (totals.cost_nano_usd, totals.unpriced, totals.running, totals.priced) == (40, 2, 1, 1)
    table = usage.by_model(BOB_ADMIN, ALL).set_index("model")
    assert table.loc["paid", ["cost_nano_usd", "unpriced", "average_cost_nano_usd", "share_unpriced"]].tolist() == [
        40,
        1,
        40.0,
        0.5,
    ]
    assert table["cost_nano_usd"].isna().to_dict() == {"paid": False, "free": True, "busy": True}
    assert table["average_cost_nano_usd"].isna().to_dict() == {"paid": False, "free": True, "busy": True}
    day = usage.tokens_by_day(BOB_ADMIN, ALL)
    first = day[day["day"] == START].set_index("group")["cost_nano_usd"]
    assert first.isna().to_dict() == {"busy": True, "free": True, "paid": False}


def test_sums_stay_exact_beyond_what_a_float_holds(db: Database) -> None:
    put(db, call(cost_nano_usd=2**53), *(call(cost_nano_usd=1) for _ in range(3)))
    assert Usage(db).totals(ANN, ALL).cost_nano_usd == 2**53 + 3
    assert int(Usage(db).by_model(ANN, ALL)["cost_nano_usd"].iloc[0]) == 2**53 + 3


def test_days_without_calls_are_there(db: Database) -> None:
    put(
        db,
        call(created_at=START + timedelta(hours=23, minutes=59, seconds=59.999999)),
        call(model="m2", created_at=END - timedelta(microseconds=1)),
    )
    frame = Usage(db).tokens_by_day(ANN, ALL)
    assert sorted(set(frame["day"])) == [START + timedelta(days=day) for day in range(5)]
    assert len(frame) == 10
    assert frame.groupby("group")["calls"].apply(list).to_dict() == {"m1": [1, 0, 0, 0, 0], "m2": [0, 0, 0, 0, 1]}
    assert (frame[frame["calls"] == 0]["cost_nano_usd"] == 0).all()


def test_up_to_two_days_are_shown_by_the_hour(db: Database) -> None:
    put(db, call(created_at=START + timedelta(hours=7, minutes=59)), call(created_at=START + timedelta(hours=8)))
    frame = Usage(db).tokens_by_day(ANN, Filter(START, START + timedelta(days=2)))
    assert len(frame) == 48
    assert frame[frame["calls"] > 0]["day"].tolist() == [START + timedelta(hours=7), START + timedelta(hours=8)]


def test_the_previous_range_is_as_long_as_what_has_passed_of_this_one() -> None:
    week = Filter(END - timedelta(days=7), END)
    now = END - timedelta(hours=6)
    assert week.previous(now) == Filter(END - timedelta(days=14), now - timedelta(days=7))
    assert week.previous(END + timedelta(days=40)) == Filter(END - timedelta(days=14), END - timedelta(days=7))


def test_ranges_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InvalidInput, match="end after it begins"):
        Filter(START, START)
    with pytest.raises(InvalidInput, match="time zone"):
        Filter(datetime(2026, 3, 1), END)


def test_calls_are_paged_without_gaps_or_doubles(db: Database) -> None:
    put(db, *(call(created_at=START + timedelta(seconds=number // 3)) for number in range(10)))
    usage, seen, before = Usage(db), [], None
    while page := usage.calls(ANN, ALL, limit=4, before=before):
        seen += [one.id for one in page]
        before = page[-1].cursor
    assert seen == [one.id for one in usage.calls(ANN, ALL, limit=100)]
    assert len(set(seen)) == 10
    with pytest.raises(InvalidInput):
        usage.calls(ANN, ALL, limit=0)


def test_a_database_that_does_not_answer_is_told_in_a_sentence(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_work: Any) -> Any:
        raise OperationalError("SELECT secret", {}, Exception("disk I/O error"))

    monkeypatch.setattr(database, "read", broken)
    with pytest.raises(DatabaseError, match=r"^The usage numbers cannot be read just now\. Try again in a moment\.$"):
        Usage(database).totals(ANN, ALL)
