"""Accounts on a migrated database, with a cheap bcrypt: what is tested is not its cost."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from chatcore.accounts import Accounts, Console, Principal, passwords
from chatcore.config import Settings
from chatcore.db import Database

PASSWORD = "correct horse"


@pytest.fixture(autouse=True)
def _cheap_bcrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_ROUNDS", 4)


@dataclass
class House:
    """A database with accounts, and short ways to put people into it."""

    db: Database
    accounts: Accounts
    console: Console

    def person(self, username: str, role: str = "member", tenant: str | None = None) -> Principal:
        """A new person who can sign in with PASSWORD."""
        self.console.add_user(username, PASSWORD, name=username.title(), role=role, tenant=tenant, tier="free")
        return self.accounts.system_principal(username)


def build(db: Database, settings: Settings) -> House:
    accounts = Accounts(db, settings)
    accounts.ensure_ready()
    return House(db, accounts, Console(db))


@pytest.fixture
def house(database: Database, settings: Settings) -> House:
    """On SQLite."""
    return build(database, settings)


@pytest.fixture
def any_house(any_database: Database, settings: Settings) -> House:
    """On SQLite and on PostgreSQL, one after the other."""
    return build(any_database, settings)


@pytest.fixture
def signed_in(house: House) -> Callable[[str], Principal]:
    """Signs a person in and gives the principal with its session."""
    import asyncio

    def enter(username: str) -> Principal:
        ticket = house.accounts.ticket(username, "10.0.0.1")
        token, _ = asyncio.run(house.accounts.exchange_ticket(ticket, "Test browser", "10.0.0.1"))
        session_id = asyncio.run(house.accounts.session_for_token(token))
        assert session_id is not None
        principal = house.accounts.principal(session_id)
        assert principal is not None
        return principal

    return enter
