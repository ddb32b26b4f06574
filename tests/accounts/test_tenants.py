"""The list of tenants: who is in them and what they used, however many there are."""

from datetime import timedelta
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.accounts.tenants import Tenants
from chatcore.db import Database
from chatcore.db.tables import UsageMetric, utcnow
from chatcore.ids import new_id
from chatcore.usage import rollups
from tests.conftest import add_person


def call(db: Database, who: Principal, cost: int | None, *, rolled: bool, days: int = 1) -> None:
    row_id, at = new_id("use"), utcnow() - timedelta(days=days)
    facts = {"purpose": "chat", "provider": "openai", "model": "gpt", "outcome": "ok", "trace_id": "t"}

    def work(session: Session) -> None:
        whose = {"tenant_id": who.tenant_id, "user_id": who.user_id}
        session.add(UsageMetric(id=row_id, created_at=at, cost_nano_usd=cost, **whose, **facts))
        session.flush()
        if rolled:
            rollups.fold(session, [row_id])

    db.write(work)


def test_each_tenant_has_its_own_numbers(any_database: Database) -> None:
    db = any_database
    root, ada = add_person(db, "root", role="operator"), add_person(db, "ada")
    eve, _ = add_person(db, "eve", tenant="Green"), add_person(db, "lonely", tenant="Quiet")
    for who, cost, rolled in ((ada, 5, True), (ada, 7, False), (ada, None, True), (eve, 11, False), (eve, None, False)):
        call(db, who, cost, rolled=rolled)
    for rolled in (True, False):
        call(db, eve, 1_000, rolled=rolled, days=40)
    found = {one.name: (one.people, one.calls, one.cost_nano_usd) for one in Tenants(db).listed(root)}
    assert found == {"Default": (2, 3, 12), "Green": (1, 2, 11), "Quiet": (1, 0, 0)}


def test_many_tenants_cost_no_more_questions_than_one(any_database: Database) -> None:
    root = add_person(any_database, "root", role="operator")
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        asked.append(statement)

    event.listen(any_database.engine, "before_cursor_execute", note)
    counts = []
    for number in range(2):
        asked.clear()
        assert len(Tenants(any_database).listed(root)) == 1 + 4 * number
        counts.append(len(asked))
        for other in range(4):
            if not number:
                add_person(any_database, f"p{other}", tenant=f"Tenant {other}")
    assert counts[0] == counts[1]
