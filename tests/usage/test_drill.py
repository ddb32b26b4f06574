"""From a number to its calls, from a call to all that is known of it; refusals, choices, budgets."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update

from chatcore.db import Database
from chatcore.db.tables import Agent, Conversation, CostCorrection, LimitHit, Share, User, utcnow
from chatcore.errors import NotFound
from chatcore.ids import new_id
from chatcore.usage import Filter
from chatcore.usage.budgets import Budgets
from tests.usage.test_questions import JANUARY, TEAMS, House, ended

ALL = Filter(JANUARY, JANUARY + timedelta(days=60))


@pytest.fixture
def house(module_database: Database) -> House:
    return House(module_database)


def none_of(_place: int) -> bool:
    return False


def write(house: House, table: Any, **values: Any) -> str:
    values = {"id": new_id("test"), "tenant_id": house.tenant} | values
    house.db.write(lambda session: session.execute(insert(table), [values]))
    return str(values["id"])


def change(house: House, table: Any, row_id: str, **values: Any) -> None:
    house.db.write(lambda session: session.execute(update(table).where(table.id == row_id).values(values)))


def test_calls_can_be_narrowed_to_how_they_ended(house: House) -> None:
    house.put([ended(), ended(outcome="error", error_type="down"), ended(outcome="timeout", error_type=None)], none_of)

    def found(**narrow: Any) -> list[str]:
        return [one.outcome for one in house.usage.calls(house.admin, ALL, **narrow)]

    assert sorted(found(outcomes=("error", "ok"))) == ["error", "ok"]
    assert found(error_types=("down",)) == ["error"]
    assert found(error_types=("timeout",)) == ["timeout"]
    assert found(error_types=("ok",)) == []


def test_a_call_shows_its_prices_its_corrections_and_its_turn(house: House) -> None:
    prices = {"input_cost_per_token": "0.000001"}
    first = ended(turn_id="turn_1", outcome="error", unit_prices={})
    second = ended(turn_id="turn_1", attempt=2, unit_prices=prices, created_at=JANUARY + timedelta(hours=10))
    rows = house.put([first, second, ended(turn_id="turn_2")], none_of)
    known = {"tenant_id": house.tenant, "usage_id": rows[1]["id"], "before_source": "none", "before_prices": {}}
    write(house, CostCorrection, **known, before_nano_usd=None, after_nano_usd=7)
    call = house.usage.call(house.admin, rows[1]["id"])
    assert (call.call.id, call.call.attempt, call.unit_prices, call.turn_id) == (rows[1]["id"], 2, prices, "turn_1")
    assert [(one.before_nano_usd, one.after_nano_usd) for one in call.corrections] == [(None, 7)]
    assert [one.id for one in call.attempts] == [rows[0]["id"], rows[1]["id"]]
    assert (call.readable, call.share_id) == (False, None)


def test_a_call_that_is_not_ones_own_to_count_is_not_there(house: House) -> None:
    (row,) = house.put([ended()], none_of)
    other = House(house.db)
    for who in (house.member("bob"), other.admin, other.member("ann", "operator")):
        with pytest.raises(NotFound, match="no such call"):
            house.usage.call(who, row["id"])
    assert house.usage.call(house.member("ann"), row["id"]).call.username


def test_nobody_reads_a_conversation_by_role(house: House) -> None:
    talk = write(
        house, Conversation, id=new_id("conv"), user_id=house.people["ann"], title="t", settings={}, expires_at=None
    )
    (row,) = house.put([ended(conversation_id=talk)], none_of)

    def readable(who: Any) -> tuple[bool, str | None]:
        found = house.usage.call(who, row["id"])
        return found.readable, found.share_id

    assert readable(house.member("ann")) == (True, None)
    assert readable(house.admin) == (False, None)
    share = write(house, Share, id=new_id("share"), user_id=house.people["ann"], conversation_id=talk, kind="team")
    assert readable(house.admin) == (True, share)
    for values in (
        {"revoked_at": utcnow()},
        {"revoked_at": None, "expires_at": JANUARY},
        {"expires_at": None, "kind": "link"},
    ):
        house.db.write(lambda session, new=values: session.execute(update(Share).where(Share.id == share).values(new)))
        assert readable(house.admin) == (False, None)
    house.db.write(lambda session: session.execute(update(Share).where(Share.id == share).values(kind="team")))
    for table, values in ((User, {"disabled_at": utcnow()}), (Conversation, {"expires_at": utcnow()})):
        where = table.id == (house.people["ann"] if table is User else talk)  # type: ignore[attr-defined]
        house.db.write(
            lambda session, of=table, is_it=where, new=values: session.execute(update(of).where(is_it).values(new))
        )
        assert readable(house.admin) == (False, None)


def test_refusals_are_counted_by_step_with_the_worst_minute(house: House) -> None:
    hits = [
        ("ann", "free", "requests", 0, 3), ("bob", "free", "requests", 0, 4), ("bob", "free", "requests", 5, 2),
        ("cy", "pro", "budget", 24 * 60, 1), ("cy", "pro", "budget", 24 * 60 * 40, 9),
    ]  # fmt: skip
    rows = [
        {"minute": JANUARY + timedelta(minutes=minute), "tenant_id": house.tenant, "user_id": house.people[name],
         "tier": tier, "kind": kind, "model": "m1", "hits": number}
        for name, tier, kind, minute, number in hits
    ]  # fmt: skip
    house.db.write(lambda session: session.execute(insert(LimitHit), rows))
    month = replace(ALL, end=JANUARY + timedelta(days=31))
    found = house.usage.refusals(house.admin, month, "day")
    assert found.drop(columns="start").to_numpy().tolist() == [["free", "requests", 9, 7], ["pro", "budget", 1, 1]]
    assert [f"{start:%Y-%m-%d}" for start in found["start"]] == ["2026-01-01", "2026-01-02"]
    assert house.usage.refusals(house.member("bob"), month, "day")["hits"].tolist() == [6]
    assert house.usage.refusals(house.admin, replace(month, tiers=("pro",)), "day")["hits"].tolist() == [1]
    assert house.usage.refusals(house.admin, replace(month, providers=("acme",)), "day")["hits"].sum() == 10
    other = House(house.db)
    assert house.usage.refusals(other.admin, month, "day").empty


def test_what_one_may_narrow_by(house: House) -> None:
    house.put(
        [
            ended(model="b", provider="z"),
            ended(model="a", tier="pro", user_id="bob"),
            ended(model="running", outcome="running"),
        ],
        lambda place: place < 1,
    )
    agent = write(
        house, Agent, slug="x", name="Helper", parameters={}, tools=[], suggestions=[], owner_id=None, model=None,
        archived_at=utcnow(),
    )  # fmt: skip
    found = house.usage.choices(house.admin)
    assert (found.models, found.providers, found.tiers) == (("a", "b", "running"), ("acme", "z"), ("free", "pro"))
    assert found.agents == ((agent, "Helper"), ("none", "No agent"))
    assert found.teams == ("Blue", "Red", "none")
    assert {one.name for one in found.people} == set(TEAMS)
    own = house.usage.choices(house.member("bob"))
    assert (own.models, own.tiers, own.teams, own.people) == (("a",), ("pro",), (), ())


def test_a_member_sees_the_budgets_that_apply_to_them(house: House) -> None:
    admin = house.member("ann")
    change(house, User, admin.user_id, role="admin")
    admin = house.member("ann", "admin")
    budgets = Budgets(house.db)
    budgets.set(admin, "tenant", "", "month", 10**9)
    budgets.set(admin, "user", house.people["cy"], "day", 10**8)
    assert len(house.usage.budget_lines(admin)) == 2
    assert [one.scope for one in house.usage.budget_lines(house.member("bob"))] == ["tenant"]


def test_counts_of_the_ledger_row_are_those_of_the_list(house: House) -> None:
    rows = house.put([ended(user_id=name) for name in TEAMS], none_of)
    red = house.usage.calls(house.admin, replace(ALL, teams=("Red",)))
    assert [one.id for one in red] == [rows[0]["id"]]
    assert len(house.usage.calls(house.admin, replace(ALL, agents=("none",)))) == 3
