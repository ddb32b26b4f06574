"""Knowledge over a database of each kind, with nothing started, and people of two tenants."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import text

from chatcore.accounts import Principal
from chatcore.config import Settings
from chatcore.db import Database
from chatcore.knowledge import Document, Knowledge
from tests.conftest import add_person
from tests.knowledge import documents


@dataclass
class House:
    """Ann and Bob are members, Dora is an admin; Eve is an admin of another tenant."""

    db: Database
    settings: Settings
    knowledge: Knowledge
    ann: Principal
    bob: Principal
    dora: Principal
    eve: Principal

    def base(self, *texts: str, who: Principal | None = None, visibility: str = "own", name: str = "Base") -> str:
        """A base of Ann's with these texts in it, indexed."""
        who = who or self.ann
        base_id = self.knowledge.create(who, name, visibility=visibility)  # type: ignore[arg-type]
        for number, words in enumerate(texts):
            self.knowledge.add(who, base_id, f"text{number}.txt", words.encode())
        self.knowledge.work_off()
        return base_id

    def document(self, base_id: str, who: Principal | None = None) -> Document:
        """The only document of a base."""
        (found,) = self.knowledge.documents(who or self.ann, base_id)
        return found

    def titles(self, question: str, who: Principal | None = None, base_ids: list[str] | None = None) -> list[str]:
        """The documents in which passages are found, the best first."""
        return [one.title for one in self.knowledge.search(who or self.ann, base_ids, question)]

    def count(self, table: str) -> int:
        """Rows of a table."""
        return int(self.db.read(lambda session: session.scalar(text(f"SELECT count(*) FROM {table}"))) or 0)


@pytest.fixture
def house(any_database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    documents.read_here(monkeypatch)
    knowledge = Knowledge(any_database, settings)
    ann, bob = add_person(any_database, "ann"), add_person(any_database, "bob")
    dora = add_person(any_database, "dora", role="admin")
    eve = add_person(any_database, "eve", tenant="Other", role="admin")
    yield House(any_database, settings, knowledge, ann, bob, dora, eve)
    knowledge.stop()
