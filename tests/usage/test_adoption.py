"""Who uses it: people once in each step, conversations, questions, ratings."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from chatcore.accounts.principal import Principal
from chatcore.db import Database
from chatcore.db.tables import Conversation, Rating, User
from chatcore.ids import new_id
from chatcore.usage import Filter
from tests.usage.test_questions import JANUARY, House, ended

DAY = timedelta(days=1)
ALL = Filter(JANUARY, JANUARY + 60 * DAY)


def every_other(place: int) -> bool:
    return place % 2 == 0


@pytest.fixture
def house(module_database: Database) -> House:
    return House(module_database)


def begin(house: House, name: str, *days: int) -> None:
    rows = [
        {"id": new_id("conv"), "tenant_id": house.tenant, "user_id": house.people[name], "title": "t",
         "settings": {}, "created_at": JANUARY + day * DAY}
        for day in days
    ]  # fmt: skip
    house.db.write(lambda session: session.execute(insert(Conversation), rows))


def rate(house: House, name: str, *stars: int) -> None:
    rows = [
        {"id": new_id("rating"), "tenant_id": house.tenant, "user_id": house.people[name], "conversation_id": "c",
         "message_id": new_id("msg"), "model": "m", "stars": one, "updated_at": JANUARY + DAY}
        for one in stars
    ]  # fmt: skip
    house.db.write(lambda session: session.execute(insert(Rating), rows))


def numbers(house: House, who: Principal, chosen: Filter = ALL, step: Any = "month") -> list[list[int]]:
    frame = house.usage.adoption(who, chosen, step)
    return [frame[name].tolist() for name in ("people", "conversations", "messages")]


@pytest.mark.parametrize("counted", [lambda _: True, lambda _: False, every_other])
def test_a_person_counts_once_in_each_step(house: House, counted: Any) -> None:
    asked = [("ann", 0), ("ann", 1), ("ann", 20), ("bob", 1), ("bob", 40), ("cy", 40), ("cy", 41)]
    house.put([ended(user_id=name, created_at=JANUARY + day * DAY) for name, day in asked], counted)
    assert numbers(house, house.admin)[0] == [2, 2, 0]
    assert numbers(house, house.admin, step="week")[0][:8] == [2, 0, 0, 1, 0, 0, 2, 0]
    assert house.usage.adoption_summary(house.admin, ALL).people == 3
    assert numbers(house, house.admin, replace(ALL, user_ids=(house.people["bob"],)))[0] == [1, 1, 0]
    assert numbers(house, house.admin, replace(ALL, teams=("Red", "none")))[0] == [1, 1, 0]
    assert numbers(house, house.member("cy"))[0] == [0, 1, 0]


def test_questions_are_first_attempts_of_chats_and_programs(house: House) -> None:
    calls = [ended(), ended(attempt=2), ended(purpose="title"), ended(purpose="api"), ended(outcome="error")]
    house.put([*calls, ended(user_id="bob", created_at=JANUARY + 35 * DAY)], every_other)
    assert numbers(house, house.admin)[2] == [3, 1, 0]
    assert numbers(house, house.member("ann"))[2] == [3, 0, 0]
    assert house.usage.adoption_summary(house.admin, ALL).messages_per_person == 2.0


def test_what_is_no_trait_of_a_person_narrows_nothing(house: House) -> None:
    house.put([ended()], every_other)
    narrow = replace(ALL, models=("m9",), providers=("p",), agents=("a",), purposes=("title",))
    assert numbers(house, house.admin, narrow) == numbers(house, house.admin) == [[1, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_conversations_and_ratings_are_ones_own_or_the_tenants(house: House) -> None:
    begin(house, "ann", 0, 31)
    begin(house, "bob", 1)
    rate(house, "ann", 5, 4, 1)
    rate(house, "bob", 3)
    house.put([ended(agent_id="agent_x"), ended(agent_id="agent_y"), ended()], every_other)
    assert numbers(house, house.admin)[1] == [2, 1, 0]
    whole = house.usage.adoption_summary(house.admin, ALL)
    assert (whole.conversations, whole.agents, whole.ratings, whole.thumbs_up, whole.thumbs_down) == (3, 2, 4, 2, 1)
    assert whole.mean_stars == 3.25
    own = house.usage.adoption_summary(house.member("bob"), ALL)
    assert (own.people, own.conversations, own.ratings, own.mean_stars, own.messages_per_person) == (0, 1, 1, 3.0, None)
    other = House(house.db)
    nothing = other.usage.adoption_summary(other.admin, ALL)
    assert (nothing.conversations, nothing.ratings, nothing.mean_stars, nothing.agents) == (0, 0, None, 0)


def test_new_people_have_their_account_from_the_range(house: House) -> None:
    made = house.db.read(
        lambda session: session.scalars(select(User.created_at).where(User.tenant_id == house.tenant)).all()
    )
    around = Filter(min(made) - DAY, max(made) + DAY)
    assert house.usage.adoption_summary(house.admin, around).new_people == 3
    assert house.usage.adoption_summary(house.admin, ALL).new_people == 0
