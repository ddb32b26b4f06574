"""The facade of this package: `core().accounts`.

Passwords are hashed before a transaction begins, as bcrypt takes a quarter of a second and writes wait for each other.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from chatcore.accounts import active, attempts, audit, claims, codes, company, keys, own, people, sessions, setup
from chatcore.accounts.codes import Link, LinkKind, OpenCode
from chatcore.accounts.keys import SCOPES, KeyInfo, Scope, TenantKey
from chatcore.accounts.passwords import decoy_hash, hash_password, matches
from chatcore.accounts.people import Person
from chatcore.accounts.principal import Principal
from chatcore.accounts.sessions import SessionInfo, as_principal
from chatcore.accounts.setup import NewTenantHook, TenantInfo
from chatcore.accounts.validation import clean_name, clean_password, clean_username, normal_username
from chatcore.config import Settings
from chatcore.db import Database
from chatcore.db.tables import User, utcnow
from chatcore.errors import ConfigError, Forbidden, InvalidInput, NotFound, Unauthorized

log = logging.getLogger(__name__)


class Accounts:
    """Tenants, people, passwords, browser sessions, one-time links, API keys, and the audit log they write."""

    def __init__(self, db: Database, settings: Settings, on_new_tenant: NewTenantHook | None = None) -> None:
        """`on_new_tenant`: called with the session and the id inside the transaction that makes a tenant."""
        self._db = db
        self._settings = settings
        self._on_new_tenant = on_new_tenant
        self._lifetime = timedelta(days=settings.own.session_days)

    # ---- the start

    def ensure_ready(self) -> str | None:
        """Make the default tenant and the configured first account where they are missing.

        Returns a fresh setup code while nobody has an account, else None. Safe to call from several processes at once.
        Raises `ConfigError` when the configured name or password cannot be used.
        """
        first = None
        if self._settings.admin_username and not self._db.read(setup.has_people):
            first = self._configured_account(self._settings.admin_username, self._settings.admin_password or "")
        return self._db.write(lambda session: setup.prepare(session, self._on_new_tenant, first))

    def setup_first_account(self, code: str, username: str, name: str, password: str, address: str = "") -> str:
        """Make the first account and return a ticket for `/session/enter`. Raises `Unauthorized`, `InvalidInput`."""
        self.open_code("setup", code)
        clean_username(username)
        clean_name(name)
        hashed = hash_password(clean_password(password))

        def work(session: Session) -> str:
            setup.first_account(session, code, username, name, hashed)
            return self._ticket(session, username, address)

        return self._db.write(work)

    # ---- one-time links

    def open_code(self, kind: LinkKind, code: str) -> OpenCode:
        """Whom a link is for, without using it up. Raises `Unauthorized` when it was used or has ended."""

        def work(session: Session) -> OpenCode:
            if kind == "setup" and setup.has_people(session):
                raise codes.refusal()
            return codes.peek(session, kind, code)

        return self._db.read(work)

    def accept_invite(self, code: str, name: str, password: str, address: str = "") -> str:
        """Choose a name and a password and return a ticket. Raises `Unauthorized`, `InvalidInput`."""
        return self._use_link("invite", code, password, address, name=clean_name(name))

    def reset_password(self, code: str, password: str, address: str = "") -> str:
        """Choose a new password, end all sessions, and return a ticket. Raises `Unauthorized`, `InvalidInput`."""
        return self._use_link("reset", code, password, address)

    # ---- signing in

    def credentials(self, username: str, address: str = "") -> tuple[str, str]:
        """The name to greet and the hash to check for a typed username; counts as an attempt until `ticket`.

        Where nobody (or nobody who may sign in) has that name, the hash is one that no password matches, so that the
        check costs the same. Raises `TooManyAttempts`, whether the name exists or not.
        """
        username = normal_username(username)
        self._db.write(lambda session: attempts.begin(session, username, address))
        row = self._db.read(lambda session: _by_username(session, username))
        if row is None or row.disabled_at is not None or row.password_hash is None or self._by_company_only(row):
            return "", decoy_hash()
        return row.name, row.password_hash

    def ticket(self, username: str, address: str = "") -> str:
        """A ticket (30 s, once) for a person whose password was found right; their attempts are forgotten.

        Raises `Unauthorized` when nobody with that name may sign in.
        """
        return self._db.write(lambda session: self._ticket(session, username, address))

    async def enter_by_company(self, said: Mapping[str, Any], user_agent: str, address: str) -> tuple[str, datetime]:
        """The cookie's token and when it ends, for somebody of whom the identity provider said this just now.

        Raises `SignInRefused`; `Unauthorized` where no provider is configured.
        """
        oidc = self._settings.oidc()
        if oidc is None:
            raise Unauthorized("Signing in with a company's account is not set up here.")
        who = claims.read(said, oidc, utcnow())

        def work(session: Session) -> tuple[str, datetime]:
            user_id = company.person(session, who, oidc, address)
            return sessions.start(session, user_id, self._lifetime, user_agent, address)

        return await self._db.awrite(work)

    async def exchange_ticket(self, ticket: str, user_agent: str, address: str) -> tuple[str, datetime]:
        """The cookie's token and when it ends. Raises `Unauthorized` for a used, wrong or late ticket."""
        return await self._db.awrite(lambda s: sessions.exchange(s, ticket, self._lifetime, user_agent, address))

    def new_session_token(self, username: str) -> str:
        """A cookie's token for this person, without a password: for the command line. Raises `NotFound`."""
        who = self.system_principal(username)

        def work(session: Session) -> str:
            audit.note(session, who.tenant_id, None, "session.by_command", who.user_id)
            return sessions.start(session, who.user_id, self._lifetime, "command line", "")[0]

        return self._db.write(work)

    # ---- browser sessions

    async def session_for_token(self, token: str) -> str | None:
        """The id of the live session behind a cookie, None where there is none."""
        return await self._db.aread(lambda session: sessions.live_id(session, token))

    def principal(self, session_id: str) -> Principal | None:
        """Who is behind a live session; None once it was revoked, has ended, or its person was disabled."""
        found = self._db.read(lambda session: sessions.principal(session, session_id))
        if found is None:
            return None
        who, last_seen_at = found
        if utcnow() - last_seen_at > sessions.SEEN_EVERY:
            self._later(lambda session: sessions.seen(session, session_id))
        return who

    def sessions(self, principal: Principal) -> list[SessionInfo]:
        """Where the principal is signed in, this browser first."""
        return self._db.read(lambda session: sessions.listed(session, principal))

    def revoke_session(self, principal: Principal, session_id: str) -> None:
        """Sign one of the principal's browsers out. Raises `NotFound`."""
        self._db.write(lambda session: sessions.revoke(session, principal, session_id))

    def sign_out(self, session_id: str) -> None:
        """End a session, if it has not ended."""
        self._db.write(lambda session: sessions.end(session, session_id))

    async def asign_out(self, session_id: str) -> None:
        """`sign_out` for coroutines."""
        await self._db.awrite(lambda session: sessions.end(session, session_id))

    def sign_out_everywhere(self, principal: Principal, *, keep_current: bool) -> int:
        """End the principal's sessions, all or all but this one. Returns how many ended."""
        keep = principal.session_id if keep_current else None

        def work(session: Session) -> int:
            ended = sessions.revoke_all(session, principal.user_id, but=keep)
            audit.record(session, principal, "session.revoke_all", principal.user_id, ended=ended)
            return ended

        return self._db.write(work)

    # ---- the principal's own account

    def rename(self, principal: Principal, name: str) -> None:
        """Change the name that is shown. Raises `InvalidInput`."""
        name = clean_name(name)
        self._db.write(lambda session: own.rename(session, principal, name))

    def change_password(self, principal: Principal, old: str, new: str, address: str = "") -> None:
        """Change the password and sign all other browsers out.

        Raises `InvalidInput`, `Unauthorized` when `old` is wrong, `TooManyAttempts` when it was wrong too often.
        """
        new = clean_password(new)
        _, stored = self.credentials(principal.username, address)
        if not matches(old, stored):
            raise Unauthorized("The current password is not right.")
        hashed = hash_password(new)

        def work(session: Session) -> None:
            if not own.still_has_password(session, principal, stored):
                raise Unauthorized("Your password has just been changed elsewhere.")
            attempts.clear(session, principal.username)
            people.store_password(session, principal.user_id, hashed, keep=principal.session_id)
            audit.record(session, principal, "password.change", principal.user_id)

        self._db.write(work)

    def has_password(self, principal: Principal) -> bool:
        """Whether they have a password here; not where only their company's account lets them in."""
        return self._db.read(lambda session: own.has_password(session, principal))

    def preferences(self, principal: Principal) -> dict[str, Any]:
        """What the principal chose: small JSON values by name."""
        return self._db.read(lambda session: own.preferences(session, principal))

    def set_preferences(self, principal: Principal, **values: Any) -> None:
        """Change the named ones, leave the others; None takes one away."""
        self._db.write(lambda session: own.set_preferences(session, principal, values))

    # ---- an admin's acts, in their own tenant

    def people(self, principal: Principal) -> list[Person]:
        """The people of the principal's tenant. Raises `Forbidden` for a member."""
        return self._db.read(lambda session: people.listed(session, principal))

    def everyone(self, principal: Principal) -> list[Person]:
        """The people of all tenants, by tenant and username. Raises `Forbidden` for anyone but an operator."""
        return self._db.read(lambda session: people.everyone(session, principal))

    def tenants(self, principal: Principal) -> list[TenantInfo]:
        """All tenants, the oldest first. Raises `Forbidden` for anyone but an operator."""
        if not principal.is_operator:
            raise Forbidden("Only an operator sees all tenants.")
        return self._db.read(setup.tenants)

    def invite(self, principal: Principal, username: str, name: str, role: str = "member") -> Link:
        """Make an account without a password and the link with which its person joins.

        Raises `Forbidden`, `InvalidInput`, and `Conflict` for a taken username.
        """

        def work(session: Session) -> Link:
            user_id = people.add(session, principal, username, name, role, "free", None)
            return Link("invite", *codes.issue(session, "invite", user_id))

        return self._db.write(work)

    def reset_link(self, principal: Principal, user_id: str) -> Link:
        """A link to choose a new password, or to join for someone invited; the older one ends. Raises as `set_role`."""
        return self._db.write(lambda session: people.link(session, principal, user_id))

    def sign_out_person(self, principal: Principal, user_id: str) -> int:
        """Sign a person out in all browsers. Returns how many that were. Raises `NotFound`, `Forbidden`."""
        return self._db.write(lambda session: people.sign_out_everywhere(session, principal, user_id))

    def set_role(self, principal: Principal, user_id: str, role: str) -> None:
        """Raises `NotFound`, `Forbidden`, `InvalidInput`, `Conflict` for oneself and for the last admin or operator."""
        self._db.write(lambda session: people.set_role(session, principal, user_id, role))

    def set_tier(self, principal: Principal, user_id: str, tier: str) -> None:
        """Put a person into another tier of limits. Raises `NotFound`, `Forbidden`, `InvalidInput`."""
        self._db.write(lambda session: people.set_tier(session, principal, user_id, tier))

    def set_team(self, principal: Principal, user_id: str, team: str | None) -> None:
        """Put a person into a team of the tenant, with None into none. Raises `NotFound`, `Forbidden`, `InvalidInput`.

        What they cost counts for the new team's budgets from then on; what they cost before stays with the old one.
        """
        self._db.write(lambda session: people.set_team(session, principal, user_id, team))

    def set_disabled(self, principal: Principal, user_id: str, disabled: bool) -> None:
        """Shut a person out at once, or let them in again. Raises as `set_role` does."""
        self._db.write(lambda session: people.set_disabled(session, principal, user_id, disabled))

    # ---- API keys

    def create_key(
        self, principal: Principal, name: str, scopes: Sequence[Scope] = SCOPES, days: int | None = None
    ) -> tuple[KeyInfo, str]:
        """What may be shown again, and the key, which is shown once. `days`: until it ends. Raises `InvalidInput`."""
        return self._db.write(lambda session: keys.create(session, principal, name, scopes, days))

    def create_service_key(
        self, principal: Principal, name: str, scopes: Sequence[Scope], days: int | None = None
    ) -> tuple[KeyInfo, str]:
        """`create_key` for a program that is nobody's. Raises `Forbidden` for who is no admin, `InvalidInput`."""
        return self._db.write(lambda session: keys.create_for_service(session, principal, name, scopes, days))

    def tenant_keys(self, principal: Principal) -> list[TenantKey]:
        """The living keys of the admin's tenant, services first. Raises `Forbidden`."""
        return self._db.read(lambda session: keys.of_tenant(session, principal))

    def revoke_tenant_key(self, principal: Principal, key_id: str) -> None:
        """End a key of somebody in the admin's tenant. Raises `NotFound`, `Forbidden`."""
        self._db.write(lambda session: keys.revoke_of_tenant(session, principal, key_id))

    def keys(self, principal: Principal) -> list[KeyInfo]:
        """The principal's keys, the newest first."""
        return self._db.read(lambda session: keys.listed(session, principal))

    def revoke_key(self, principal: Principal, key_id: str) -> None:
        """Raises `NotFound`."""
        self._db.write(lambda session: keys.revoke(session, principal, key_id))

    def principal_for_key(self, key: str) -> Principal:
        """Whose key it is. Raises `Unauthorized`."""
        return self.caller_for_key(key)[0]

    def caller_for_key(self, key: str) -> tuple[Principal, frozenset[Scope]]:
        """Whose key it is, and what it may be used for. Raises `Unauthorized`."""
        who, scopes, key_id, last_used_at = self._db.read(lambda session: keys.principal(session, key))
        if last_used_at is None or utcnow() - last_used_at > sessions.SEEN_EVERY:
            self._later(lambda session: keys.used(session, key_id))
        return who, scopes

    def require_active(self, principal: Principal) -> None:
        """Raises `Unauthorized` when the person was disabled, or their browser session or API key has ended since."""
        self._db.read(lambda session: active.require_active(session, principal))

    # ---- for what has no browser

    def system_principal(self, username: str) -> Principal:
        """The principal of a person by username, without a session. Raises `NotFound`, also for the disabled."""
        row = self._db.read(lambda session: _by_username(session, normal_username(username)))
        if row is None or row.disabled_at is not None:
            raise NotFound(f"There is no active person called {username}; `users list` shows them.")
        return as_principal(row)

    # ---- inside

    def _configured_account(self, username: str, password: str) -> tuple[str, str]:
        try:
            return clean_username(username), hash_password(clean_password(password))
        except InvalidInput as error:
            raise ConfigError(f"CHATCORE_ADMIN_USERNAME or CHATCORE_ADMIN_PASSWORD cannot be used: {error}") from error

    def _use_link(self, kind: LinkKind, code: str, password: str, address: str, **changes: str) -> str:
        self.open_code(kind, code)
        hashed = hash_password(clean_password(password))

        def work(session: Session) -> str:
            user_id = codes.consume(session, kind, code)
            if user_id is None:
                raise codes.refusal()
            people.store_password(session, user_id, hashed)
            if changes:
                session.execute(update(User).where(User.id == user_id).values(**changes))
            user = session.execute(select(User.tenant_id, User.username).where(User.id == user_id)).one()
            action = "user.join" if kind == "invite" else "password.reset"
            audit.note(session, user.tenant_id, user_id, action, user_id, address)
            return self._ticket(session, user.username, address)

        return self._db.write(work)

    def _ticket(self, session: Session, username: str, address: str) -> str:
        row = _by_username(session, normal_username(username))
        if row is None or row.disabled_at is not None or row.password_hash is None or self._by_company_only(row):
            raise Unauthorized("This account cannot sign in.")
        attempts.clear(session, row.username)
        audit.note(session, row.tenant_id, row.id, "sign_in", row.id, address)
        return codes.issue(session, "ticket", row.id)[0]

    def _by_company_only(self, user: User) -> bool:
        """Whether a password does not let this person in: then only operators have one that does, for bad days."""
        oidc = self._settings.own.oidc
        return oidc is not None and not oidc.passwords and user.role != "operator"

    def _later(self, work: Callable[[Session], None]) -> None:
        """Write without waiting: what is lost when it fails is a time of last use."""
        self._db.submit(work).add_done_callback(_log_failure)


def _log_failure(future: Any) -> None:
    if not future.cancelled() and future.exception() is not None:
        log.warning("a time of last use was not stored", exc_info=future.exception())


def _by_username(session: Session, username: str) -> User | None:
    user: User | None = session.scalar(select(User).where(User.username == username, User.is_demo.is_(False)))
    return user
