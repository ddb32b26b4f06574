"""What agents were used for: out of the rollups and the ledger, for those who may know."""

import secrets
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from chatcore.accounts import Principal
from chatcore.agents import Agents, Content, Figures, figures
from chatcore.db import Database
from chatcore.db.tables import Rating, UsageMetric, utcnow
from chatcore.errors import NotFound
from chatcore.ids import new_id
from chatcore.usage import rollups
from tests.conftest import add_person


class House:
    """Ann with an agent of the team's, her colleague Bob, their admin Dora, and Cleo of another tenant."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.agents = Agents(db)
        mark = secrets.token_hex(4)
        self.ann, self.bob = (add_person(db, f"{one}-{mark}", tenant=f"A-{mark}") for one in ("ann", "bob"))
        self.dora = add_person(db, f"dora-{mark}", tenant=f"A-{mark}", role="admin")
        self.cleo = add_person(db, f"cleo-{mark}", tenant=f"C-{mark}", role="admin")
        self.agent = self.agents.create(self.ann, Content("Planner", visibility="team"))

    def call(self, who: Principal, when: datetime | None = None, *, counted: bool = False, **values: Any) -> None:
        row = {
            "id": new_id("use"), "tenant_id": who.tenant_id, "user_id": who.user_id, "agent_id": self.agent,
            "created_at": when or utcnow(), "purpose": "chat", "provider": "p", "model": "m", "outcome": "ok",
            "prompt_tokens": 100, "completion_tokens": 10, "cost_nano_usd": 5_000, "trace_id": "t",
            "settled_at": utcnow(), **values,
        }  # fmt: skip

        def work(session: Any) -> None:
            session.execute(insert(UsageMetric).values(**row))
            if counted:
                rollups.note(session, row["id"])

        self.db.write(work)

    def rate(self, who: Principal, stars: int, when: datetime | None = None) -> None:
        row = {
            "id": new_id("rating"), "tenant_id": who.tenant_id, "user_id": who.user_id, "conversation_id": "c",
            "message_id": new_id("msg"), "model": "m", "agent_id": self.agent, "stars": stars,
            "created_at": when or utcnow(),
        }  # fmt: skip
        self.db.write(lambda session: session.execute(insert(Rating).values(**row)))


@pytest.fixture
def house(module_database: Database) -> House:
    return House(module_database)


@pytest.mark.parametrize("counted", [False, True])
def test_calls_are_counted_once_whether_the_rollups_have_them_or_not(house: House, counted: bool) -> None:
    house.call(house.ann, counted=counted)
    house.call(house.bob, counted=counted)
    house.call(house.bob, cost_nano_usd=None)
    house.call(house.bob, outcome="running", cost_nano_usd=None, prompt_tokens=0, completion_tokens=0)
    house.call(house.bob, utcnow() - timedelta(days=40), counted=counted)
    house.call(house.bob, agent_id=None)
    house.call(house.cleo)
    found = house.agents.figures(house.ann, [house.agent])[house.agent]
    assert found == Figures(calls=4, tokens=330, cost_nano_usd=10_000, unpriced=1, people=None)
    assert house.agents.people(house.ann, house.agent) == 2


def test_what_people_thought_of_its_replies(house: House) -> None:
    for stars in (5, 4, 3, 1):
        house.rate(house.bob, stars)
    house.rate(house.bob, 1, utcnow() - timedelta(days=31))
    found = house.agents.figures(house.ann, [house.agent])[house.agent]
    assert (found.ratings, found.mean_stars, found.good) == (4, 3.25, 0.5)
    assert (found.calls, found.cost_nano_usd) == (0, None)


def test_figures_are_for_its_owner_and_the_tenants_admins(house: House) -> None:
    house.call(house.bob)
    assert house.agents.figures(house.dora, [house.agent])[house.agent].calls == 1
    for other in (house.bob, house.cleo):
        assert house.agents.figures(other, [house.agent]) == {}
        with pytest.raises(NotFound):
            house.agents.people(other, house.agent)
    assert house.agents.figures(house.ann, []) == {}


def test_people_are_not_looked_for_in_too_many_calls(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.call(house.bob, utcnow() - timedelta(days=2), counted=True)
    assert house.agents.people(house.ann, house.agent) == 1
    monkeypatch.setattr(figures, "MOST_READ", 0)
    assert house.agents.people(house.ann, house.agent) is None
