"""What only whoever has a shell on the server does: the command line's part of this package."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from chatcore.accounts import audit, keys, people, setup
from chatcore.accounts.keys import KeyInfo
from chatcore.accounts.passwords import hash_password
from chatcore.accounts.people import Person
from chatcore.accounts.principal import Principal
from chatcore.accounts.setup import NewTenantHook, TenantInfo
from chatcore.accounts.validation import clean_password, normal_username
from chatcore.db import Database
from chatcore.db.tables import User
from chatcore.errors import NotFound


class Console:
    """Acts of the command line. They are audited like a person's, without a user id."""

    def __init__(self, db: Database, on_new_tenant: NewTenantHook | None = None) -> None:
        """`on_new_tenant`: as for `Accounts`."""
        self._db = db
        self._on_new_tenant = on_new_tenant

    def prepare(self) -> None:
        """Make the default tenant where there is none; unlike a start of the app it makes no setup code."""
        self._db.write(lambda session: setup.ensure_tenant(session, self._on_new_tenant))

    def operator(self, tenant: str | None = None) -> Principal:
        """An operator of the named tenant, the default one for None. Raises `NotFound`."""
        return people.command_line(self._db.read(lambda session: setup.tenant_named(session, tenant)))

    def add_user(
        self, username: str, password: str, *, name: str, role: str | None, tenant: str | None, tier: str
    ) -> Person:
        """A new person who can sign in at once. `role` None: operator for the first of the instance, else member.

        Raises `InvalidInput`, `Conflict` for a taken username, `NotFound` for an unknown tenant.
        """
        who, hashed = self.operator(tenant), hash_password(clean_password(password))
        wanted = role or ("member" if self._db.read(setup.has_people) else "operator")
        self._db.write(lambda session: people.add(session, who, username, name, wanted, tier, hashed))
        return self.find(username)

    def find(self, username: str) -> Person:
        """A person of any tenant. Raises `NotFound`."""
        for person in self.everyone():
            if person.username == normal_username(username):
                return person
        raise NotFound(f"There is no person called {username}; `users list` shows them.")

    def everyone(self, tenant: str | None = None) -> list[Person]:
        """All people, or those of one tenant. Raises `NotFound` for an unknown tenant."""
        who = self.operator(tenant)
        listed = people.everyone if tenant is None else people.listed
        return self._db.read(lambda session: listed(session, who))

    def set_password(self, username: str, password: str) -> None:
        """Set a password and sign the person out everywhere. Raises `NotFound`, `InvalidInput`."""
        person, hashed = self.find(username), hash_password(clean_password(password))
        who = self.operator(person.tenant)
        self._db.write(lambda session: people.set_password(session, who, person.id, hashed))

    def set_disabled(self, username: str, disabled: bool) -> None:
        """Raises `NotFound`, `Conflict` for the last admin or operator."""
        person = self.find(username)
        who = self.operator(person.tenant)
        self._db.write(lambda session: people.set_disabled(session, who, person.id, disabled))

    def set_role(self, username: str, role: str) -> None:
        """Raises `NotFound`, `InvalidInput`, `Conflict` for the last admin or operator."""
        person = self.find(username)
        who = self.operator(person.tenant)
        self._db.write(lambda session: people.set_role(session, who, person.id, role))

    def set_team(self, username: str, team: str | None) -> None:
        """Put a person into a team, with None into none. Raises `NotFound`, `InvalidInput`."""
        person = self.find(username)
        who = self.operator(person.tenant)
        self._db.write(lambda session: people.set_team(session, who, person.id, team))

    def keys(self, username: str | None = None) -> list[tuple[str, KeyInfo]]:
        """Usernames and their API keys: everybody's, or one person's, also of the disabled. Raises `NotFound`."""
        user_id = self.find(username).id if username else None
        return self._db.read(lambda session: keys.owned(session, user_id))

    def revoke_key(self, key_id: str) -> str:
        """End a key, whosesoever it is, and return its owner's username. Raises `NotFound`."""

        def work(session: Session) -> str:
            owner = keys.revoke_any(session, key_id)
            if owner is None:
                raise NotFound("There is no such key, or it was revoked already; `keys list` shows them.")
            tenant_id, user_id = owner
            audit.record(session, people.command_line(tenant_id), "key.revoke", key_id)
            return session.execute(select(User.username).where(User.id == user_id)).scalar_one()

        return self._db.write(work)

    def note(self, action: str, tenant: str | None = None, **details: Any) -> None:
        """Note in the audit log what a command has done; in that of the oldest tenant where it was no single one's."""
        tenant_id = self.operator(tenant).tenant_id
        self._db.write(lambda session: audit.note(session, tenant_id, None, action, "", "", **details))

    def tenants(self) -> list[TenantInfo]:
        """All tenants, the oldest first."""
        return self._db.read(setup.tenants)

    def add_tenant(self, name: str) -> str:
        """The new tenant's id. Raises `InvalidInput`, `Conflict` for a taken name."""
        return self._db.write(lambda session: setup.add_tenant(session, name, self._on_new_tenant))
