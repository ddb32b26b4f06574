"""A tenant with people, what they wrote at which time, and what it cost."""

import itertools
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Executable, func, select, update
from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.conversations import store
from chatcore.db import Database
from chatcore.db.tables import Base, Conversation, Message, Tenant, UsageMetric, utcnow
from chatcore.ids import new_id
from chatcore.usage import rollups
from tests.conftest import add_person


@dataclass
class Place:
    """A database, and short ways to put things of a certain age into it."""

    db: Database
    ada: Principal
    bob: Principal
    admin: Principal
    _number: Any = field(default_factory=itertools.count)

    def chat(self, who: Principal, *ages: float, title: str = "", words: str = "words") -> tuple[str, list[str]]:
        """A conversation of questions and replies in turn, each so many days old: its id and theirs."""
        texts = [f"{words} number{next(self._number)}" for _ in ages]

        def work(session: Session) -> tuple[str, list[str]]:
            made = store.create(session, who, title or texts[0], model="gpt", agent_id=None, settings={})
            ids: list[str] = []
            for number, (text, age) in enumerate(zip(texts, ages, strict=True)):
                role = "assistant" if number % 2 else "user"
                ids.append(self._message(session, who, made.id, text, role, age, ids[-1] if ids else None))
            store.advance(session, made.id, ids[-1], len(ids), preview=texts[-1])
            self._age(session, made.id, min(ages))
            return made.id, ids

        return self.db.write(work)

    def say(self, who: Principal, conversation_id: str, text: str, age: float = 0) -> str:
        """One more question in a conversation, whosever it is."""

        def work(session: Session) -> str:
            row = session.get_one(Conversation, conversation_id)
            message_id = self._message(session, who, conversation_id, text, "user", age, row.head_message_id)
            store.advance(session, conversation_id, message_id, 1, preview=text)
            self._age(session, conversation_id, age)
            return message_id

        return self.db.write(work)

    def call(self, who: Principal, age: float, cost: int | None = 1_000, *, rolled: bool = True, **values: Any) -> str:
        """A settled call so many days ago, in the rollups unless `rolled` is false."""
        row_id = new_id("use")
        facts = {"purpose": "chat", "provider": "openai", "model": "gpt", "outcome": "ok", "trace_id": new_id("trace")}
        facts |= {"prompt_tokens": 10, "completion_tokens": 5, "latency_ms": 900, "ttft_ms": 100} | values

        def work(session: Session) -> None:
            session.add(
                UsageMetric(
                    id=row_id, created_at=ago(age), tenant_id=who.tenant_id, user_id=who.user_id, cost_nano_usd=cost,
                    **facts,
                )
            )  # fmt: skip
            session.flush()
            if rolled:
                rollups.fold(session, [row_id])

        self.db.write(work)
        return row_id

    def keep(self, **days: int | None) -> None:
        """`message_days`, `ledger_days` of the tenant."""
        self.change(update(Tenant).where(Tenant.id == self.ada.tenant_id).values(**days))

    def message(self, message_id: str) -> Message:
        """A message's row, detached."""
        return self.db.read(lambda session: session.get_one(Message, message_id))

    def conversation(self, conversation_id: str) -> Conversation:
        """A conversation's row, detached."""
        return self.db.read(lambda session: session.get_one(Conversation, conversation_id))

    def change(self, statement: Executable) -> None:
        """Change rows."""
        self.db.write(lambda session: session.execute(statement) and None)

    def count(self, table: type[Base]) -> int:
        """How many rows there are."""
        return self.db.read(lambda session: session.scalar(select(func.count()).select_from(table))) or 0

    @staticmethod
    def _message(
        session: Session, who: Principal, conversation_id: str, text: str, role: str, age: float, parent: str | None
    ) -> str:
        return store.add_message(
            session, who, conversation_id, parent_id=parent, role=role, content=text, status="complete",
            parts=[{"type": "text", "text": text}], created_at=ago(age), meta={"trace_id": "trace_1", "why": text},
        )  # fmt: skip

    @staticmethod
    def _age(session: Session, conversation_id: str, age: float) -> None:
        changed = update(Conversation).where(Conversation.id == conversation_id).values(last_message_at=ago(age))
        session.execute(changed.execution_options(synchronize_session=False))


def ago(days: float) -> datetime:
    return utcnow() - timedelta(days=days)


def _place(db: Database) -> Place:
    return Place(db, add_person(db, "ada"), add_person(db, "bob"), add_person(db, "admin", role="admin"))


@pytest.fixture
def place(database: Database) -> Place:
    """On SQLite."""
    return _place(database)


@pytest.fixture
def any_place(any_database: Database) -> Place:
    """On SQLite and on PostgreSQL, one after the other."""
    return _place(any_database)
